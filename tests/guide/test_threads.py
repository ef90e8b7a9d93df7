"""Tests that numeric libraries in a worker use its share of the processors, unless the user sets a number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn.client.client import Client
from nbfn.runtime import threads
from tests.conftest import a_home

app = nbfn.App("threads")


def seen() -> dict[str, int]:
    """Return what libraries see in this process."""
    import loky
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    used = {library["user_api"]: library["num_threads"] for library in threadpool_info()}
    variables = {name: int(os.environ[name]) for name in threads.VARIABLES if name in os.environ}
    return {**variables, "blas": used["blas"], "loky": loky.cpu_count()}


share = app.function(name="share")(seen)
alone = app.function(name="alone", max_containers=1)(seen)


@pytest.fixture(scope="module")
def cores(hub_home: object) -> int:
    """The processors that the hub counts."""
    return int(Client.attach().overview().hub.cpus)


def test_a_worker_uses_its_share_of_the_processors() -> None:
    found = share.remote()
    assert set(found) == {*threads.VARIABLES, "blas", "loky"}
    assert set(found.values()) == {1}


def test_the_only_worker_of_a_pool_uses_all_processors(cores: int) -> None:
    assert set(alone.remote().values()) == {cores}


def test_the_processors_that_were_asked_for_are_used(cores: int) -> None:
    assert set(share.with_options(cpu=cores).remote().values()) == {cores}
    assert set(alone.with_options(cpu=1).remote().values()) == {1}
    with pytest.warns(UserWarning, match="limit of 'cpu' is not enforced"):
        burst = alone.with_options(cpu=(0.5, cores))
    assert set(burst.remote().values()) == {cores}


def test_inputs_in_threads_of_one_worker_share_it_and_coroutines_do_not(cores: int) -> None:
    assert set(alone.with_concurrency(max_inputs=cores).remote().values()) == {1}

    @app.function(name="coroutine", max_containers=1)
    @nbfn.concurrent(max_inputs=8)
    async def coroutine() -> dict[str, int]:
        return seen()

    assert set(coroutine.remote().values()) == {cores}


def test_what_the_user_sets_counts() -> None:
    found = share.with_options(env={"OPENBLAS_NUM_THREADS": "2"}).remote()
    assert (found["blas"], found["OMP_NUM_THREADS"]) == (2, 1)
    secret = nbfn.Secret.from_dict({"NUMEXPR_NUM_THREADS": "3"})
    found = share.with_options(secrets=[secret]).remote()
    assert found["NUMEXPR_NUM_THREADS"] == 3
    assert "NUMEXPR_MAX_THREADS" not in found  # which must not be less


def test_libraries_that_follow_openmp_follow_the_users_number() -> None:
    found = share.with_options(env={"OMP_NUM_THREADS": "2"}).remote()
    assert found == {
        "OMP_NUM_THREADS": 2, "blas": 2, "VECLIB_MAXIMUM_THREADS": 1, "NUMBA_NUM_THREADS": 1, "POLARS_MAX_THREADS": 1,
        "RAYON_NUM_THREADS": 1, "LOKY_MAX_CPU_COUNT": 1, "loky": 1,
    }  # fmt: skip


def test_what_is_set_in_the_notebook_counts_although_the_hub_runs_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    @app.function(name="set_here")
    def set_here() -> int:
        return seen()["blas"]

    assert set_here.remote() == 2


def test_a_function_that_a_worker_makes_has_a_share_of_its_own(cores: int) -> None:
    @app.function(name="outer", max_containers=4)
    def outer() -> set[int]:
        inner = nbfn.App().function(name="inner", max_containers=1)(seen)
        return set(inner.remote().values())

    assert outer.remote() == {cores}


def test_processes_that_a_worker_starts_have_its_share() -> None:
    @app.function(name="starts")
    def starts() -> str:
        code = "import loky, os; print(os.environ['OMP_NUM_THREADS'], loky.cpu_count())"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout

    assert starts.remote() == "1 1\n"


def test_what_a_worker_uses_is_told_with_the_reason(cores: int) -> None:
    alone.hydrate()
    share.with_options(cpu=1).hydrate()
    alone.with_concurrency(max_inputs=2).hydrate()
    rows = {row.name: row for row in Client.attach().overview().functions}
    assert (rows["alone"].threads, rows["alone"].threads_why) == (
        cores,
        f"{cores} cores / max_containers 1",
    )
    assert rows["share"].threads == 1


def test_the_reason_names_max_containers_only_where_it_is_set(cores: int) -> None:
    free = nbfn.App().function(name="free")(seen)
    free.hydrate()

    def told() -> tuple[int, str]:
        (row,) = (row for row in Client.attach().overview().functions if row.name == "free")
        return row.threads, row.threads_why

    assert told() == (1, f"{cores} cores / {cores} workers, as max_containers is not set")
    free.update_autoscaler(max_containers=1)
    assert told() == (cores, f"{cores} cores / max_containers 1")


def test_the_variables_of_the_process_that_started_the_hub_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with a_home():
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
        Client.attach()
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
        found = nbfn.App().function(name="inherited")(seen).remote()
        assert (found["blas"], found["OMP_NUM_THREADS"]) == (2, 1)


def test_a_setting_fixes_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_home():
        monkeypatch.setenv("NBFN_WORKER_THREADS", "3")
        found = nbfn.App().function(name="fixed")(seen).remote()
        assert {found[name] for name in threads.VARIABLES} == {3}
        rows = Client.attach().overview().functions
        assert [row.threads_why for row in rows] == ["the setting worker_threads"]


SITE = """
import numpy
"""
PROGRAM = """
import nbfn
from threadpoolctl import threadpool_info

app = nbfn.App()


@app.function(max_containers=64)
def used():
    import sys
    return [library["num_threads"] for library in threadpool_info()]


@app.function(max_containers=64, env={"OPENBLAS_NUM_THREADS": "2"})
def chosen():
    return [library["num_threads"] for library in threadpool_info()]


if __name__ == "__main__":
    print(used.remote(), chosen.remote())
"""


def test_libraries_that_are_loaded_already_are_limited_too(tmp_path: Path) -> None:
    """A ``sitecustomize`` imports numpy in each process, before a worker becomes a Function."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    (tmp_path / "program.py").write_text(PROGRAM)
    with a_home():
        variables: dict[str, Any] = os.environ | {
            "PYTHONPATH": str(tmp_path),
            "OPENBLAS_NUM_THREADS": "",
        }
        ran = subprocess.run(
            [sys.executable, tmp_path / "program.py"],
            capture_output=True, text=True, check=False, timeout=60, env=variables,
        )  # fmt: skip
        assert ran.stdout == "[1] [2]\n", ran.stderr
