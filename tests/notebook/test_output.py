"""Where the output of remote code lands, and what a map shows, in a real kernel."""

from __future__ import annotations

import itertools
import json
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient, KernelManager

Run = Callable[..., list[Any]]

SLOW = """%%remote --app output
import time
def slow(x):
    time.sleep(0.05)
    print("did", x)
    if x % 10 == 9:
        raise ValueError(f"bad {x}")
    return x
"""


def test_prints_and_displays_of_a_call_are_under_its_cell(one_kernel: Run) -> None:
    _, called = one_kernel(
        "%%remote --app output\n"
        "import sys\n"
        "def talk(x):\n"
        "    from IPython.display import HTML, display\n"
        "    print('out', x)\n"
        "    display(HTML('<b>shown</b>'))\n"
        "    print('err', x, file=sys.stderr)\n"
        "    return x",
        "print('before')\ntalk.remote(1)\nprint('after')",
    )
    assert called.text == "before\nout 1\nafter\n"
    assert called.stderr == "err 1\n"
    assert called.shown[0]["text/html"] == "<b>shown</b>"
    kinds = [output.output_type for output in called.outputs if output.get("name") != "stderr"]
    assert [kind for kind, _ in itertools.groupby(kinds)] == ["stream", "display_data", "stream"]


def test_a_captured_cell_captures_remote_output_too(one_kernel: Run) -> None:
    _, _, found = one_kernel(
        "%%remote --app output\ndef say(x): print('said', x)",
        "%%capture caught\nsay.remote(1)",
        "caught.stdout",
    )
    assert found.result == repr("said 1\n")


def test_a_short_map_shows_its_prints(one_kernel: Run) -> None:
    _, mapped = one_kernel(
        "%%remote --app output\ndef say(x): print('said', x)", "list(say.map(range(3)))"
    )
    assert sorted(mapped.text.splitlines()) == ["said 0", "said 1", "said 2"]
    assert len(mapped.outputs) == 2


def test_a_long_map_without_a_page_writes_lines(one_kernel: Run) -> None:
    _, mapped = one_kernel(SLOW, "len(list(slow.map(range(40), return_exceptions=True)))")
    lines = mapped.text.splitlines()
    assert mapped.result == "40"
    assert any(line.startswith("slow v1 · running · ") for line in lines)
    assert "… 35 lines printed before these:" in lines
    assert any(line.startswith("✓ slow.map · 36 ok, 4 failed · ") for line in lines)


def test_progress_can_be_turned_off(run: Run) -> None:
    _, mapped = run(
        SLOW, "r = list(slow.map(range(30), return_exceptions=True))", NBFN_PROGRESS="0"
    )
    assert "running" not in mapped.text
    assert "did 29" in mapped.text


def test_a_page_gets_a_widget_that_becomes_a_snapshot(run: Run) -> None:
    _, mapped = run(
        SLOW,
        "r = list(slow.map(range(40), return_exceptions=True))",
        JPY_SESSION_NAME="some/notebook.ipynb",
    )
    assert mapped.text == ""
    (shown,) = mapped.shown
    assert set(shown) == {"text/plain", "text/html"}
    assert shown["text/plain"].startswith("✓ slow.map · 36 ok, 4 failed · ")
    assert "Logs (40 lines)" in shown["text/html"]


def test_the_notebooks_name_is_the_apps(run: Run) -> None:
    (card,) = run("%%remote\ndef named(x): return x", JPY_SESSION_NAME="some/My notes.ipynb")
    assert card.shown[0]["text/plain"] == "✓ named v1 · app My-notes"


# --- what nbclient cannot see: output after the end of a cell, and interrupts --------------------


class Kernel:
    """A kernel whose messages are kept by the cell that they belong to."""

    def __init__(self, client: BlockingKernelClient, manager: KernelManager) -> None:
        self.client = client
        self.manager = manager
        self.said: dict[str, list[dict[str, Any]]] = {}

    def execute(self, code: str, *, wait: bool = True) -> str:
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

    def text(self, cell: str) -> str:
        messages = [m for m in self.said.get(cell, []) if m["msg_type"] == "stream"]
        return "".join(m["content"]["text"] for m in messages)

    def errors(self, cell: str) -> list[str]:
        return [m["content"]["ename"] for m in self.said.get(cell, []) if m["msg_type"] == "error"]


@pytest.fixture
def kernel(environment: dict[str, str], sockets: Path) -> Iterator[Kernel]:
    manager = KernelManager(kernel_name="python3", transport="ipc", ip=str(sockets / "kernel"))
    manager.start_kernel(env=environment)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=30)
        kernel = Kernel(client, manager)
        kernel.execute("%load_ext nbfn")
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_what_a_spawned_call_prints_later_is_under_the_cell_that_spawned_it(
    kernel: Kernel, tmp_path: Any
) -> None:
    gate = tmp_path / "gate"
    kernel.execute(
        "%%remote --app output\n"
        "import os, time\n"
        "def wait_for(path):\n"
        "    while not os.path.exists(path): time.sleep(0.01)\n"
        "    print('it came')\n"
    )
    spawned = kernel.execute(f"call = wait_for.spawn({str(gate)!r})")
    other = kernel.execute("print('another cell')")
    gate.touch()
    kernel.until(lambda: "it came" in kernel.text(spawned))
    assert kernel.text(other) == "another cell\n"


def test_an_interrupt_cancels_the_map_and_ends_the_cell(kernel: Kernel) -> None:
    kernel.execute("%%remote --app output\nimport time\ndef nap(x): time.sleep(0.2)")
    mapped = kernel.execute("list(nap.map(range(1000)))", wait=False)
    kernel.until(lambda: "nap v1 · running" in kernel.text(mapped))
    kernel.manager.interrupt_kernel()
    began = time.monotonic()
    kernel.until(lambda: kernel.ended(mapped))
    assert time.monotonic() - began < 3
    assert kernel.errors(mapped) == ["KeyboardInterrupt"]
    assert "threading.py" not in str(kernel.said[mapped])
    assert "■ nap.map · cancelled · " in kernel.text(mapped)
    after = kernel.execute("nap.remote(1); print('goes on')")
    assert kernel.text(after) == "goes on\n"


def test_an_interrupt_ends_an_awaited_call(kernel: Kernel) -> None:
    kernel.execute(
        "%%remote --app output\nimport time\ndef nap(x):\n    print('asleep')\n    time.sleep(x)"
    )
    awaited = kernel.execute("await nap.remote.aio(60)", wait=False)
    kernel.until(lambda: "asleep" in kernel.text(awaited))
    kernel.manager.interrupt_kernel()
    began = time.monotonic()
    kernel.until(lambda: kernel.ended(awaited))
    assert time.monotonic() - began < 3
    assert kernel.errors(awaited) == ["CancelledError"]
