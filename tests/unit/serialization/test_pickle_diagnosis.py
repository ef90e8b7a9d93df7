"""The path to what cannot be pickled."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest

from nbfn.serialization import pickle_diagnosis


class Frame:
    """Has a property over what it keeps, as a DataFrame has ``attrs``."""

    def __init__(self, **attrs: Any) -> None:
        self._attrs = attrs

    @property
    def attrs(self) -> dict[str, Any]:
        return self._attrs


class Slotted:
    __slots__ = ("inner", "other")

    def __init__(self, inner: Any) -> None:
        self.inner = inner


def _closure(part: Any) -> Callable[[], Any]:
    def inner() -> Any:
        return part

    return inner


def _loop() -> list[Any]:
    found: list[Any] = [threading.Lock()]
    found.insert(0, found)
    return found


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (threading.Lock(), "df → _thread.lock"),
        (Frame(conn=sqlite3.connect(":memory:")), "df.attrs['conn'] → sqlite3.Connection"),
        ([1, {"a": (2, threading.Lock())}], "df[1]['a'][1] → _thread.lock"),
        (Slotted(threading.Lock()), "df.inner → _thread.lock"),
        (_closure(threading.Lock()), "df() uses part → _thread.lock"),
        (_loop(), "df[1] → _thread.lock"),
        ({"fine": [1, 2, 3]}, None),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else type(value).__name__,
)
def test_the_path_leads_to_the_innermost_thing_that_refuses(value: Any, says: str | None) -> None:
    found = pickle_diagnosis.find(value)
    assert (found and found.within("df")) == says


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ((n for n in range(3)), "Pass a list"),
        ({"rows": map(str, [lambda: 0, sqlite3.connect(":memory:")])}, "Pass a list"),
        (threading.Lock(), "Make it inside"),
        (Frame(conn=sqlite3.connect(":memory:")), "Open it inside"),
    ],
    ids=["generator", "iterator", "lock", "connection"],
)
def test_the_remedy_suits_what_refuses(value: Any, says: str) -> None:
    found = pickle_diagnosis.find(value)
    assert found is not None
    assert found.remedy.startswith(says)
