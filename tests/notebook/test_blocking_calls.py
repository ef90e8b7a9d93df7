"""A `remote` call that a cell waits for shows its state, worker and time, if it takes more than half a second."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nbfn
from tests.notebook.conftest import Ran
from tests.notebook.kernel import Kernel, is_blocking_call

Run = Callable[..., list[Ran]]

CELL = """%%remote --app blocking --max 2 {}
import os, time
def nap(seconds, result=None):
    time.sleep(seconds)
    return result
def fail(seconds):
    time.sleep(seconds)
    1 / 0
def talk(seconds):
    print('begun', flush=True)
    time.sleep(seconds)
    print('over')
def wait_for(path):
    print('waiting', flush=True)
    while not os.path.exists(path): time.sleep(0.01)
"""
WARM = "nap.keep_warm(2); [nap.remote(0) for _ in range(3)]; fail.keep_warm(1); talk.remote(0)"


def line(function: str, state: str, rest: str = r"wk-\w{6} · fc-\w{4}") -> str:
    """Return the pattern of a line about one call."""
    marks = {"succeeded": "✓", "failed": "✗", "cancelled": "■", "running": "●", "detached": "◇"}
    return rf"{marks[state]} {function}\.remote v1 · {state} (\d+\.\d s|\d+:\d\d) · {rest}"


def test_a_long_call_shows_its_state_worker_and_time(kernel: Kernel) -> None:
    kernel.execute(CELL.format("--quiet").replace("--quiet", ""))
    kernel.execute(WARM)
    cell = kernel.execute("nap.remote(1.5, 7)")
    first, *_, last = kernel.waited(cell)
    assert re.fullmatch(line("nap", "running"), first)
    assert re.fullmatch(line("nap", "succeeded"), last)
    assert float(re.search(r"([\d.]+) s", last)[1]) >= 1.5  # type: ignore[index]
    assert kernel.shown(cell) == ["7"]


def test_the_display_becomes_static_before_the_cell_ends(run: Run) -> None:
    """As nbconvert stores it: one output, without a widget."""
    _, _, ran = run(CELL.format(""), WARM, "nap.remote(1.5)\nprint('after')")
    assert re.fullmatch(line("nap", "succeeded"), ran.waited)
    assert ran.text == "after\n"


def test_a_page_gets_a_widget_that_becomes_static(run: Run) -> None:
    _, _, ran = run(CELL.format(""), WARM, "nap.remote(1.5)", JPY_SESSION_NAME="some/nb.ipynb")
    (data,) = [o.data for o in ran.outputs if o.output_type == "display_data"]
    assert set(data) == {"text/plain", "text/html", "application/vnd.nbfn.call+json"}
    assert data["application/vnd.nbfn.call+json"]["ended"]
    assert "succeeded" in data["text/html"]
    assert "<button" not in data["text/html"]


def test_a_failed_call_says_so_above_its_error(run: Run) -> None:
    _, _, ran = run(CELL.format(""), WARM, "fail.remote(1.2)")
    assert re.fullmatch(line("fail", "failed"), ran.waited)
    assert "ZeroDivisionError" in ran.error


@pytest.mark.parametrize("quiet", ["--quiet", "NBFN_PROGRESS"])
def test_no_line_where_it_is_turned_off(run: Run, quiet: str) -> None:
    more = {"NBFN_PROGRESS": "false"} if quiet == "NBFN_PROGRESS" else {}
    cell = CELL.format("--quiet" if quiet == "--quiet" else "")
    *_, ran = run(cell, "nap.remote(1.5, 3)", **more)
    assert ran.result == "3"
    assert ran.waited == ""


def test_short_calls_show_nothing(run: Run) -> None:
    _, _, ran = run(
        CELL.format(""),
        WARM,
        "began = __import__('time').time()\nfor _ in range(50): nap.remote(0)",
    )
    assert ran.waited == ""
    assert ran.outputs == []


def test_calls_of_threads_and_tasks_share_one_display(kernel: Kernel) -> None:
    kernel.execute(CELL.format(""))
    kernel.execute(WARM)
    tasks = kernel.execute(
        "import asyncio; await asyncio.gather(*[nap.remote.aio(1.2, n) for n in range(4)])"
    )
    texts = kernel.waited(tasks)
    assert len(re.findall(r"^● nap", texts[0], re.M)) == 2
    assert "place 1 in the queue" in texts[0]
    assert re.fullmatch(r"✓ nap\.remote v1 · 4 succeeded · \d\.\d s", texts[-1])
    threads = kernel.execute(
        "import threading\n"
        "ts = [threading.Thread(target=f.remote, args=(1.2,)) for f in (nap, talk)]\n"
        "for t in ts: t.start()\nfor t in ts: t.join()"
    )
    assert re.fullmatch(r"✓ 2 calls · 2 succeeded · \d\.\d s", kernel.waited(threads)[-1])
    assert "begun\nover\n" in kernel.text(threads)


def test_a_cell_with_many_calls_counts_them(kernel: Kernel) -> None:
    kernel.execute(CELL.format(""))
    kernel.execute(WARM)
    cell = kernel.execute(
        "import contextlib\nfor f in (nap, fail, nap):\n    with contextlib.suppress(ZeroDivisionError): f.remote(1)"
    )
    assert re.fullmatch(r"▲ 3 calls · 2 succeeded, 1 failed · \d\.\d s", kernel.waited(cell)[-1])


def test_a_script_cell_shows_its_state_and_prints_where_it_ran(run: Run) -> None:
    (ran,) = run("%%remote\nimport time\ntime.sleep(1.5)")
    assert ran.waited == "✓ script · succeeded"
    assert re.search(r"ran on wk-\w{6} · \d\.\d s", ran.text)


def test_an_interrupted_call_ends_in_the_same_words(kernel: Kernel, tmp_path: Path) -> None:
    kernel.execute(CELL.format(""))
    cell = kernel.execute(f"wait_for.remote({str(tmp_path / 'go')!r})", wait=False)
    kernel.until(lambda: kernel.waited(cell) and "waiting" in kernel.text(cell))
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: kernel.ended(cell))
    assert re.fullmatch(line("wait_for", "cancelled"), kernel.waited(cell)[-1])


def test_a_detached_call_says_how_to_get_it_back(kernel: Kernel, tmp_path: Path) -> None:
    kernel.execute(CELL.format(""))
    path = tmp_path / "go"
    cell = kernel.execute(f"wait_for.remote({str(path)!r})", wait=False)
    kernel.until(lambda: kernel.waited(cell) and "waiting" in kernel.text(cell))
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: "interrupt again" in kernel.text(cell))
    kernel.manager.interrupt_kernel()
    kernel.until(lambda: kernel.ended(cell))
    last = kernel.waited(cell)[-1]
    assert re.fullmatch(
        line("wait_for", "detached", r"wk-.*%fn attach fc-\w+ returns its handle"), last
    )
    path.touch()
    kernel.until(lambda: "succeeded" in shown_anywhere(kernel)[-1])


def shown_anywhere(kernel: Kernel) -> list[str]:
    """Return the texts of displays of blocking calls, in all cells."""
    kernel.execute("1")
    messages: list[Any] = [m for said in kernel.said.values() for m in said]
    found = [m["content"]["data"] for m in messages if "data" in m["content"]]
    return [data["text/plain"] for data in found if "text/plain" in data and is_blocking_call(data)]


def test_a_call_cancelled_from_elsewhere_says_so(kernel: Kernel, tmp_path: Path) -> None:
    kernel.execute(CELL.format(""))
    cell = kernel.execute(f"wait_for.remote({str(tmp_path / 'go')!r})", wait=False)
    kernel.until(lambda: kernel.waited(cell) and "waiting" in kernel.text(cell))
    client = nbfn.Client.attach(start=False)
    [call] = [
        row.id for row in client.overview().calls if row.function == "wait_for" and not row.ended
    ]
    client.cancel_call(call)
    kernel.until(lambda: kernel.ended(cell))
    assert re.fullmatch(line("wait_for", "cancelled"), kernel.waited(cell)[-1])


def test_calls_inside_of_workers_have_no_line(run: Run) -> None:
    *_, ran = run(
        "%%remote --app blocking\nimport time\ndef inner(): time.sleep(1)\ndef outer(): inner.remote()",
        "outer.remote()",
    )
    assert "inner" not in ran.waited


def test_a_call_that_waits_says_for_what(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "go"
    kernel.execute(CELL.format("").replace("--max 2", "--max 1"))
    first = kernel.execute(f"first = wait_for.spawn({str(path)!r})")
    kernel.until(lambda: "waiting" in kernel.text(first))
    cell = kernel.execute(f"wait_for.remote({str(path)!r})", wait=False)
    kernel.until(lambda: kernel.waited(cell) != [])
    path.touch()
    kernel.until(lambda: kernel.ended(cell))
    assert re.match(
        r"○ wait_for\.remote v\d · queued .* · place 1 in the queue · max 1 reached",
        kernel.waited(cell)[0],
    )


def test_a_terminal_has_one_line_that_gives_way_to_output(tmp_path: Path) -> None:
    """IPython in a pseudo-terminal."""
    shown = in_terminal(
        tmp_path,
        "%load_ext nbfn",
        "import nbfn, time",
        "app = nbfn.App('terminal')",
        "f = app.function()(talk)",
        "f.remote(0)",
        "f.remote(2.0)",
    )
    assert re.search(r"● talk\.remote v1 · running \d\.\d s · wk-", shown)
    assert re.search(r"\r\x1b\[2Kover\r?\n", shown)
    assert re.search(r"✓ talk\.remote v1 · succeeded \d\.\d s · wk-\w+ · fc-\w+\r?\n", shown)


TALK = """
def talk(seconds):
    print('begun', flush=True)
    time.sleep(seconds)
    print('over')
"""


def in_terminal(home: Path, *lines: str) -> str:
    """Run lines in IPython in a pseudo-terminal and return what it writes."""
    file = home / "talk.ipy"
    file.write_text("\n".join([lines[0], lines[1], TALK, *lines[2:]]))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", str(file)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"IPYTHONDIR": str(home), "TERM": "xterm"},
    )
    os.close(slave)
    written = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # the process has ended
            break
        if not chunk:
            break
        written += chunk
    process.wait(10)
    os.close(master)
    return written.decode("utf-8", "replace")
