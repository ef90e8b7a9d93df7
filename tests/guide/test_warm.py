"""Tests of the number of workers that a Function keeps."""

from __future__ import annotations

import os
import time

import pytest

import nbfn
from nbfn.exception import InvalidError
from tests.conftest import wait_until

app = nbfn.App()


@app.function()
def pid() -> int:
    return os.getpid()


@app.function(max_containers=1)
def alone(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_keep_warm_keeps_workers_ready() -> None:
    pid.keep_warm(2)
    wait_until(lambda: pid.get_current_stats().num_total_runners == 2)
    pid.keep_warm(0)


def test_max_containers_is_a_limit() -> None:
    assert len(set(alone.map([0.01] * 5))) == 1


def test_update_autoscaler_says_what_is_in_force() -> None:
    settings = pid.update_autoscaler(max_containers=3, scaledown_window=30)
    assert (settings.max_containers, settings.scaledown_window) == (3, 30)
    assert pid.update_autoscaler(buffer_containers=1).max_containers == 3


def test_min_containers_starts_workers_before_the_first_call() -> None:
    @app.function(min_containers=1)
    def ready() -> None: ...

    ready.hydrate()
    wait_until(lambda: ready.get_current_stats().num_total_runners == 1)


def test_stats_count_what_waits_and_what_runs() -> None:
    calls = [alone.spawn(0.3) for _ in range(3)]
    wait_until(lambda: alone.get_current_stats().num_total_runners == 1)
    stats = alone.get_current_stats()
    assert stats.backlog + stats.num_running_inputs >= 1
    assert len({call.get() for call in calls}) == 1
    assert alone.get_current_stats().backlog == 0


@pytest.mark.parametrize("wrong", [-1, 1.5, "2", True])
def test_a_wrong_number(wrong: object) -> None:
    with pytest.raises(InvalidError, match="min_containers"):
        pid.keep_warm(wrong)  # type: ignore[arg-type]


def test_less_room_than_is_kept() -> None:
    with pytest.raises(InvalidError, match="max_containers"):
        alone.keep_warm(2)
    with pytest.raises(InvalidError, match="above"):
        pid.update_autoscaler(min_containers=3, max_containers=2)
