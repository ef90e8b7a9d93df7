"""Runs a notebook's kernel with `jupyter_client`, with sockets in files and a separate hub."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from traitlets.config import Config

#: Timeout of each request, in seconds.
PATIENCE = 30.0


class Cell:
    """The messages of one cell."""

    def __init__(self, reply: dict[str, Any], messages: list[dict[str, Any]]) -> None:
        self.reply = reply["content"]
        self.messages = messages

    @property
    def status(self) -> str:
        return str(self.reply["status"])

    def of(self, kind: str) -> list[Any]:
        """The contents of its messages of a kind."""
        return [m["content"] for m in self.messages if m["msg_type"] == kind]

    def stream(self, name: str) -> str:
        return "".join(c["text"] for c in self.of("stream") if c["name"] == name)

    @property
    def out(self) -> str:
        return self.stream("stdout")

    @property
    def err(self) -> str:
        return self.stream("stderr")

    @property
    def result(self) -> str:
        return "".join(c["data"]["text/plain"] for c in self.of("execute_result"))

    @property
    def notes(self) -> str:
        """The plain text of what it displayed."""
        shown = [*self.of("display_data"), *self.of("update_display_data")]
        return "\n".join(c["data"].get("text/plain", "") for c in shown)

    @property
    def error(self) -> str:
        text = "\n".join(line for c in self.of("error") for line in c["traceback"])
        return re.sub(r"\x1b\[[0-9;]*m", "", text)


def started(name: str, home: Path, **more: str) -> KernelManager:
    """Return the manager of a new kernel without clients."""
    sockets = str(home / f"k{os.urandom(4).hex()}")
    manager = KernelManager(
        kernel_name=name, config=Config({"KernelManager": {"transport": "ipc", "ip": sockets}})
    )
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("JPY_", "VSCODE_", "NBFN_SAVES"))
    }
    manager.start_kernel(
        env=kept | {"NBFN_HOME": str(home), "IPYTHONDIR": str(home / "ipython")} | more
    )
    return manager


class Kernel:
    """A running kernel and its client."""

    def __init__(self, name: str, home: Path, **more: str) -> None:
        self.manager = started(name, home, **more)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(PATIENCE)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel()
        self.manager.context.destroy(linger=0)

    def begin(self, code: str, **more: Any) -> str:
        """Send an execute request and return its id."""
        return str(self.client.execute(code, **({"allow_stdin": False} | more)))

    def end(self, request: str, until: Callable[[dict[str, Any]], object] | None = None) -> Cell:
        """Wait for the end of a cell, or for a message that meets a condition."""
        messages = []
        deadline = time.monotonic() + PATIENCE
        while True:
            message = self.client.get_iopub_msg(timeout=deadline - time.monotonic())
            if message["parent_header"].get("msg_id") != request:
                continue
            messages.append(message)
            if until is not None and until(message):
                return Cell({"content": {"status": "running"}}, messages)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return Cell(self.reply(request), messages)

    def reply(self, request: str) -> dict[str, Any]:
        """Wait for the reply to a request."""
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == request:
                return dict(reply)

    def run(self, code: str, **more: Any) -> Cell:
        """Run a cell to its end."""
        return self.end(self.begin(code, **more))

    def value(self, expression: str) -> Any:
        """Return the repr of an expression."""
        cell = self.run(expression)
        assert cell.status == "ok", cell.error
        return eval(cell.result)

    def control(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        """Send a request on the control channel and return the content of its reply."""
        message = self.client.session.msg(kind, content)
        self.client.control_channel.send(message)
        while True:
            reply = self.client.get_control_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return dict(reply["content"])

    def send(self, kind: str, content: dict[str, Any]) -> str:
        """Send any request on the shell channel and return its id."""
        message = self.client.session.msg(kind, content)
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def heard(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait for a message on iopub."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=deadline - time.monotonic())
            except queue.Empty:
                raise AssertionError("not said in time") from None
            if condition(message):
                return dict(message)


@contextlib.contextmanager
def kernel(name: str, home: Path, **more: str) -> Iterator[Kernel]:
    """Start a kernel, and shut it down at the end."""
    running = Kernel(name, home, **more)
    try:
        yield running
    finally:
        running.close()
