"""Frames of nbfn's own at the beginning of a traceback are hidden."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from nbfn.exception import InvalidError
from nbfn.runtime import traceback_filter


def named(module: str, body: str, **names: object) -> Callable[..., object]:
    """Return a function ``f`` that is a module's."""
    space: dict[str, object] = {"__name__": module, "hide": traceback_filter.hide, **names}
    exec(body, space)
    return space["f"]  # type: ignore[return-value]


OUTERMOST = (
    "def f(inner):\n    try: inner()\n"
    "    except BaseException as error:\n        hide(error)\n        raise\n"
)
at_the_border = named("nbfn.runtime.sync", OUTERMOST)


def modules(error: BaseException) -> list[str]:
    return [f.f_globals["__name__"] for f, _ in traceback.walk_tb(error.__traceback__)]


def failing(error: Exception) -> Callable[..., object]:
    return named("nbfn.api.call", "def f(): raise error", error=error)


def test_the_users_frames_are_left_on_both_sides() -> None:
    users = named("users", "def f(): return 1 / 0")
    between = named("nbfn.client.connection", "def f(): return users()", users=users)
    with pytest.raises(ZeroDivisionError) as caught:
        at_the_border(between)
    assert modules(caught.value) == [__name__, "users"]
    assert not hasattr(caught.value, "__notes__")


def test_an_error_that_is_raised_on_purpose_points_at_the_users_line() -> None:
    with pytest.raises(InvalidError) as caught:
        at_the_border(failing(InvalidError("no")))
    assert modules(caught.value) == [__name__]
    assert not hasattr(caught.value, "__notes__")


def test_of_an_interrupt_while_nbfn_waits_nothing_is_left_but_the_users_line() -> None:
    interrupt = named("threading", "def f(): raise KeyboardInterrupt")
    wait = named("concurrent.futures._base", "def f(): inner()", inner=interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        at_the_border(named("nbfn.runtime.sync", "def f(): wait()", wait=wait))
    assert modules(caught.value) == [__name__]


def test_a_defect_says_how_to_see_where_it_is() -> None:
    error = KeyError("a defect")
    for _ in range(2):
        with pytest.raises(KeyError):
            at_the_border(failing(error))
    assert error.__notes__ == [traceback_filter.HIDDEN]


@pytest.mark.parametrize("name", ["NBFN_TRACEBACK", "MODAL_TRACEBACK"])
def test_all_are_shown_on_demand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(InvalidError) as caught:
        at_the_border(failing(InvalidError("no")))
    assert modules(caught.value) == [__name__, "nbfn.runtime.sync", "nbfn.api.call"]
    monkeypatch.setenv(name, "0")
    assert not traceback_filter.shown()
