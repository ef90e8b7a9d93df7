"""Tests of `Cron` and `Period` in deployed Apps (docs/function-api.md#schedules)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn import Cron, FunctionCall, Period
from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.exception import InvalidError
from nbfn.protocol.messages import CallRow
from tests.conftest import stop_hub, wait_until


@pytest.mark.parametrize("line", ["", "* * * *", "61 * * * *", "0 25 * * *", "0 0 30 2 *", "x"])
def test_a_bad_line_is_refused_when_it_is_written(line: str) -> None:
    with pytest.raises(InvalidError, match="crontab line"):
        Cron(line)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../passwd", "Europe"])
def test_an_unknown_time_zone_is_refused_when_it_is_written(zone: str) -> None:
    with pytest.raises(InvalidError, match="Unknown time zone"):
        Cron("0 9 * * 1", timezone=zone)


def test_a_time_zone_is_utc_unless_said() -> None:
    assert Cron("0 9 * * 1").timezone == "UTC"
    assert Cron("0 9 * * 1", timezone="Europe/Berlin").timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"days": 0},
        {"seconds": 1e-9},
        {"hours": -1},
        {"days": 1.5},
        {"seconds": float("inf")},
        {"months": "1"},
    ],
)
def test_a_period_that_is_none_is_refused_when_it_is_written(parts: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        Period(**parts)


def test_its_parts_are_keywords() -> None:
    with pytest.raises(TypeError):
        Period(1)  # type: ignore[misc]
    assert Period(days=1, seconds=0.5).seconds == 0.5


def test_a_scheduled_function_needs_no_arguments() -> None:
    app = nbfn.App()

    @app.function(schedule=Period(days=1))
    def defaults(x: int = 1) -> int:
        return x

    assert defaults.local() == 1  # may still be called normally
    with pytest.raises(InvalidError, match="schedule"):

        @app.function(schedule=Period(days=1))
        def needy(x: int) -> None: ...


def test_a_scheduled_function_is_no_generator() -> None:
    with pytest.raises(InvalidError, match="'many' yields"):

        @nbfn.App().function(schedule=Period(days=1))
        def many() -> Any:
            yield 1


def test_a_schedule_is_a_schedule() -> None:
    with pytest.raises(InvalidError, match=r"nbfn.Cron\(...\) or nbfn.Period"):
        nbfn.App().function(schedule="daily")


def ticking(folder: Path, name: str = "tick") -> nbfn.App:
    app = nbfn.App(f"app-of-{name}")

    @app.function(name=name, schedule=Period(seconds=0.2))
    def tick(number: int = 0) -> str:
        (folder / str(len(list(folder.iterdir())))).touch()
        return "ignored"

    return app


def scheduled(name: str = "tick") -> list[CallRow]:
    calls = Client.attach().overview().calls
    return [call for call in calls if call.function == name and call.kind == "schedule"]


def count(folder: Path) -> Callable[[], int]:
    return lambda: len(list(folder.iterdir()))


def stop(app: nbfn.App) -> None:
    """Deploy the App again without its Functions."""
    plain = nbfn.App(app.name)
    for name in app.registered_functions:
        plain.function(name=name)(lambda: 0)
    plain.deploy()


def test_it_runs_while_the_app_is_deployed_and_not_before(tmp_path: Path) -> None:
    app = ticking(tmp_path)
    app.registered_functions["tick"].hydrate()
    assert scheduled() == []
    app.deploy()
    wait_until(lambda: count(tmp_path)() >= 2)
    wait_until(lambda: any(call.state == "succeeded" for call in scheduled()))
    done = next(call for call in scheduled() if call.state == "succeeded")
    assert FunctionCall.from_id(done.id).get() == "ignored"
    assert app.registered_functions["tick"].remote() == "ignored"
    stop(app)
    wait_until(lambda: all(call.state == "succeeded" for call in scheduled()))
    ended = len(scheduled())
    wait_until(lambda: nbfn.Function.from_name("app-of-tick", "tick").remote() == 0)
    assert len(scheduled()) == ended


def test_it_runs_while_an_ephemeral_run_is_open(tmp_path: Path) -> None:
    app = ticking(tmp_path, "open")
    with app.run():
        wait_until(lambda: count(tmp_path)() >= 2)
    ended = len(scheduled("open"))
    assert nbfn.App().function(name="other")(lambda: 1).remote() == 1
    assert len(scheduled("open")) == ended


def test_it_ends_when_the_app_is_stopped(tmp_path: Path) -> None:
    app = ticking(tmp_path, "stopped")
    app.deploy()
    wait_until(lambda: count(tmp_path)() >= 1)
    Client.attach().stop_app(app.app_id or "")
    ended = len(scheduled("stopped"))
    assert nbfn.App().function(name="another")(lambda: 1).remote() == 1
    assert len(scheduled("stopped")) == ended


def test_a_failure_is_logged_with_its_traceback() -> None:
    app = nbfn.App("app-of-failing")

    @app.function(schedule=Period(seconds=0.2))
    def failing() -> None:
        raise ValueError("nobody waits for this")

    app.deploy()

    def said() -> str:
        return "\n".join(entry.message for entry in failing.logs.tail(200))

    wait_until(lambda: "The scheduled call of 'failing' failed" in said())
    wait_until(lambda: "ValueError: nobody waits for this" in said())
    assert "Traceback (most recent call last)" in said()
    stop(app)


def test_a_restarted_hub_takes_it_up_again(tmp_path: Path) -> None:
    app = ticking(tmp_path, "again")
    app.deploy()
    wait_until(lambda: count(tmp_path)() >= 1)
    stop_hub(Places.of())
    before = count(tmp_path)()
    Client.attach()
    wait_until(lambda: count(tmp_path)() > before + 1)
    stop(app)
