"""Maps in a real kernel: as the value of a cell, in the background, and retries of their failures."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.notebook.kernel import Kernel

Run = Callable[..., list[Any]]

CHOOSY = """%%remote --quiet --app maps
def choosy(x):
    if x % 3 == 0:
        raise ValueError(f"not {x} today")
    return x * 10
"""
MENDED = CHOOSY.replace("if x % 3 == 0", "if x == 6")


def test_a_map_as_the_value_of_a_cell_runs_and_is_iterated_later(one_kernel: Run) -> None:
    _, shown, later, twice = one_kernel(
        "%%remote --app maps\ndef ten(x): return x * 10",
        "ten.map(range(5))",
        "list(_)",
        "[list(value) for value in list(Out.values()) if hasattr(value, 'collect')][-1]",
    )
    assert "ten v1" in shown.text
    assert later.result == twice.result == "[0, 10, 20, 30, 40]"


def test_failures_run_again_into_the_list_of_results(one_kernel: Run) -> None:
    _, first, _, again, look = one_kernel(
        CHOOSY,
        "results = list(choosy.map(range(1, 8), return_exceptions=True))\n"
        "[type(r).__name__ for r in results]",
        MENDED,
        "%fn retry results",
        "results",
    )
    assert first.result.count("ValueError") == 2
    assert (
        again.text
        == "2 inputs ran again on v2: 1 succeeded, 1 failed · the results are in `results`\n"
    )
    assert look.result.startswith("[10, 20, 30, 40, 50, ValueError('not 6 today'")
    assert look.result.endswith("70]")


def test_failures_without_a_list_are_bound_by_index(one_kernel: Run) -> None:
    _, _, again, look = one_kernel(
        CHOOSY,
        "seen = [str(r) for r in choosy.map([1, 3], return_exceptions=True)]\n"
        "call = list(get_ipython()._nbfn_observer.maps)[-1]",
        "get_ipython().run_line_magic('fn', f'retry {call}')",
        "retried",
    )
    assert "the results are in `retried`, by index" in again.text
    assert re.fullmatch(r"\{1: ValueError\('not 3 today'\)\}", look.result)


def test_what_cannot_be_run_again_says_why(one_kernel: Run) -> None:
    _, unknown, _, whole = one_kernel(
        CHOOSY,
        "%fn retry fc-nothing",
        "_ = list(choosy.map([1, 2]))\ncall = list(get_ipython()._nbfn_observer.maps)[-1]",
        "get_ipython().run_line_magic('fn', f'retry {call}')",
    )
    assert "'fc-nothing' is not a call" in unknown.stderr + unknown.error
    assert "all inputs succeeded" in whole.text


def test_a_detached_map_ends_its_cell_in_a_sentence_and_can_be_attached(run: Run) -> None:
    _, detached, after, attached = run(
        "%%remote --app maps\nimport time\ndef slow(x):\n    time.sleep(0.05)\n    return x",
        "import threading\n"
        "observer = get_ipython()._nbfn_observer\n"
        "def press():\n"
        "    while not observer.maps or not list(observer.maps.values())[-1].stats.done:\n"
        "        time.sleep(0.01)\n"
        "    list(observer.maps.values())[-1].detach()\n"
        "import time\n"
        "threading.Thread(target=press).start()\n"
        "results = list(slow.map(range(40)))",
        "call = list(observer.maps)[-1]\nprint('the notebook goes on')",
        "kept = get_ipython().run_line_magic('fn', f'attach {call}')\nlist(kept)",
        JPY_SESSION_NAME="some/notebook.ipynb",
    )
    assert detached.error.startswith("detached: slow goes on in the background (fc-")
    assert "%fn attach fc-" in detached.error
    assert "Traceback" not in detached.error
    assert after.text == "the notebook goes on\n"
    assert eval(attached.result) == list(range(40))


def test_the_traceback_of_a_group_is_in_what_is_saved(run: Run) -> None:
    _, mapped = run(
        CHOOSY.replace("--quiet ", "") + "    ",
        "import time\n"
        "def inputs():\n"
        "    yield from range(1, 7)\n"
        "    while not any(s.displays for s in get_ipython()._nbfn_observer._running):\n"
        "        time.sleep(0.01)  # until it is shown\n"
        "results = list(choosy.map(inputs(), return_exceptions=True))",
        JPY_SESSION_NAME="some/notebook.ipynb",
    )
    (shown,) = mapped.shown
    assert re.search("2× ValueError: not [36] today", shown["text/html"])  # whichever came first
    frames = html.unescape(shown["text/html"])
    assert re.search(
        r"Traceback \(most recent call last\):\n"
        r"  Cell In\[2\], line 4, in choosy\n"
        r'    raise ValueError\(f"not \{x\} today"\)\n',
        frames,
    )
    assert "application/vnd.jupyter.widget-view+json" not in shown


def test_a_map_that_is_dropped_unused_is_told(one_kernel: Run) -> None:
    _, dropped = one_kernel(
        "%%remote --app maps\ndef ten(x): return x * 10",
        "results = ten.map(range(5))\ndel results",
    )
    assert "Function.map was not consumed, so the call will never be executed" in dropped.stderr


def test_a_map_that_waits_for_its_own_notebook_says_so(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    kernel = start_kernel(JPY_SESSION_NAME="some/notebook.ipynb")
    gates = [str(tmp_path / name) for name in ("first", "second")]
    kernel.execute(
        "%%remote --app maps --max 2\ndef ten(x): return x * 10\n%local\n"
        "import itertools, os, time\n"
        "def wait_for(gate):\n    while not os.path.exists(gate): time.sleep(0.02)\n"
        "def inputs():\n    yield from range(6)\n"
        f"    wait_for({gates[0]!r})\n    yield from range(6, 10)"
    )
    cell = kernel.execute("list(ten.map(inputs()))", wait=False)
    kernel.until(lambda: "the next input is awaited" in str(kernel.said))
    (view,) = re.findall(
        r"'view': (\{(?:[^{}]|\{[^{}]*\})*the next input is awaited[^{}]*\})", str(kernel.said)
    )[:1]
    told = ast.literal_eval(view)
    assert (told["done"], told["total"], told["left"]) == (6, None, "")
    Path(gates[0]).touch()
    kernel.until(lambda: kernel.ended(cell))
    assert str([x * 10 for x in range(10)]) in kernel.shown(cell)
    kernel.until(lambda: "ten.map · 10 succeeded" in str(kernel.said))

    loop = f"for _ in ten.map(itertools.count()):\n    wait_for({gates[1]!r})\n    break"
    cell = kernel.execute(loop, wait=False)
    kernel.until(lambda: "results wait to be taken" in str(kernel.said))
    Path(gates[1]).touch()
    kernel.until(lambda: kernel.ended(cell))


MEMORY = """
import gc, re, time
def resident():
    gc.collect()
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
"""


def test_results_that_nobody_takes_do_not_stay_in_memory(run: Run) -> None:
    *_, grown, first, again = run(
        "%%remote --quiet --app maps --max 2\n"
        "def large(x): return x.to_bytes(4) * 50_000\n"
        "%local\nlarge.remote(1)" + MEMORY + "before = resident()",
        "shown = large.map(range(3000))\nshown",
        "while 'all there' not in repr(shown): time.sleep(0.05)\nresident() - before",
        "[value[:4] for value in shown] == [x.to_bytes(4) for x in range(3000)]",
        "[value[-4:] for value in shown] == [x.to_bytes(4) for x in range(3000)]",
        JPY_SESSION_NAME="some/notebook.ipynb",
    )
    assert float(grown.result) < 300  # megabytes, of six hundred
    assert first.result == again.result == "True"


def test_a_map_that_fails_at_once_shows_its_end_too(one_kernel: Run) -> None:
    _, failed, look, hint = one_kernel(
        "%%remote --app maps --max 1\ndef picky(x):\n    if x == 2: raise ValueError('two')\n    return x",
        "list(picky.map(range(300)))",
        "import sys\nfound = sys.last_value.map_result\n[found.finished[n] for n in range(2)], found.counts.failed",
        "print(list(get_ipython()._nbfn_observer.maps.values())[-1].stats.retryable)",
    )
    assert "ValueError" in failed.error
    (line,) = [row for row in failed.text.splitlines() if "picky.map · failed · " in row]
    assert re.search(r"▲ picky\.map · failed · \d+ succeeded, 1 failed, .*\d+ not run", line)
    assert re.search(r"%fn retry fc-\w{22} · Retry failed.* and not run \(\d+\)", failed.text)
    assert "ValueError: two (" in failed.text
    assert "· 1× · input 2" in failed.text
    assert look.result == "([0, 1], 1)"
    assert int(hint.text) > 0
