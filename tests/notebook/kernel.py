"""A kernel client for what nbclient does not support: output after the end of a cell, interrupts, restarts."""

from __future__ import annotations

import json
import queue
import re
import time
from collections.abc import Callable
from typing import Any

from jupyter_client import BlockingKernelClient, KernelManager


class Kernel:
    """A kernel client that stores messages by cell."""

    def __init__(self, client: BlockingKernelClient, manager: KernelManager) -> None:
        self.client = client
        self.manager = manager
        self.said: dict[str, list[dict[str, Any]]] = {}

    def execute(self, code: str, *, wait: bool = True) -> str:
        """Run a cell and return the id of its messages."""
        cell: str = self.client.execute(code)
        if wait:
            self.until(lambda: self.ended(cell))
        return cell

    def until(self, true: Callable[[], Any], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, json.dumps(self.said, default=str)[-3000:]
            try:
                message = self.client.get_iopub_msg(timeout=0.2)
            except queue.Empty:
                continue
            cell = message["parent_header"].get("msg_id", "")
            self.said.setdefault(cell, []).append(message)

    def ended(self, cell: str) -> bool:
        return any(m["content"].get("execution_state") == "idle" for m in self.said.get(cell, []))

    def text(self, cell: str, name: str = "") -> str:
        """Return what it wrote, to one stream or both."""
        messages = [m for m in self.said.get(cell, []) if m["msg_type"] == "stream"]
        return "".join(m["content"]["text"] for m in messages if name in ("", m["content"]["name"]))

    def errors(self, cell: str) -> list[str]:
        return [m["content"]["ename"] for m in self.said.get(cell, []) if m["msg_type"] == "error"]

    def traceback(self, cell: str) -> str:
        messages = [m for m in self.said.get(cell, []) if m["msg_type"] == "error"]
        text = "\n".join(line for m in messages for line in m["content"]["traceback"])
        return re.sub(r"\x1b\[[0-9;]*m", "", text)

    def shown(self, cell: str) -> list[str]:
        """Return the text of its displays, with the updates of them in the order they came.

        What it says of displays of other cells is left out, and so are calls that it waited for.
        """
        return self._shown(cell, blocking=False)

    def waited(self, cell: str) -> list[str]:
        """Return the same of the display of calls that it waited for."""
        return self._shown(cell, blocking=True)

    def _shown(self, cell: str, *, blocking: bool) -> list[str]:
        mine: set[str] = set()
        texts = []
        for message in self.said.get(cell, []):
            kind, content = message["msg_type"], message["content"]
            name = content.get("transient", {}).get("display_id")
            if "data" in content and is_blocking_call(content["data"]) != blocking:
                continue
            if kind in ("display_data", "execute_result"):
                mine.add(name)
            if kind in ("display_data", "execute_result", "update_display_data") and name in mine:
                texts.append(content["data"].get("text/plain", ""))
        return texts

    def restart(self) -> None:
        """Kill the kernel and start it again."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=30)

    def debug(self, code: str, *answers: str) -> str:
        """Run a cell that opens a debugger, send input to it, and return its output."""
        left = list(answers)
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                said.append(message["content"]["text"])
            elif message["msg_type"] == "error":
                said.append("\n".join(message["content"]["traceback"]))

        self.client.execute_interactive(
            code,
            allow_stdin=True,
            timeout=60,
            output_hook=hear,
            stdin_hook=lambda _: self.client.input(left.pop(0) if left else "q"),
        )
        return re.sub(r"\x1b\[[0-9;]*m", "", "".join(said))


def is_blocking_call(data: dict[str, Any]) -> bool:
    """Return whether a MIME bundle is the display of calls of `remote` that a cell waits for."""
    call = data.get("application/vnd.nbfn.call+json")
    return isinstance(call, dict) and call["kind"] == "remote"
