"""Runs all cells of ``notebooks/magic_kernel.ipynb`` in the kernel that it names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

from tests.conftest import a_home

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "magic_kernel.ipynb"


@pytest.fixture(scope="module")
def cells() -> list[Any]:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with a_home() as home:
        config = Config({"KernelManager": {"transport": "ipc", "ip": str(home / "k")}})
        client = NotebookClient(
            notebook, kernel_name=notebook.metadata.kernelspec.name, timeout=60, config=config
        )
        client.execute(
            env=dict(os.environ) | {"NBFN_HOME": str(home), "IPYTHONDIR": str(home / "ipython")}
        )
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell: Any) -> str:
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", "") or output.get("data", {}).get("text/plain", ""))
        parts.append(output.get("evalue", ""))
    return "\n".join(parts)


def cell_with(cells: list[Any], source: str) -> Any:
    [found] = [cell for cell in cells if source in cell.source]
    return found


def test_it_keeps_what_its_text_promises(cells: list[Any]) -> None:
    first, second = cells[:2]
    assert "started in" in text_of(first)
    assert text_of(first).splitlines()[-1] != text_of(second).strip()
    plot = cell_with(cells, "plt.plot")
    assert any("image/png" in output.get("data", {}) for output in plot.outputs)
    assert "above ← session" in text_of(cell_with(cells, "%pull above"))
    assert "{100: " in text_of(cell_with(cells, "%local above"))
    assert int(text_of(cell_with(cells, "max(runs)")).split()[-1]) > 5
    assert "%push secret_of_the_laptop" in text_of(cell_with(cells, "secret_of_the_laptop + 1"))
    assert "exit code 3" in text_of(cell_with(cells, "os._exit(3)"))
    after = text_of(cell_with(cells, "'walk' in globals()"))
    assert "its variables are lost" in after
    assert "False" in after


def test_only_the_cells_that_say_so_fail(cells: list[Any]) -> None:
    failed = [cell.source for cell in cells if any(o.output_type == "error" for o in cell.outputs)]
    assert failed == ["secret_of_the_laptop + 1", "os._exit(3)"]
