"""Converts the parameters of a function to command line options, typed by their annotations or defaults."""

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Literal, Union

import click
import msgspec
from click.core import ParameterSource

from nbfn.declarations.parameters import constructor_shape
from nbfn.exception import ExecutionError, InvalidError

#: Positional and keyword arguments from a command line.
Given = tuple[list[Any], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one function.

    Attributes:
        options: One option for each parameter; none if ``raw``.
        raw: Whether the only parameter is ``*args``, which gets the words as they are.
        positional: The positional-only parameters, with their defaults.
    """

    options: Sequence[Option] = ()
    raw: bool = False
    positional: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self, values: dict[str, Any]) -> Given:
        """Return the arguments of a call; omitted parameters keep their defaults.

        Args:
            values: The values of the options on the command line, by parameter.
        """
        if self.raw:
            return list(values["words"]), {}
        named = {
            str(option.name): option.collect(values[str(option.name)])
            for option in self.options
            if option.name in values
        }
        by_position = [named.pop(name, default) for name, default in self.positional.items()]
        return by_position, named


class Option(click.Option):
    """The option of one parameter.

    It has no default in click, which would convert it; omitted parameters keep the default of the function.

    Args:
        name: The name of the parameter.
        kind: How its values are converted.
        default: Its default; `inspect.Parameter.empty` for none.
    """

    def __init__(self, name: str, kind: ValueType, default: Any) -> None:
        word = (name.strip("_") or name).replace("_", "-")
        flag = kind.type is bool and not kind.multiple
        required = default is inspect.Parameter.empty
        shown = "" if required or default is None else f"[default: {default}]"
        if kind.multiple:
            shown = f"Can be repeated. {shown}".rstrip()
        self.collect = kind.collect
        if flag:
            super().__init__(
                [f"--{word}/--no-{word}", name], is_flag=True, required=required, help=shown
            )
        else:
            super().__init__(
                [f"--{word}", name], type=kind.type, required=required, help=shown,
                multiple=kind.multiple, nargs=kind.nargs,
            )  # fmt: skip


def parameters_of(
    function: Callable[..., Any], name: str, *, skip: Sequence[str] = ()
) -> Parameters:
    """Return the parameters of a function.

    Args:
        function: The function.
        name: Its name, for messages.
        skip: Parameters to leave out, such as ``self``.

    Raises:
        InvalidError: If a parameter cannot be set from a command line.
        ExecutionError: If an annotation cannot be resolved.
    """
    found = [p for p in inspect.signature(function).parameters.values() if p.name not in skip]
    if any(p.kind is p.VAR_POSITIONAL for p in found):
        if len(found) > 1:
            raise InvalidError(
                f"{name!r} has *args and other parameters, which a command line cannot distinguish."
            )
        return Parameters(raw=True)
    hints = _hints(function, name)
    options = [_option(p, hints.get(p.name, p.empty), name) for p in found]
    positional = {p.name: p.default for p in found if p.kind is p.POSITIONAL_ONLY}
    return Parameters(options, positional=positional)


def class_parameters(cls: type, name: str) -> Parameters:
    """Return the parameters of a class, or those of its constructor.

    Raises:
        InvalidError: If a parameter cannot be set from a command line.
    """
    shape = constructor_shape(cls)
    if not shape.parameters:
        if not shape.takes_arguments:
            return Parameters()
        return parameters_of(cls.__init__, name, skip=["self"])  # type: ignore[misc]
    kinds = {"str": str, "int": int, "bool": bool, "bytes": bytes}
    options = []
    for one in shape.parameters:
        default = inspect.Parameter.empty
        if one.default is not None:
            default = msgspec.msgpack.decode(one.default)
        options.append(option_of(one.name, kinds[one.type], default, name))
    return Parameters(options)


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """Return the resolved annotations of a function's parameters.

    An annotation that cannot be resolved, for example one imported for type checkers only, is omitted if the parameter
    has a default; the type of the default then applies.

    Raises:
        ExecutionError: If an annotation of a parameter without a default cannot be resolved.
    """
    raw = inspect.unwrap(function)
    try:
        return typing.get_type_hints(raw)
    except Exception:  # noqa: BLE001 - evaluates user code; reported below, for each parameter
        parameters = inspect.signature(raw).parameters
    hints: dict[str, Any] = {}
    for parameter in parameters.values():
        alone = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
        try:
            if parameter.annotation is not parameter.empty:
                hints |= typing.get_type_hints(alone, getattr(raw, "__globals__", {}))
        except Exception as error:
            if parameter.default is parameter.empty:
                raise ExecutionError(
                    f"The annotation of {parameter.name!r} of {name!r} cannot be resolved: {error}. "
                    "Import what it names."
                ) from error
    return hints


def _option(parameter: inspect.Parameter, hint: Any, function: str) -> Option:
    if parameter.kind is parameter.VAR_KEYWORD:
        raise InvalidError(
            f"{function!r} has **{parameter.name}, which cannot be set from a command line."
        )
    return option_of(parameter.name, hint, parameter.default, function)


def option_of(name: str, hint: Any, default: Any, function: str) -> Option:
    """Return the option of one parameter.

    Args:
        name: The name of the parameter.
        hint: Its resolved annotation; `inspect.Parameter.empty` for none.
        default: Its default; `inspect.Parameter.empty` for none.
        function: The name of the function, for messages.

    Raises:
        InvalidError: If its type cannot be read from a command line, and it has no default.
    """
    kind = value_type(hint, default)
    if kind is None:
        refusal = _refusal(
            name, type(default) if hint is inspect.Parameter.empty else hint, function
        )
        if default is inspect.Parameter.empty:
            raise InvalidError(refusal)
        kind = ValueType(_RefusedType(refusal))
    return Option(name, kind, default)


def _refusal(name: str, hint: Any, function: str) -> str:
    shown = hint.__name__ if type(hint) is type else str(hint).replace("typing.", "")
    return (
        f"Parameter {name!r} of {function!r} is a {shown}, which cannot be read from a command line. "
        f"Use {READABLE}."
    )


class _RefusedType(click.ParamType[Any]):
    """Refuses all values: the parameter keeps its default, as its type cannot be read from a command line."""

    name = "unreadable"

    def __init__(self, refusal: str) -> None:
        self._refusal = refusal

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        raise click.UsageError(self._refusal, ctx)


def parse(
    command_line: str, levels: Sequence[Parameters], words: Sequence[str], doc: str
) -> list[Given] | None:
    """Parse the arguments of a run.

    Args:
        command_line: The command line before the arguments, for the usage line.
        levels: The parameters of the class, if any, and of the function.
        words: The arguments.
        doc: The help text.

    Returns:
        The arguments for each level, or None after ``--help``.

    Raises:
        click.UsageError: If the arguments are not valid.
    """
    raw = any(p.raw for p in levels)
    options: list[click.Parameter] = [option for p in levels for option in p.options]
    if raw:
        options.append(click.Argument(["words"], nargs=-1, type=click.UNPROCESSED))
    found: list[Given] = []

    @click.pass_context
    def callback(ctx: click.Context, /, **values: Any) -> None:
        given = {
            key: value
            for key, value in values.items()
            if key == "words" or ctx.get_parameter_source(key) is ParameterSource.COMMANDLINE
        }
        found.extend(p.arguments(given) for p in levels)

    settings: dict[str, Any] = {
        "help_option_names": [] if raw else ["--help"],
        "token_normalize_func": lambda word: word.replace("_", "-"),
    }
    if raw:
        settings |= {"ignore_unknown_options": True, "allow_interspersed_args": False}
    command = click.Command(
        None,
        params=options,
        callback=callback,
        help=inspect.cleandoc(doc),
        context_settings=settings,
    )
    try:
        command.main(list(words), command_line, standalone_mode=False)
    except click.exceptions.Exit:
        return None
    return found or None


# --- types of values -----------------------------------------------------------------------------

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
    element = _scalar(_unwrap(args[0])) if args and args[0] is not Any else _kind_of_all(default)
    return None if element is None else ValueType(element, multiple=True, collect=collection)


def _kind_of_all(default: Any) -> Any:
    """Return the type of the elements of a default value; str if they have several or it has none."""
    elements = default if isinstance(default, collections.abc.Collection) else ()
    kinds = {_kind(value) for value in elements}
    return _scalar(kinds.pop()) if len(kinds) == 1 else str


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
    values = [value for value in typing.get_args(hint) if value not in (None, type(None))]
    if _is_union(hint):
        parts = [_scalar(part) for part in values]
        return None if None in parts or bool in parts else _UnionType(parts)
    if typing.get_origin(hint) is Literal:
        return _ChoiceType({str(value): value for value in values})
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
