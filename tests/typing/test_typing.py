"""The types hold for mypy in strict mode and for pyright in strict mode."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RIGHT, WRONG = ("functions", "methods"), "wrong"
#: What mypy cannot know: it does not apply what a method, `App.cls`, says of the class that it decorates.
PYRIGHT_ONLY = "parametrised"

#: File (without suffix) and line of each error.
Errors = set[tuple[str, int]]


def _lines(found: Iterable[tuple[str, int, str]]) -> Errors:
    """Keep where the errors are and print what they say, for pytest to show."""
    errors = set()
    for file, line, message in found:
        print(f"{file}:{line}: {message}")
        errors.add((Path(file).stem, line))
    return errors


@pytest.fixture(scope="module")
def mypy() -> Errors:
    files = [str(HERE / f"{name}.py") for name in (*RIGHT, WRONG)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--output=json", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode in (0, 1), done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return _lines((one["file"], one["line"], one["message"]) for one in said)


@pytest.fixture(scope="module")
def pyright() -> Errors:
    path = os.pathsep.join((str(ROOT / "node_modules/.bin"), os.environ["PATH"]))
    program = shutil.which("pyright", path=path)
    assert program, "pyright is not installed: run 'npm ci', as 'make test' does"
    done = subprocess.run(
        [program, "--outputjson", "--pythonpath", sys.executable, "--project", str(HERE)],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode in (0, 1), done.stderr or done.stdout
    said = json.loads(done.stdout)["generalDiagnostics"]
    return _lines((one["file"], one["range"]["start"]["line"] + 1, one["message"]) for one in said)


@pytest.fixture(params=["mypy", "pyright"])
def errors(request: pytest.FixtureRequest) -> Errors:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", RIGHT)
def test_each_type_is_as_asserted_and_each_wrong_line_is_refused(errors: Errors, name: str) -> None:
    assert {line for file, line in errors if file == name} == set()


def test_checkers_are_told_that_the_package_is_typed() -> None:
    assert (ROOT / "nbfn" / "py.typed").is_file()


def test_parameters_of_a_class_are_those_of_its_constructor(pyright: Errors) -> None:
    assert {line for file, line in pyright if file == PYRIGHT_ONLY} == set()


def test_what_is_wrong_is_told(errors: Errors) -> None:
    text = (HERE / f"{WRONG}.py").read_text("utf-8").splitlines()
    wanted = {number for number, line in enumerate(text, 1) if "# wrong" in line}
    assert {line for file, line in errors if file == WRONG} == wanted
