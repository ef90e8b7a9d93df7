"""Spawned calls that `%fn retry` retries, and the displays of their handles; in real kernels."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.notebook.kernel import Kernel

Run = Callable[..., list[Any]]

BROKEN = (
    "%%remote --quiet --app retries\ndef work(x):\n    print('at', x)\n    return 10 // (x - 2)"
)
MENDED = BROKEN.replace("10 // (x - 2)", "f'mended {x}'")
#: Waits for the end of a call without fetching its results.
ENDED = (
    "import nbfn\nassert nbfn.client.call_observer.observer.handles[call.object_id].over.wait(30)"
)


def test_failed_inputs_run_again_with_todays_version_into_the_same_results(one_kernel: Run) -> None:
    *_, failed, _, retried, results, shown, again = one_kernel(
        BROKEN,
        f"call = work.spawn_map([1, 2, 3])\n{ENDED}",
        "call",
        MENDED,
        "%fn retry call",
        "list(call.iter())",
        "call",
        "%fn retry call",
    )
    text = failed.shown[-1]["text/plain"]  # told of the end of the retry as well
    assert text.startswith("✓ work v")
    assert "failed" not in text
    assert "1 input run again" in retried.text
    assert results.result == "[-10, 'mended 2', 10]"
    assert shown.shown[-1]["text/plain"].startswith("✓ work v")
    assert "3 succeeded" in shown.shown[-1]["text/plain"]
    assert "All inputs of call fc-" in again.stderr + again.error


def test_a_handle_says_how_many_failed_and_how_they_run_again(one_kernel: Run) -> None:
    *_, failed = one_kernel(BROKEN, f"call = work.spawn_map([1, 2, 3])\n{ENDED}", "call")
    text = failed.shown[-1]["text/plain"]
    assert text.startswith("▲ work v")
    assert "2 succeeded, 1 failed" in text
    assert re.search(r"%fn retry fc-\w+ · Retry failed \(1\)", text)


def test_what_cannot_run_again_is_a_sentence(one_kernel: Run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    *_, running, _, unknown, nothing = one_kernel(
        "%%remote --quiet --app retries\n"
        "def wait(path):\n    import os, time\n    while not os.path.exists(path): time.sleep(0.01)",
        f"call = wait.spawn({str(gate)!r})",
        "%fn retry call",
        f"open({str(gate)!r}, 'w').close(); call.get()",
        "%fn retry fc-" + "A" * 22,
        "%fn retry nothing",
    )
    assert "still runs (0 of 1 inputs have ended)" in running.stderr + running.error
    assert "only the notebook" not in running.stderr
    said = unknown.stderr + unknown.error
    assert "only spawned calls are kept" in said
    assert "Only the notebook that made a map can retry it" in said
    assert "'nothing' is not a call" in nothing.stderr + nothing.error


def test_a_retry_prints_under_its_own_cell_and_the_first_display_tells_of_its_end(
    kernel: Kernel, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    kernel.execute(
        "%%remote --quiet --app retries\n"
        "def pick(path):\n"
        "    import os, time\n"
        "    if not os.path.exists(path + '.mended'): raise ValueError('not yet')\n"
        "    print('once more')\n"
        "    while not os.path.exists(path): time.sleep(0.01)\n"
        "    return 'picked'"
    )
    first = kernel.execute(f"call = pick.spawn({str(gate)!r})\ncall")
    kernel.until(lambda: "ValueError: not yet" in kernel.shown(first)[-1])
    assert kernel.shown(first)[-1].startswith("✗ pick")
    (tmp_path / "gate.mended").touch()
    again = kernel.execute("handle = %fn retry call")
    kernel.until(lambda: "once more" in kernel.text(again))
    assert "once more" not in kernel.text(first)
    running = kernel.execute("handle")
    assert kernel.shown(running)[0].startswith("● pick")
    gate.touch()
    for cell in (first, running):
        kernel.until(lambda cell=cell: kernel.shown(cell)[-1].startswith("✓ pick"))
        kernel.until(lambda cell=cell: "'picked'" in kernel.shown(cell)[-1])


def test_another_notebook_sees_that_a_call_was_retried_when_it_looks(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    mine, other = start_kernel(), start_kernel()
    mine.execute(BROKEN)
    made = mine.execute(f"call = work.spawn(2)\n{ENDED}\nprint('ID', call.object_id)")
    call = mine.text(made).split("ID ")[1].split()[0]
    before = other.execute(f"%fn attach {call}")
    other.until(lambda: "ZeroDivisionError" in other.shown(before)[-1])
    mine.execute(MENDED)
    mine.execute("%fn retry call")
    mine.execute("call.get()")
    after = other.execute(f"%fn attach {call}")
    assert re.match(r"✓ work v\d+ · succeeded · ", other.shown(after)[-1])
    assert "'mended 2'" in other.shown(after)[-1]
