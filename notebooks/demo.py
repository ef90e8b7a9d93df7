"""Runs the quickstart notebooks without a browser and prints their results; called by ``make demo``.

It uses the hub of ``NBFN_HOME``, as other notebooks do, and ends with an error if a cell fails.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

HERE = Path(__file__).parent
NOTEBOOKS = ("quickstart.ipynb", "from_name.ipynb")
#: Seconds that a cell may take.
TIMEOUT = 300


def execute(path: Path) -> tuple[nbformat.NotebookNode, float]:
    """Run a notebook in a kernel of this Python; return it with its outputs, and the seconds that it took."""
    notebook = nbformat.read(path, as_version=4)
    # Kernels of a Jupyter server have this variable; the kernel of this script must not.
    environment = {k: v for k, v in os.environ.items() if k != "JPY_SESSION_NAME"}
    with tempfile.TemporaryDirectory(prefix="nbfn-demo-") as sockets:
        transport = {"transport": "ipc", "ip": f"{sockets}/kernel"}  # no port that others can reach
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=TIMEOUT,
            resources={"metadata": {"path": str(path.parent)}},
            shutdown_kernel="immediate",
            config=Config({"KernelManager": transport}),
        )
        began = time.perf_counter()
        client.execute(env=environment)
        return notebook, time.perf_counter() - began


def findings(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the outputs of the cells that are tagged "demo"."""
    return [
        text
        for cell in notebook.cells
        if "demo" in cell.metadata.get("tags", [])
        for output in cell.outputs
        if (text := _text(output).strip())
    ]


def check(notebook: nbformat.NotebookNode) -> None:
    """Check that cells which should fail have failed on a worker.

    Raises:
        SystemExit: If such a cell has not failed.
    """
    for cell in notebook.cells:
        if "raises-exception" in cell.metadata.get("tags", []):
            errors = [output for output in cell.outputs if output.output_type == "error"]
            if not errors or "ran on wk-" not in "\n".join(errors[0].traceback):
                raise SystemExit(f"This cell should fail on a worker and say so:\n{cell.source}")


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text)
    return str(output.get("data", {}).get("text/plain", ""))


def main() -> None:
    """Run the notebooks in order."""
    for name in NOTEBOOKS:
        print(f"--- {name} ---", flush=True)
        try:
            notebook, took = execute(HERE / name)
        except CellExecutionError as error:
            print(error, file=sys.stderr)
            raise SystemExit(f"{name} failed.") from None
        check(notebook)
        for text in findings(notebook):
            print(text)
        print(f"({name}: {took:.1f} s)\n")


if __name__ == "__main__":
    main()
