"""Converts words of a command line to values, by a click type for an annotation or a default."""

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

#: The supported types, for messages.
READABLE = (
    "str, int, float, bool, Path, datetime, date, Decimal, UUID, an Enum, a Literal, "
    "a list or tuple of these, or one of them or None"
)
_EMPTY = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class ValueType:
    """How the values of a parameter are converted.

    Attributes:
        type: The click type of one word.
        multiple: Whether the option can be repeated, each time with one element.
        nargs: The number of words that follow the option.
        collect: Converts the value that click returns.
    """

    type: Any
    multiple: bool = False
    nargs: int = 1
    collect: Callable[[Any], Any] = lambda value: value


def value_type(hint: Any, default: Any) -> ValueType | None:
    """Return how the values of a parameter are converted; None if its type is not supported.

    Args:
        hint: Its resolved annotation; `inspect.Parameter.empty` for none.
        default: Its default; `inspect.Parameter.empty` for none.
    """
    if hint in (_EMPTY, Any):
        return _from_default(default)
    hint = _unwrap(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    collection = _COLLECTIONS.get(origin or hint)
    if collection is not None:
        return _from_collection(collection, args, default)
    return None if (one := _scalar(hint)) is None else ValueType(one)


def _from_default(default: Any) -> ValueType | None:
    """Return how the values of a parameter without annotation are converted: to the type of its default."""
    if default is _EMPTY or default is None:
        return ValueType(str)
    collection = _COLLECTIONS.get(type(default))
    if collection is not None:
        return _from_collection(collection, (), default)
    one = _scalar(_kind(default))
    return None if one is None else ValueType(one)


def _from_collection(collection: type, args: tuple[Any, ...], default: Any) -> ValueType | None:
    if collection is tuple and args and args[-1] is not Ellipsis:
        parts = [_scalar(_unwrap(part)) for part in args]
        if None in parts:
            return None
        return ValueType(click.Tuple(parts), nargs=len(parts), collect=tuple)
    if args and args[0] is not Any:
        element = _scalar(_unwrap(args[0]))
    else:
        elements = default if isinstance(default, collections.abc.Collection) else ()
        kinds = {_kind(value) for value in elements}
        element = _scalar(kinds.pop()) if len(kinds) == 1 else str
    return None if element is None else ValueType(element, multiple=True, collect=collection)


def _kind(value: Any) -> type:
    """Return the supported type of a value; NumPy scalars count as numbers."""
    if isinstance(value, bool | enum.Enum):
        return type(value)
    if isinstance(value, numbers.Integral):
        return int
    if isinstance(value, PurePath):
        return Path
    return float if isinstance(value, numbers.Real) else type(value)


def _unwrap(hint: Any) -> Any:
    """Remove ``| None``, NewType and type aliases from a type."""
    while True:
        if isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # from Python 3.12 on
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
    """Return the click type of a single value; None if the type is not supported."""
    if _is_union(hint):
        parts = [_scalar(part) for part in typing.get_args(hint) if part is not type(None)]
        return None if None in parts or bool in parts else _UnionType(parts)
    if typing.get_origin(hint) is Literal:
        values = typing.get_args(hint)
        return _ChoiceType({str(value): value for value in values if value is not None})
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _ChoiceType(_members(hint))
    return _SCALARS.get(hint)


def _members(kind: type[enum.Enum]) -> dict[str, Any]:
    """Return the members of an Enum by name and by value; names take precedence."""
    by_value = {str(member.value): member for member in kind}
    return {**by_value, **kind.__members__}


class _ChoiceType(click.ParamType[Any]):
    """One of a set of values, written as words; case-insensitive."""

    name = "choice"

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._by_folded_word = {word.casefold(): value for word, value in reversed(values.items())}

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """See `click.ParamType`."""
        return f"[{'|'.join(self._choices())}]"

    def _choices(self) -> list[str]:
        """Return one word for each value."""
        words = {id(value): word for word, value in self._values.items()}
        return list(words.values())

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        if value in self._values:
            return self._values[value]
        if (word := value.casefold()) in self._by_folded_word:
            return self._by_folded_word[word]
        return self.fail(f"{value!r} is not one of {', '.join(self._choices())}.", param, ctx)


class _UnionType(click.ParamType[Any]):
    """A value of the first type that accepts the word."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = [click.types.convert_type(part) for part in parts]
        self.name = "|".join(part.name for part in self._parts)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        # Every word is a valid str, so str is tried last.
        for part in sorted(self._parts, key=lambda part: part is click.STRING):
            try:
                return part.convert(value, param, ctx)
            except click.BadParameter:
                continue
        return self.fail(f"{value!r} is neither of {self.name}.", param, ctx)


class _ParsedType(click.ParamType[Any]):
    """A type whose values a function parses."""

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
    Path: _ParsedType("path", Path, "data/in.csv"),
    PurePath: _ParsedType("path", PurePath, "data/in.csv"),
    datetime.datetime: _ParsedType(
        "datetime", datetime.datetime.fromisoformat, "2026-01-31 or 2026-01-31T12:00:00"
    ),
    datetime.date: _ParsedType("date", datetime.date.fromisoformat, "2026-01-31"),
    datetime.time: _ParsedType("time", datetime.time.fromisoformat, "12:30"),
    decimal.Decimal: _ParsedType("decimal number", decimal.Decimal, "0.1"),
    uuid.UUID: _ParsedType("UUID", uuid.UUID, "123e4567-e89b-12d3-a456-426614174000"),
}
