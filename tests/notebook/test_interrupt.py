"""Interrupts: one cancels the call that the cell waits for, two leave it running; in real kernels."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.conftest import own_files
from tests.notebook.kernel import Kernel

#: Seconds within which an interrupted cell must end.
SOON = 3

CELL = """%%remote --quiet --app interrupts
import os, time
def wait_for(path):
    print('waiting')
    try:
        while not os.path.exists(path): time.sleep(0.01)
    except BaseException:
        open(path + '.stopped', 'w').close()
        print('stopped')
        raise
    return 'ready'
def each_from(path):
    yield 1
    print('waiting')
    while not os.path.exists(path): time.sleep(0.01)
    yield 2
    yield 3
"""


def interrupt(kernel: Kernel, cell: str, times: int = 1) -> None:
    """Interrupt a cell that waits; it must end soon."""
    kernel.until(lambda: "waiting" in kernel.text(cell))
    began = time.monotonic()
    kernel.manager.interrupt_kernel()
    if times == 2:
        kernel.until(lambda: "interrupt again" in kernel.text(cell))
        began = time.monotonic()
        kernel.manager.interrupt_kernel()
    kernel.until(lambda: kernel.ended(cell))
    assert time.monotonic() - began < SOON


BLOCKING = {
    "remote": "wait_for.remote(PATH)",
    "remote_gen": "for x in each_from.remote_gen(PATH): print(x)",
    "script": "%%remote --app interrupts -i path=PATH\nimport os, time\nprint('waiting')\n"
    "while not os.path.exists(path): time.sleep(0.01)",
}


@pytest.mark.parametrize("way", BLOCKING)
def test_one_interrupt_cancels_and_ends_the_cell(kernel: Kernel, tmp_path: Path, way: str) -> None:
    kernel.execute(CELL)
    code = BLOCKING[way].replace("PATH", repr(str(tmp_path / "gate")))
    cell = kernel.execute(code, wait=False)
    interrupt(kernel, cell)
    assert kernel.errors(cell) == ["KeyboardInterrupt"]
    assert "cancelled: " in kernel.traceback(cell)
    assert not own_files(kernel.traceback(cell))
    if way == "remote":  # its last words are there as well
        assert "stopped" in kernel.text(cell)
    (call,) = re.findall(r"cancelling \w+ \((fc-\w{6})", kernel.text(cell))
    after = kernel.execute(
        "import nbfn\nrows = nbfn.Client.attach().overview().calls\n"
        f"[row.state for row in rows if row.id.startswith({call!r})]"
    )
    assert kernel.shown(after) == ["['cancelled']"]


def test_a_second_interrupt_lets_a_map_go_on_and_attach_finds_its_results(
    kernel: Kernel, tmp_path: Path
) -> None:
    kernel.execute(CELL.replace("--quiet ", ""))
    kernel.execute(
        "import nbfn.client.calls.interrupt\nnbfn.client.calls.interrupt.SECOND_PRESS = 30"
    )
    gate = tmp_path / "gate"
    cell = kernel.execute(f"list(wait_for.map([{str(gate)!r}] * 20))", wait=False)
    kernel.until(lambda: "wait_for v1 · running" in kernel.text(cell))
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: "interrupt again" in kernel.text(cell))
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: kernel.ended(cell))
    (said,) = re.findall(r"detached: .* %fn attach (fc-\w{22})", kernel.traceback(cell))
    gate.touch()
    got = kernel.execute(f"found = %fn attach {said}\nset(found), len(list(found))")
    assert kernel.shown(got)[-1] == "({'ready'}, 20)"


@pytest.mark.parametrize("way", BLOCKING)
def test_a_second_interrupt_lets_the_call_go_on_and_attach_finds_it(
    kernel: Kernel, tmp_path: Path, way: str
) -> None:
    kernel.execute(CELL)
    # However slow this machine is, the second press comes in time.
    kernel.execute(
        "import nbfn.client.calls.interrupt\nnbfn.client.calls.interrupt.SECOND_PRESS = 30"
    )
    code = BLOCKING[way].replace("PATH", repr(str(tmp_path / "gate")))
    cell = kernel.execute(code, wait=False)
    interrupt(kernel, cell, 2)
    (said,) = re.findall(r"detached: .* %fn attach (fc-\w{22})", kernel.traceback(cell))
    assert kernel.traceback(cell).count("\n") == 0
    attached = kernel.execute(f"left = %fn attach {said}\nleft")
    assert said in kernel.shown(attached)[0]
    (tmp_path / "gate").touch()
    assert not (tmp_path / "gate.stopped").exists()
    if way == "remote":
        assert kernel.shown(kernel.execute("left.get()")) == ["'ready'"]
        assert kernel.shown(kernel.execute("left.get()")) == ["'ready'"]
    elif way == "remote_gen":
        assert kernel.shown(kernel.execute("list(left)")) == ["[2, 3]"]
    else:
        got = kernel.execute("left.get().call")
        assert kernel.shown(got) == [repr(said)]


@pytest.mark.parametrize(
    "wait",
    ["call.get()", "nbfn.FunctionCall.gather(call, call)", "list(call.iter())", "await call"],
)
def test_an_interrupt_of_a_wait_for_a_spawned_call_cancels_nothing(
    kernel: Kernel, tmp_path: Path, wait: str
) -> None:
    kernel.execute(CELL)
    spawned = kernel.execute(f"import nbfn\ncall = wait_for.spawn({str(tmp_path / 'gate')!r})")
    kernel.until(lambda: "waiting" in kernel.text(spawned))
    cell = kernel.execute(f"print('waiting')\n{wait}", wait=False)
    interrupt(kernel, cell)
    assert kernel.errors(cell) in (["KeyboardInterrupt"], ["CancelledError"])
    assert re.search(r"detached: .*%fn attach (fc-\w{22}|ID)", kernel.traceback(cell))
    (tmp_path / "gate").touch()
    assert kernel.shown(kernel.execute("call.get()")) == ["'ready'"]


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


@pytest.mark.parametrize("way", BLOCKING)
def test_with_the_setting_detach_the_first_interrupt_lets_the_call_go_on(
    kernel: Kernel, tmp_path: Path, way: str
) -> None:
    kernel.execute("import os\nos.environ['NBFN_INTERRUPT'] = 'detach'")
    kernel.execute(CELL)
    code = BLOCKING[way].replace("PATH", repr(str(tmp_path / "gate")))
    cell = kernel.execute(code, wait=False)
    kernel.until(lambda: "waiting" in kernel.text(cell))
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: kernel.ended(cell))
    assert "cancelling" not in kernel.text(cell)
    (said,) = re.findall(r"detached: .* %fn attach (fc-\w{22})", kernel.traceback(cell))
    kernel.execute(f"left = %fn attach {said}")
    (tmp_path / "gate").touch()
    got = kernel.execute({"remote": "left.get()", "remote_gen": "list(left)"}.get(way, "left"))
    assert kernel.errors(got) == []
    assert not (tmp_path / "gate.stopped").exists()
