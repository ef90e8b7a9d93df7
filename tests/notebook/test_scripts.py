"""Script cells in a real kernel: run once, remotely."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import own_files

Run = Callable[..., list[Any]]


def test_it_behaves_like_a_cell_and_says_where_it_ran(one_kernel: Run) -> None:
    (cell,) = one_kernel("%%remote\nimport os\nprint('there')\nos.getpid() != 1")
    said, line = cell.text.splitlines()
    assert said == "there"
    assert re.fullmatch(r"ran on wk-\w{6} · \d+\.\d s · peak \d+(?:\.\d)? MB · fc-\w{6}", line)
    assert cell.result == "True"


def test_it_has_all_processors_unless_it_asks_for_some(one_kernel: Run) -> None:
    *_, all_of_them, one = one_kernel(
        "import nbfn\ncores = int(nbfn.Client.attach().overview().hub.cpus)",
        "%%remote -i cores\nimport os\nint(os.environ['OMP_NUM_THREADS']) == cores",
        "%%remote --cpu 1\nimport os\nos.environ['OMP_NUM_THREADS']",
    )
    assert all_of_them.result == "True"
    assert one.result == "'1'"


def test_a_named_one_becomes_a_function_whose_parameters_are_its_inputs(one_kernel: Run) -> None:
    _, card, bound, mapped, elsewhere = one_kernel(
        "df = [1, 2, 3]",
        "%%remote train -i lr=0.5 -i epochs=2 -i df -o model -o acc --app scripts\n"
        "best = max(df)\n"
        "model = [lr * epochs * x for x in df]\n"
        "acc = sum(model)\n",
        "model, acc",
        "[acc for _, acc in train.map([1, 10])]",
        "import nbfn\nnbfn.Function.from_name('scripts', 'train').remote(lr=2, df=[1])",
    )
    assert card.shown[0]["text/plain"] == "✓ train v1 · app scripts"
    assert card.text.splitlines()[-1] == "`best` stayed remote; add -o best"
    assert bound.result == "([1.0, 2.0, 3.0], 6.0)"
    assert mapped.result == "[12, 120]"
    assert elsewhere.result == "([4], 4)"


def test_it_can_be_registered_only_or_run_in_the_background_or_here(one_kernel: Run) -> None:
    *_, unbound, handle, here, there = one_kernel(
        "%%remote later -i x=1 -o y --no-run --app scripts\ny = x + 1",
        "'y' in globals(), later.remote(4)",
        "%%remote --bg -i x=20\nx + 1\n%local\nx = 'mine'",
        "%%remote --local -o pid\nimport os\npid = os.getpid()\nx",
        "import os\npid == os.getpid(), x",
    )[1:]
    assert unbound.result == "(False, 5)"
    assert re.match("[○◌●✓] cell v1 · ", handle.shown[0]["text/plain"])
    assert here.result == "'mine'"
    assert there.result == "(True, 'mine')"


def test_it_may_await_as_cells_do(one_kernel: Run) -> None:
    cell, mapped, *refused = one_kernel(
        "%%remote slowly -i n=2 -o got --app scripts\nimport asyncio\n"
        "got = [await asyncio.sleep(0, x) for x in range(n)]\ngot",
        "got, list(slowly.map([1, 3]))",
        "%%remote --local\nawait f()",
        "%%remote --app scripts\ndef never(): ...\n%local\nawait never.remote.aio()",
        "'never' in globals()",
    )
    assert cell.result == "[0, 1]"
    assert mapped.result == "([0, 1], [[0], [0, 1, 2]])"
    assert "UsageError: --local runs the cell where await is not possible" in refused[0].stderr
    assert refused[1].stderr == (
        "UsageError: Code below %local cannot use await. Put it into a cell of its own.\n"
    )
    assert refused[2].result == "False"


def test_what_cells_may_and_functions_may_not_works(one_kernel: Run) -> None:
    star, here, silent, returns, yields, *_, unbound, bound = one_kernel(
        "%%remote -o root\nfrom __future__ import annotations\nfrom math import *\nroot = sqrt(9)\nroot",
        "%%remote --local\nfrom cmath import *\nphase(1)\n%local\nphase(1)",
        "%%remote\n5;  # not shown",
        "%%remote\nreturn 5",
        "%%remote\nyield 5",
        "counted = 1",
        "%%remote -o counted\ncounted = counted + 1",
        "%%remote -i counted -o counted\ncounted = counted + 1\n%local\ncounted",
    )
    assert (star.result, here.result) == ("3.0", "0.0")
    assert silent.result == ""
    assert silent.text.startswith("ran on wk-")
    assert "SyntaxError: 'return' outside function" in returns.error
    assert "SyntaxError: 'yield' outside function" in yields.error
    assert (
        "The cell assigns counted, so it does not use the notebook's value; add -i counted."
        in unbound.error
    )
    assert bound.result == "2"


def test_what_is_too_large_for_a_default_must_be_given(one_kernel: Run) -> None:
    *_, total, failed = one_kernel(
        "import numpy as np\nlarge = np.ones(1_000_000)",
        "%%remote add_up -i large -o total --app scripts\ntotal = float(large.sum())",
        "total",
        "add_up.remote()",
    )
    assert total.result == "1000000.0"
    assert "add_up() needs large: too large to be stored as a default" in failed.error


def test_an_error_shows_the_cells_line_and_binds_nothing(one_kernel: Run) -> None:
    failed, after = one_kernel(
        "%%remote -i n=0 -o broken\nbroken = 1\n\n1 / n", "'broken' in globals()"
    )
    assert "----> 4 1 / n" in failed.error
    assert "ZeroDivisionError" in failed.error
    assert not own_files(failed.error)
    assert after.result == "False"


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%remote -o q\n1", "-o q: the cell does not assign 'q'."),
        ("%%remote -i missing\n1", "-i missing: name 'missing' is not defined."),
        ("%%remote -i n=1/0\n1", "-i n=1/0: ZeroDivisionError: division by zero"),
        ("%%remote -i 3x\n1", "'3x' is not a name"),
        ("%%remote --no-run\n1", "--no-run needs a NAME"),
        ("%%remote --bg -o y\ny = 1", "--bg does not wait"),
        ("%%remote --bg\ndef f(): ...", "--bg is for cells that run; this one defines f."),
        (
            "%%remote --memory lots\n1",
            "--memory lots is not valid. Pass an amount like 8G or 512M.",
        ),
        (
            "%%remote\ndef f(): ...\nf()",
            "Split the cell, or put code that runs in the notebook below",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(one_kernel: Run, cell: str, says: str) -> None:
    (failed,) = one_kernel(cell)
    assert failed.stderr.startswith("UsageError: ")
    assert says in failed.stderr
    assert failed.error == ""
