"""A page that is opened later gets the displays of calls from the kernel, by a comm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbfn.jupyter.views.display_registry import CALL_MIME, TARGET
from nbfn.protocol.messages import new_id
from tests.notebook.kernel import Kernel

WIDGET = "application/vnd.jupyter.widget-view+json"
CELL = """%%remote --app rebinding --max 4
def wait(x, gate):
    import pathlib, time
    print('waits', x)
    while x > 1 and not pathlib.Path(gate).exists():
        time.sleep(0.01)
    return x
"""


class NotebookPage:
    """What JupyterLab does: runs cells that have ids, and opens a comm."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._comm = new_id("co")
        self._send("comm_open", {"comm_id": self._comm, "target_name": TARGET, "data": {}})

    def _send(self, kind: str, content: dict[str, Any], **metadata: Any) -> str:
        client = self._kernel.client
        message = client.session.msg(kind, content, metadata=metadata)
        client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def run(self, code: str, cell: str) -> str:
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        return self._send("execute_request", content, cellId=cell)

    def ask(self, *displays: str, since: float = 1e12) -> None:
        data = {"displays": displays, "since": since}
        self._send("comm_msg", {"comm_id": self._comm, "data": data})

    def received(self) -> list[dict[str, Any]]:
        messages = [m for said in self._kernel.said.values() for m in said]
        return [
            m["content"]["data"]
            for m in messages
            if m["msg_type"] == "comm_msg" and m["content"]["comm_id"] == self._comm
        ]


def call_of(kernel: Kernel, cell: str) -> dict[str, Any]:
    """The call that the first display of a cell names."""
    for message in kernel.said.get(cell, []):
        data = message["content"].get("data") or {}
        if CALL_MIME in data:
            found: dict[str, Any] = data[CALL_MIME]
            return found
    return {}


def test_a_page_gets_the_displays_that_it_names_and_their_changes(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    kernel = start_kernel(JPY_SESSION_NAME=str(tmp_path / "mine.ipynb"))
    kernel.execute(CELL)
    cell = kernel.execute(f"call = wait.spawn(2, {str(gate)!r})\ncall")
    shown = call_of(kernel, cell)
    assert (shown["kind"], shown["ended"]) == ("spawn", False)

    page = NotebookPage(kernel)
    page.ask(shown["display"], "another")
    kernel.until(page.received)
    (live,) = page.received()
    assert live["display"] == shown["display"]
    assert live["data"][CALL_MIME]["call"] == shown["call"]
    assert WIDGET in live["data"]

    gate.touch()
    kernel.until(lambda: page.received()[-1]["data"][CALL_MIME]["ended"])
    last = page.received()[-1]["data"]
    assert WIDGET not in last
    assert "succeeded" in last["text/plain"] or "done" in last["text/plain"]
    assert last["text/plain"].endswith("\n  2")


def test_a_page_gets_displays_that_are_newer_than_its_notebook(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    kernel = start_kernel(JPY_SESSION_NAME=str(tmp_path / "mine.ipynb"))
    kernel.execute(CELL)
    page = NotebookPage(kernel)
    code = f"list(wait.map([2, 2, 3], [{str(tmp_path / 'gate')!r}] * 3))"
    mapped = page.run(code, "cell-of-the-map")
    kernel.until(lambda: call_of(kernel, mapped))  # the cell blocks

    page.ask(since=0.0)  # answered when the cell ends, since it blocks the kernel
    (tmp_path / "gate").touch()
    kernel.until(page.received)
    found = page.received()[-1]
    assert found["cell"] == "cell-of-the-map"
    shown = found["data"][CALL_MIME]
    assert (shown["kind"], shown["ended"]) == ("map", True)
    assert found["data"]["text/plain"].startswith("✓ wait.map · ")

    kernel.execute("1")
    count = len(page.received())
    page.ask("another", since=found["first"] + 1)
    kernel.execute("1")
    assert len(page.received()) == count
