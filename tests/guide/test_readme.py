"""Tests that the programs of the README run, and that it names options, commands and files correctly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

import nbfn
from nbfn.declarations import options

README = Path(nbfn.__file__).parents[1] / "README.md"
TEXT = README.read_text("utf-8")


def block(containing: str) -> str:
    """Return the one Python block that contains a text."""
    (found,) = [
        code for code in re.findall(r"```python\n(.*?)```", TEXT, re.S) if containing in code
    ]
    return str(found)


def command(*argv: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "nbfn", *map(str, argv)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def names() -> dict[str, Any]:
    """What the blocks after the first take for granted."""
    app = nbfn.App()
    return {"nbfn": nbfn, "app": app, "load_weights": len}


def test_the_program_runs_as_it_says(tmp_path: Path) -> None:
    program = tmp_path / "shapes.py"
    program.write_text(block("local_entrypoint"), "utf-8")
    assert float(command("run", program, "--count", "10")) == pytest.approx(3.14159 * 285)
    command("deploy", program)
    area = nbfn.Function.from_name("shapes", "area")
    assert area.remote(2) == pytest.approx(4 * 3.14159)


def test_the_class_works_as_it_says(names: dict[str, Any]) -> None:
    exec(block("@nbfn.enter()"), names)
    model = names["model"]
    assert model.predict.remote(3) == 15
    assert list(model.predict.map(range(3))) == [0, 5, 10]
    assert model.update_autoscaler().min_containers == 1


def test_the_endpoint_answers_as_it_says(names: dict[str, Any]) -> None:
    exec(block("fastapi_endpoint"), names)
    url = names["add"].get_web_url()
    assert httpx.post(url, json=[1, 2, 3], timeout=30).json() == 6


def test_every_option_is_explained() -> None:
    former = {"max_inputs", "allow_concurrent_inputs", "serialized", "enable_memory_snapshot"}
    table = TEXT.partition("### Options of `@app.function")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", table))
    assert set(options._OWN) - former - named == set()


def test_every_command_is_there() -> None:
    table = TEXT.partition("## Apps and the command line")[2].partition("\n## ")[0]
    rows = [cell.split("|")[1] for cell in table.splitlines() if cell.startswith("| `nbfn")]
    assert len(rows) >= 7
    for row in rows:
        first, *others = re.findall(r"`([^`]+)`", row)
        group = first.split()[1]
        assert command(group, "--help")
        for other in others if "nbfn" not in row.partition(",")[2] else []:
            assert command(group, other, "--help")


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_what_it_links_to_is_there(link: str) -> None:
    assert link.startswith("http") or (README.parent / link).exists()


def test_names_of_nbfn_in_the_text_are_there() -> None:
    for name in set(re.findall(r"\bnbfn\.([A-Za-z_]\w*)", TEXT)):
        if name not in ("toml",):
            assert hasattr(nbfn, name) or name in ("config", "exception"), name
