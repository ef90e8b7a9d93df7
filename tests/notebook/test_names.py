"""The name of a notebook's App: from its file; without a file, the kernel has its own App."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., list[Any]]

CELL = "%%remote\ndef who(): return {!r}"


def test_notebooks_in_other_scripts_have_apps_of_their_own(run: Run, tmp_path: Path) -> None:
    for name in ("анализ", "分析", "größe"):
        file = tmp_path / unicodedata.normalize("NFD", f"{name}.ipynb")  # as macOS has it
        file.touch()
        card, called = run(CELL.format(name), "who.remote()", JPY_SESSION_NAME=str(file))
        assert card.shown[0]["text/plain"] == f"✓ who v1 · app {name}"
        assert called.result == repr(name)
    *_, found = run(
        "import nbfn",
        "[nbfn.Function.from_name(app, 'who').remote() for app in ('анализ', '分析', 'größe')]",
    )
    assert found.result == "['анализ', '分析', 'größe']"


def test_functions_and_magics_take_names_in_any_script(one_kernel: Run) -> None:
    made, called, shown, bound, renamed = one_kernel(
        "%%remote --app анализ --max 2\ndef größe(π): return 2 * π",
        "größe.remote(π=2), list(größe.map([1]))",
        "%fn show größe",
        "%nbfn from анализ import größe as длина\nдлина.remote(4)",
        "%%remote длина --app анализ\ndef f(x): return x",
    )
    assert made.shown[0]["text/plain"] == "✓ größe v1 · app анализ"
    assert called.result == "(4, [2])"
    assert "größe" in shown.text + shown.result
    assert bound.result == "8"
    assert renamed.shown[0]["text/plain"] == "✓ длина v1 · app анализ"


def test_without_a_file_a_notebook_replaces_nothing_of_another(run: Run, tmp_path: Path) -> None:
    named = tmp_path / "notebook.ipynb"
    named.touch()
    (card,) = run(CELL.format("the named one"), JPY_SESSION_NAME=str(named))
    assert card.shown[0]["text/plain"] == "✓ who v1 · app notebook"
    first = run(
        CELL.format("first"),
        "who.remote(), [who.spawn().get()]",
        CELL.format("first"),
        CELL.format("first, again"),
        "who.remote()",
        "%fn list",
        "%%remote named\nprint(3)",
        "import nbfn\nnbfn.Function.from_name('notebook', 'who').remote()",
    )
    cards = [cell.shown[0]["text/plain"] for cell in (first[0], first[2], first[3])]
    kernels = " · app notebook of this kernel (--app NAME deploys it)"
    assert cards == [
        f"✓ who v1{kernels}",
        f"✓ who unchanged, v1{kernels}",
        f"✓ who v2{kernels}",
    ]
    assert first[1].result == "('first', ['first'])"
    assert first[4].result == "'first, again'"
    assert "who" in first[5].result
    assert first[7].result == "'the named one'"


def test_a_notebook_that_another_runs_does_not_take_over_its_name(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """A kernel inherits environment variables, including the name of the other notebook."""
    program = """
import os, nbformat, nbclient
cell = nbformat.v4.new_code_cell
notebook = nbformat.v4.new_notebook(cells=[
    cell("%load_ext nbfn"), cell("%%remote\\ndef who(): ...")])
nbclient.NotebookClient(notebook, kernel_name="python3").execute()
print(notebook.cells[1].outputs[0]["data"]["text/plain"])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"JPY_SESSION_NAME": str(tmp_path / "outer.ipynb")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "✓ who v1 · app notebook of this kernel (--app NAME deploys it)\n"


def test_vs_code_tells_the_file_in_the_namespace(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "in code.ipynb"
    _, card = run(f"__vsc_ipynb_file__ = {os.fspath(file)!r}", CELL.format(1))
    assert card.shown[0]["text/plain"] == "✓ who v1 · app in-code"
