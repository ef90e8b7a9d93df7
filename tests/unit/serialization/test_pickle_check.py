"""Captured values that can be pickled but not unpickled are found where they are captured."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any

import pytest

from nbfn.serialization import function_pickling, pickler


class Broken:
    def __init__(self) -> None:
        self.x = 1

    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("cannot come back")


class Needy(Exception):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Forwarding:
    """Asks for what it forwards to before it has it: the usual mistake with ``__getattr__``."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Made:
    def __new__(cls, size: int) -> Made:
        return super().__new__(cls)


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


class Once:
    """Does something when it is dropped, which a copy must not do."""

    dropped = 0

    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("copied")

    def __del__(self) -> None:
        Once.dropped += 1


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True, slots=True)
class Point:
    x: int


def find(**captured: Any) -> function_pickling.Unloadable | None:
    return function_pickling.find(captured.items(), pickler.dumps)


@pytest.mark.parametrize(
    ("value", "where", "kind"),
    [
        (Broken(), "it → .*Broken", RuntimeError),
        ([1, {"a": Broken()}], r"it\[1\]\['a'\] → .*Broken", RuntimeError),
        (Holder(Broken()), r"it\.held → .*Broken", RuntimeError),
        (Needy("x", 1), "it → .*Needy", TypeError),
        (Forwarding([]), "it → .*Forwarding", RecursionError),
        (Made(3), "it → .*Made", TypeError),
    ],
)
def test_the_way_to_it_and_the_error_are_told(
    value: Any, where: str, kind: type[Exception]
) -> None:
    found = find(fine=1, it=value)
    assert found is not None
    assert isinstance(found.error, kind)
    assert re.fullmatch(where, found.where)


def test_what_can_be_unpickled_is_no_concern() -> None:
    assert find(a=1, b=[Colour.RED, Point(1)], c=Holder({"x": ValueError("y")}), d=Colour) is None


def test_what_does_something_when_it_is_dropped_is_not_copied() -> None:
    once = Once()
    assert find(once=once) is None
    assert Once.dropped == 0
    del once
