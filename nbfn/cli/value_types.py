"""How words of a command line become values: a click type for an annotation, or for a default."""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import enum
import inspect
import numbers
import types
import typing
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, Union

import click

#: What messages name as readable.
READABLE = (
    "str, int, float, bool, Path, datetime, date, Decimal, UUID, an Enum, a Literal, "
    "a list or tuple of these, or one of them or None"
)
_ABSENT = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class ValueType:
    """How the values of one parameter are read.

    Attributes:
        type: The click type of one word.
        multiple: Whether the option may be given several times, each time with one element.
        nargs: Words that follow the option.
        collect: Makes the value of what click gives.
    """

    type: Any
    multiple: bool = False
    nargs: int = 1
    collect: Callable[[Any], Any] = lambda value: value


def value_type(hint: Any, default: Any) -> ValueType | None:
    """Return how a parameter's values are read; None where a command line cannot give them.

    Args:
        hint: Its annotation, resolved; `inspect.Parameter.empty` for none.
        default: Its default, likewise.
    """
    if hint in (_ABSENT, Any):
        return _of_default(default)
    hint = _plain(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    collection = _COLLECTIONS.get(origin or hint)
    if collection is not None:
        return _of_collection(collection, args, default)
    return None if (one := _scalar(hint)) is None else ValueType(one)


def _of_default(default: Any) -> ValueType | None:
    """Return how a parameter without annotation is read: as the type of its default."""
    if default is _ABSENT or default is None:
        return ValueType(str)
    collection = _COLLECTIONS.get(type(default))
    if collection is not None:
        return _of_collection(collection, (), default)
    one = _scalar(_kind(default))
    return None if one is None else ValueType(one)


def _of_collection(collection: type, args: tuple[Any, ...], default: Any) -> ValueType | None:
    if collection is tuple and args and args[-1] is not Ellipsis:
        parts = [_scalar(_plain(part)) for part in args]
        if None in parts:
            return None
        return ValueType(click.Tuple(parts), nargs=len(parts), collect=tuple)
    if args and args[0] is not Any:
        element = _scalar(_plain(args[0]))
    else:
        held = default if isinstance(default, collections.abc.Collection) else ()
        kinds = {_kind(value) for value in held}
        element = _scalar(kinds.pop()) if len(kinds) == 1 else str
    return None if element is None else ValueType(element, multiple=True, collect=collection)


def _kind(value: Any) -> type:
    """Return the readable type that a value has; a number of numpy's is one, too."""
    if isinstance(value, bool | enum.Enum):
        return type(value)
    if isinstance(value, numbers.Integral):
        return int
    if isinstance(value, PurePath):
        return Path
    return float if isinstance(value, numbers.Real) else type(value)


def _plain(hint: Any) -> Any:
    """Return a type without what surrounds it: ``| None``, NewType, the names of type aliases."""
    while True:
        if isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # of Python 3.12
            hint = hint.__value__
        elif _is_union(hint):
            others = [part for part in typing.get_args(hint) if part is not type(None)]
            if len(others) != 1:
                return hint
            hint = others[0]
        else:
            return hint


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


def _scalar(hint: Any) -> Any:
    """Return the click type of a single value; None where there is none."""
    if _is_union(hint):
        parts = [_scalar(part) for part in typing.get_args(hint) if part is not type(None)]
        return None if None in parts or bool in parts else _AnyOf(parts)
    if typing.get_origin(hint) is Literal:
        values = typing.get_args(hint)
        return _Choice({str(value): value for value in values if value is not None})
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _Choice(_members(hint))
    return _SCALARS.get(hint)


def _members(kind: type[enum.Enum]) -> dict[str, Any]:
    """Return an Enum's members by name and by value; a name wins over the value of another member."""
    by_value = {str(member.value): member for member in kind}
    return {**by_value, **kind.__members__}


class _Choice(click.ParamType[Any]):
    """One of a few values, by the words that they are written as; the case of letters does not matter."""

    name = "choice"

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._folded = {word.casefold(): value for word, value in reversed(values.items())}

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """See `click.ParamType`."""
        return f"[{'|'.join(self._shown())}]"

    def _shown(self) -> list[str]:
        """Return one word for each value."""
        words = {id(value): word for word, value in self._values.items()}
        return list(words.values())

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        if value in self._values:
            return self._values[value]
        if (word := value.casefold()) in self._folded:
            return self._folded[word]
        return self.fail(f"{value!r} is not one of {', '.join(self._shown())}.", param, ctx)


class _AnyOf(click.ParamType[Any]):
    """A value of the first type that can read the word."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = [click.types.convert_type(part) for part in parts]
        self.name = "|".join(part.name for part in self._parts)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        # Every word is a str, so that is what is tried last.
        for part in sorted(self._parts, key=lambda part: part is click.STRING):
            try:
                return part.convert(value, param, ctx)
            except click.BadParameter:
                continue
        return self.fail(f"{value!r} is neither of {self.name}.", param, ctx)


class _Parsed(click.ParamType[Any]):
    """What a function makes of a word."""

    def __init__(self, name: str, parse: Callable[[str], Any], example: str) -> None:
        self.name = name
        self._parse = parse
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        try:
            return self._parse(value)
        except (ValueError, ArithmeticError):
            return self.fail(
                f"{value!r} is not a {self.name}, such as {self._example}.", param, ctx
            )


_COLLECTIONS: dict[Any, type] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
}
_SCALARS: dict[Any, Any] = {
    str: str,
    int: int,
    float: float,
    bool: bool,
    Any: str,
    Path: _Parsed("path", Path, "data/in.csv"),
    PurePath: _Parsed("path", PurePath, "data/in.csv"),
    datetime.datetime: _Parsed(
        "datetime", datetime.datetime.fromisoformat, "2026-01-31 or 2026-01-31T12:00:00"
    ),
    datetime.date: _Parsed("date", datetime.date.fromisoformat, "2026-01-31"),
    datetime.time: _Parsed("time", datetime.time.fromisoformat, "12:30"),
    decimal.Decimal: _Parsed("decimal number", decimal.Decimal, "0.1"),
    uuid.UUID: _Parsed("UUID", uuid.UUID, "123e4567-e89b-12d3-a456-426614174000"),
}
