"""The kernelspec "Python 3 (nbfn)": an IPython kernel that has nbfn loaded."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = [
    "%load_ext nbfn",  # once more, as a notebook made for another kernel would: no complaint
    "get_ipython().find_cell_magic('remote') is not None",
    "display({'text/markdown': '*hello*'}, raw=True)\n%timeit -n1 -r1 pass",
]


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    monkeypatch.setenv("NBFN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(
        notebook, kernel_name="nbfn", timeout=60, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.shutdown_kernel = "immediate"
    client.execute()
    return notebook


def test_the_magics_are_there_from_the_first_cell(notebook: nbformat.NotebookNode) -> None:
    again, found, displayed = (cell.outputs for cell in notebook.cells)
    assert "Traceback" not in str(again)
    assert found[0]["data"]["text/plain"] == "True"
    assert displayed[0]["data"]["text/markdown"] == "*hello*"
