"""Runs each notebook of ``notebooks/`` in a real kernel and checks its output."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from .conftest import Ran, _config

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

#: Regular expressions that the outputs of each notebook match, in this order.
SHOWS = {
    "map_and_errors": [
        *(r"zlib: \d\.\d\d times smaller", r"lzma: \d\.\d\d times smaller", "image/png"),
        *(r"No such file or directory: '/no/such/file.py'\s+ratio ran on wk-",),
        "20 are fine; FileNotFoundError IsADirectoryError are not",
        # The line of the whole map may come before the loop has had the last result.
        *("input 0 was fine at try 3", "input 1 was fine at try 3"),
    ],
    "spawn": [
        *("✓ darts v1", r"darts v1 · ", r"'fc-\w{22}'", r"3\.14\d+", "2,000,000 thrown, pi is about 3.14"),
        *(r"\[3\.128, 3\.14844\]", "image/png", r"failed: Fraction\(355, 0\)", "1 input run again"),
        *(r"\['355/113', 'no darts, no answer', '71/20'\]", "This call of 'darts' was cancelled", r"spawn +cancelled"),
    ],
    "generators": [
        *("✓ mandelbrot v1", "image/png", "the first row was here after"),
        *(r"\[2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37\]", r"\(3, 5\), \(5, 7\)"),
    ],
    "warm_pools": [
        *(r"first call \d+ ms, then \d+\.\d ms", r"\d workers? shared the inputs"),
        *("min_containers=1, max_containers=2, buffer_containers=0, scaledown_window=30.0", "warm 1 · max 2"),
        "FunctionStats",
    ],
    "classes": [
        *(r"json: \d+ pages read", r"json\.\w+", r"circular reference +→ json\."),
        *(r"asyncio: \d+ pages read", r"email: \d+ pages read", r"\{'json': \d+, 'asyncio': \d+", r"asyncio\.\w+"),
    ],
    "concurrency_and_batching": [
        *(r"40 answers of 0.25 s each took \d\.\d s, not 10 s", "the largest batch had 32 inputs", "image/png"),
    ],
    "web_endpoint": [
        *(r"http://127\.0\.0\.1:\d+/\S+/web-disk", r"\(200, \{'total'", r"\(422, 'Input should be a valid integer"),
        *("'mean': 2.8, 'median': 3.0", "<h1>", "App 'web' .* was stopped"),
    ],
    "schedules": [
        *(r"(\d\d:\d\d:\d\d  load \d+\.\d\d\s+){3}", "image/png", r"load \d", "is not a crontab line"),
        "App 'schedules' .* was stopped",
    ],
    "secrets_and_environment": [
        *(r"\['signing'\]", "the same again: True\nanother file:   False\nknown here:     False"),
        *(r"Secret\.from_dict\(\{'PASSWORD': \.\.\.\}\)", "No secret 'sining' is stored", "main"),
    ],
    "script_cells": [
        *(r"strongest at 0\.70 Hz\s+ran on wk-", "`frequencies` stayed remote", "image/png", "✓ fit v1"),
        *("fits best, with an error of", "would be registered", "cell v1 · "),
    ],
    "modules": [
        *(r"11,186 m/s from EARTH", r"11\.2 km/s from EARTH; still a Body of here: True\s+here it is 11,186"),
        *(r"v2 .*\nv1 ", r"orbits\.py, line 1: SyntaxError: .*Function 'escape' keeps running v2", r"'11\.2 km/s'"),
    ],
    "apps": [
        *(r"119\.0", r"290\.0", r"v2 +● .* new tax\nv1 .* as agreed", "price is v1 again, was v2 · app shop v3"),
        *(r"119\.0", r"wk-\w+  priced 100 at 190 %", r"\[107\.0, 119\.0, 125\.0\]", "shop +deployed"),
    ],
    "from_name": [
        *(r"functions of nbfn in \d+ files", "FunctionStats", "measure ran on wk-"),
    ],
}  # fmt: skip


def _text(cell: Any) -> str:
    """Return all outputs of a cell as text, with the names of its images."""
    parts = []
    for output in cell.outputs:
        data = output.get("data", {})
        parts += [output.get("text", ""), data.get("text/plain", "")]
        parts += [kind for kind in data if kind.startswith("image/")]
    return "\n".join([*parts, Ran(cell).error])


def _execute(
    notebook: Any, environment: dict[str, str], sockets: Path, folder: Path
) -> NotebookClient:
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=60,
        shutdown_kernel="immediate",
        resources={"metadata": {"path": str(folder)}},
        config=_config(sockets),
    )
    client.execute(env=environment)
    return client


@pytest.mark.parametrize("name", SHOWS)
def test_it_runs_and_shows_what_it_promises(
    name: str, environment: dict[str, str], sockets: Path, tmp_path: Path
) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    if name == "from_name":  # it finds what the quickstart has deployed
        before = nbformat.read(FOLDER / "quickstart.ipynb", as_version=4)
        notebook.cells[:0] = [cell for cell in before.cells if cell.cell_type == "code"][:2]
    _execute(notebook, environment, sockets, tmp_path)  # a cell that fails unasked ends it
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        failed = any(output.output_type == "error" for output in cell.outputs)
        assert failed == ("raises-exception" in cell.metadata.get("tags", [])), cell.source
    shown = "\n".join(map(_text, code))
    at = 0
    for pattern in SHOWS[name]:
        found = re.compile(pattern).search(shown, at)
        assert found, f"{pattern!r} is not in what follows:\n{shown[at:]}"
        at = found.end()


def test_all_are_run_and_in_the_index() -> None:
    # Two are run elsewhere: in the browser, and by the kernel of their own (tests/lab).
    assert set(NAMES) == {*SHOWS, "quickstart", "magic_kernel"}
    index = (FOLDER / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.ipynb\) \| \S", index, re.M)
    assert sorted(rows) == [(name, name) for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_its_shell_lines_quote_paths_which_may_have_spaces(name: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        assert not re.search(r"^!.*(?<!\"){[^}]+}", cell.source, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_stored_without_outputs(name: str) -> None:
    stored = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert stored["cells"][0]["source"][0].startswith("# ")
    nbformat.validate(nbformat.from_dict(stored))


@pytest.fixture
def executed(environment: dict[str, str], tmp_path: Path) -> Callable[..., Path]:
    """``executed(name, **parameters)`` runs a notebook with papermill and returns the result's path."""

    def executed(name: str, **parameters: object) -> Path:
        result = tmp_path / f"{name}.ipynb"
        given = [word for key, value in parameters.items() for word in ("-p", key, str(value))]
        done = subprocess.run(
            [sys.executable, "-m", "papermill", FOLDER / f"{name}.ipynb", result, *given],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return result

    return executed


def test_papermill_runs_one_with_other_parameters(executed: Callable[..., Path]) -> None:
    made = nbformat.read(executed("generators", width=90, height=60), as_version=4)
    shown = "\n".join(_text(cell) for cell in made.cells if cell.cell_type == "code")
    assert "the first row was here after" in shown
    assert "(3, 5), (5, 7)" in shown
    (injected,) = [c for c in made.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert "height = 60" in injected.source


def test_nbconvert_makes_a_page_that_reads_well(
    environment: dict[str, str], sockets: Path, tmp_path: Path
) -> None:
    notebook = nbformat.read(FOLDER / "spawn.ipynb", as_version=4)
    _execute(notebook, environment, sockets, tmp_path)
    made = tmp_path / "spawn.ipynb"
    nbformat.write(notebook, made)
    command = [sys.executable, "-m", "nbconvert", "--to", "html", made]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    page = made.with_suffix(".html").read_text("utf-8")
    visible = re.sub(r"<(script|style).*?</\1>|<[^>]+>", "", page, flags=re.S)
    assert re.search(r"✓\s+darts\(throws: int, seed: int = 0\)", visible)  # the card
    assert re.search(r"✓\s+darts v\d+ · succeeded ", visible)  # the handle, as it ended
    assert "2,000,000 thrown, pi is about 3.14" in visible
    assert 'src="data:image/png;base64,' in page
    assert "was cancelled" in visible
    assert "application/vnd.jupyter.widget-view+json" not in page  # nothing that needs a kernel
