"""A home written by an older nbfn opens: its deployed Functions, spawned calls and results work.

``nbfn-35f8363.zip`` is the wheel of that commit without its JupyterLab panel. `make_home` runs under
it, so that the pickles in the home are really that version's, made by the Python that runs the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbfn
from tests.conftest import a_home

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Have a home made by 35f8363 and its hub stopped; yields the ids of its calls."""
    folder = tmp_path_factory.mktemp("old")
    zipfile.ZipFile(HERE / "nbfn-35f8363.zip").extractall(folder / "nbfn-35f8363")
    with a_home():
        environment = os.environ | {"PYTHONPATH": str(folder / "nbfn-35f8363")}

        def run(*arguments: str) -> str:
            return subprocess.run(
                [sys.executable, *arguments],
                cwd=folder,
                env=environment,
                timeout=60,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout

        made = json.loads(run(str(HERE / "make_home.py")))
        run("-m", "nbfn", "hub", "stop")
        (folder / "flag").touch()
        yield made


def call(calls: dict[str, str], name: str) -> nbfn.FunctionCall:
    return nbfn.FunctionCall.from_id(calls[name])


def function(name: str) -> nbfn.Function:
    return nbfn.Function.from_name("old", name)


def test_deployed_functions_run(calls: dict[str, str]) -> None:
    assert function("triple").remote(5) == 15
    assert list(function("triple").map([1, 2])) == [3, 6]
    assert list(function("numbers").remote_gen(3)) == [0, 1, 2]
    assert function("point").remote(4).x == 4


def test_a_deployed_function_calls_another(calls: dict[str, str]) -> None:
    assert function("through").remote(5) == 16


def test_a_deployed_class_runs(calls: dict[str, str]) -> None:
    assert nbfn.Cls.from_name("old", "Counter")(start=5).plus.remote(2) == 7


def test_secrets_are_kept(calls: dict[str, str]) -> None:
    assert function("token").remote() == "s3cret"


def test_a_stored_result_is_read(calls: dict[str, str]) -> None:
    assert call(calls, "finished").get().x == 7


def test_calls_that_had_not_run_are_run(calls: dict[str, str]) -> None:
    assert list(call(calls, "waiting").iter()) == [0, 1, 2]
    assert nbfn.FunctionCall.from_id(calls["blocked"][1]).get(timeout=30) == 11


def test_functions_in_stored_arguments_and_results_work(calls: dict[str, str]) -> None:
    assert call(calls, "by_handle").get() == 12
    assert call(calls, "variant").get() == 15
    assert call(calls, "with_handle").get(timeout=30).remote(2) == 6


def test_a_call_that_failed_is_retried(calls: dict[str, str]) -> None:
    failed = call(calls, "failed")
    with pytest.raises(ValueError, match="not yet"):
        failed.get()
    failed.retry()
    assert failed.get(timeout=30) == "done"


def test_a_batch_that_was_too_large_for_that_hub_runs(calls: dict[str, str]) -> None:
    assert list(call(calls, "large_batch").iter()) == [100] * 100
