"""Objects that cells define work with plain pickle in workers, and are returned with their classes; in real kernels."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.notebook.kernel import Kernel

Start = Callable[..., Kernel]

CLASSES = """
from dataclasses import dataclass
@dataclass
class P:
    x: int
class E(Exception): pass
def plus(p): return P(p.x + 1)
"""
CELL = """%%remote --quiet --app pickling
import multiprocessing, pickle
def pooled(kind, x):
    with multiprocessing.get_context(kind).Pool(1) as pool:
        return pool.map(plus, [P(x)])
def fail():
    raise pickle.loads(pickle.dumps(E("five")))
"""


def test_pools_in_a_worker_run_helpers_of_other_cells(start_kernel: Start) -> None:
    kernel = start_kernel()
    kernel.execute(CLASSES)
    kernel.execute(CELL)
    for kind in ("fork", "spawn", "forkserver"):
        cell = kernel.execute(f"print(pooled.remote({kind!r}, 1) == [P(2)])")
        assert kernel.text(cell) == "True\n", kernel.traceback(cell)


def test_pools_in_a_worker_run_functions_of_the_same_cell(start_kernel: Start) -> None:
    kernel = start_kernel()
    kernel.execute(
        "%%remote --quiet --app pickling\n"
        "import multiprocessing\n"
        "def double(x): return 2 * x\n"
        "def pooled(kind):\n"
        "    with multiprocessing.get_context(kind).Pool(1) as pool:\n"
        "        return pool.map(double, [1, 2])\n"
    )
    for kind in ("fork", "spawn", "forkserver"):
        cell = kernel.execute(f"print(pooled.remote({kind!r}), double.remote(5))")
        assert kernel.text(cell) == "[2, 4] 10\n", kernel.traceback(cell)


def test_a_script_cell_pickles_what_other_cells_define(start_kernel: Start) -> None:
    kernel = start_kernel()
    kernel.execute(CLASSES)
    kernel.execute(
        "%%remote --quiet --app pickling -o got\n"
        "import multiprocessing\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "    got = pool.map(plus, [P(4)])\n"
    )
    cell = kernel.execute("print(got == [P(5)])")
    assert kernel.text(cell) == "True\n", kernel.traceback(cell)


def test_results_and_exceptions_from_before_a_restart_are_of_the_classes_of_the_same_cell(
    start_kernel: Start, tmp_path: Path
) -> None:
    kernel = start_kernel(JPY_SESSION_NAME=str(tmp_path / "mine.ipynb"))
    kernel.execute(CLASSES)
    kernel.execute(CELL)
    cell = kernel.execute(
        "calls = pooled.spawn('fork', 1), fail.spawn()\n"
        "calls[0].get()\n"
        "print(*(call.object_id for call in calls))"
    )
    result, failed = re.findall(r"fc-\w{22}", kernel.text(cell))
    fetch = (
        "from nbfn import FunctionCall\n"
        f"print(FunctionCall.from_id({result!r}).get() == [P(2)])\n"
        f"try: FunctionCall.from_id({failed!r}).get()\n"
        "except E as error: print('caught', error)"
    )
    kernel.restart()
    kernel.execute("%load_ext nbfn")
    kernel.execute("1 + 1")  # so that the cell has another number
    kernel.execute("\n\n" + CLASSES)
    cell = kernel.execute(fetch)
    assert kernel.text(cell) == "True\ncaught five\n", kernel.traceback(cell)
    other = start_kernel(JPY_SESSION_NAME=str(tmp_path / "other.ipynb"))
    other.execute(CLASSES)
    cell = other.execute(fetch)
    assert other.text(cell) == "True\ncaught five\n", other.traceback(cell)
