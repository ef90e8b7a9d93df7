"""Real kernels with a separate hub, run by nbclient as papermill and nbconvert do."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient
from traitlets.config import Config

from nbfn.protocol.messages import new_id
from tests.conftest import a_home
from tests.notebook.kernel import Kernel, is_blocking_call


def _config(folder: Path) -> Config:
    """Configuration with sockets in a directory, since kernels warn about open ports."""
    return Config({"KernelManager": {"transport": "ipc", "ip": str(folder / "kernel")}})


@pytest.fixture(scope="package")
def environment() -> Iterator[dict[str, str]]:
    """Environment variables of a kernel: a separate home, and no front end that displays widgets."""
    with a_home() as home:
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("JPY_", "VSCODE_", "NBFN_SAVES"))
        }
        yield kept | {"NBFN_HOME": str(home), "IPYTHONDIR": str(home / "ipython")}


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A short path for a kernel's sockets, whose length is limited."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/tmp") as folder:
        yield Path(folder)


class Ran:
    """The outputs of one cell."""

    def __init__(self, cell: Any) -> None:
        self.outputs = cell.outputs

    @property
    def text(self) -> str:
        """What it printed to stdout."""
        return "".join(
            o.text for o in self.outputs if o.output_type == "stream" and o.name == "stdout"
        )

    @property
    def stderr(self) -> str:
        """What it printed to stderr."""
        return "".join(
            o.text for o in self.outputs if o.output_type == "stream" and o.name == "stderr"
        )

    @property
    def result(self) -> str:
        """Its Out[n] as text."""
        return next(
            (o.data["text/plain"] for o in self.outputs if o.output_type == "execute_result"), ""
        )

    @property
    def shown(self) -> list[Any]:
        """Its displays, as MIME bundles, without those of calls that it waited for: a fast machine has none."""
        found = [o.data for o in self.outputs if o.output_type == "display_data"]
        return [data for data in found if not is_blocking_call(data)]

    @property
    def waited(self) -> str:
        """The text of the display of calls that it waited for; empty if none took long."""
        found = [o.data for o in self.outputs if o.output_type == "display_data"]
        return "".join(data["text/plain"] for data in found if is_blocking_call(data))

    @property
    def error(self) -> str:
        """Its traceback, without colours."""
        text = "\n".join(
            line for o in self.outputs if o.output_type == "error" for line in o.traceback
        )
        return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def run(environment: dict[str, str], sockets: Path) -> Callable[..., list[Ran]]:
    """``run(*cells)`` executes cells in a new kernel after ``%load_ext nbfn``; errors do not stop it."""

    def run(*cells: str, **more: str) -> list[Ran]:
        texts = ["%load_ext nbfn", *cells]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(t) for t in texts])
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=60,
            allow_errors=True,
            shutdown_kernel="immediate",
            config=_config(sockets),
        )
        client.execute(env=environment | more)
        return [Ran(cell) for cell in notebook.cells[1:]]

    return run


@pytest.fixture(scope="package")
def one_kernel(environment: dict[str, str]) -> Iterator[Callable[..., list[Ran]]]:
    """The same in one shared kernel, for tests that do not change its state."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%load_ext nbfn")])
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=60,
        allow_errors=True,
        config=_config(Path(environment["NBFN_HOME"])),
    )
    with client.setup_kernel(env=environment):
        client.execute_cell(notebook.cells[0], 0)

        def run(*cells: str) -> list[Ran]:
            first = len(notebook.cells)
            notebook.cells.extend(nbformat.v4.new_code_cell(text) for text in cells)
            for number in range(first, len(notebook.cells)):
                client.execute_cell(notebook.cells[number], number)
            return [Ran(cell) for cell in notebook.cells[first:]]

        yield run


@pytest.fixture
def start_kernel(environment: dict[str, str], sockets: Path) -> Iterator[Callable[..., Kernel]]:
    """``start_kernel(**variables)`` starts a kernel with nbfn loaded, which the test controls."""
    with contextlib.ExitStack() as ends:

        def start(**more: str) -> Kernel:
            address = str(sockets / new_id("k")[-6:])
            manager = KernelManager(kernel_name="python3", transport="ipc", ip=address)
            manager.start_kernel(env=environment | more)
            ends.callback(manager.shutdown_kernel, now=True)
            client = manager.client()
            client.start_channels()
            ends.callback(client.stop_channels)
            client.wait_for_ready(timeout=30)
            kernel = Kernel(client, manager)
            kernel.execute("%load_ext nbfn")
            return kernel

        yield start


@pytest.fixture
def kernel(start_kernel: Callable[..., Kernel]) -> Kernel:
    """A kernel that the test controls."""
    return start_kernel()
