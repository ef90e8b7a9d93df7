"""Modules in the notebook's folder: changes between two cells apply to the second one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., list[Any]]


def test_a_module_beside_the_notebook_that_was_written_runs_in_the_next_call(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "shapes.py").write_text(SHAPES.format(how="+ 1"))
    *_, card, before, _, after, mapped, here, again = run(
        f"import os\nos.chdir({str(tmp_path)!r})",
        "import shapes\nfrom shapes import double",
        "%%remote --app written\ndef far(p):\n    return p.far(), double(p), shapes.SCALE\n",
        "(far.remote(shapes.Point(2)))[0]",
        "%%writefile shapes.py\n" + SHAPES.format(how="* 100").replace("SCALE = 1", "SCALE = 7"),
        "got, other, scale = far.remote(shapes.Point(2))\n"
        "got, type(other) is shapes.Point, other.x, scale",
        "list(p[2] for p in far.map([shapes.Point(1)] * 2))",
        "shapes.Point(2).far(), shapes.SCALE",
        "%%remote --app written\ndef far(p):\n    return p.far(), double(p), shapes.SCALE\n",
    )
    assert (
        card.shown[0]["text/plain"] == "✓ far v1 · app written · captures double(), Point, shapes"
    )
    assert (before.result, after.result) == ("3", "(200, True, 4, 7)")
    assert mapped.result == "[7, 7]"
    assert here.result == "(3, 1)"  # the kernel keeps what it imported
    assert again.shown[0]["text/plain"].startswith("✓ far unchanged, v2")


def test_autoreload_and_nbfn_agree(run: Run, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def step(x): return x + 1\n")
    *_, before, _, after = run(
        f"import os\nos.chdir({str(tmp_path)!r})",
        "%load_ext autoreload\n%autoreload 2\nimport beside",
        "%%remote --app reloaded\ndef f(x):\n    return beside.step(x)\n",
        "f.remote(1), f.local(1)",
        "%%writefile beside.py\ndef step(x): return x + 100\n",
        "f.remote(1), f.local(1)",
    )
    assert (before.result, after.result) == ("(2, 2)", "(101, 101)")


def test_a_module_that_is_no_python_any_more_is_told_in_a_sentence(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "beside.py").write_text("def step(x): return x + 1\n")
    *_, broken, told, card, _, mended = run(
        f"import os\nos.chdir({str(tmp_path)!r})",
        "import beside",
        "%%remote --app broken\ndef f(x):\n    return beside.step(x)\n%local\nf.remote(1)",
        "%%writefile beside.py\ndef step(x) return x\n",
        "f.remote(1)",
        "%fn list --app broken",
        "%%writefile beside.py\ndef step(x): return x + 5\n",
        "f.remote(1)",
    )
    assert "Overwriting" in broken.text
    assert told.result == "2"
    assert "beside.py, line 1: SyntaxError: " in told.stderr
    assert "Function 'f' keeps running v1" in told.stderr
    assert "Traceback" not in told.stderr
    assert re.search(r"^f +broken +1 ", card.result, re.MULTILINE)
    assert mended.result == "6"


SHAPES = """\
SCALE = 1
class Point:
    def __init__(self, x): self.x = x
    def far(self): return self.x {how}
def double(p):
    assert isinstance(p, Point)
    return Point(2 * p.x)
"""
