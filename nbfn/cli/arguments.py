"""A function's parameters as options of a command: ``--kebab-case``, typed by their annotations."""

from __future__ import annotations

import datetime
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union

import click
import msgspec

from nbfn.exception import ExecutionError, InvalidError
from nbfn.parameters import shape_of

_DATES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")
_PLAIN: dict[Any, Any] = {
    str: str,
    int: int,
    float: float,
    Any: str,
    inspect.Parameter.empty: str,
    datetime.datetime: click.DateTime(_DATES),
}
#: What a command line has given: positional and keyword arguments.
Given = tuple[list[Any], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one function.

    Attributes:
        options: One for each, unless the function takes the words as they are.
        raw: Whether it does: its only parameter is ``*args``.
        positional: Names of those that cannot be given by name.
    """

    options: Sequence[click.Option]
    raw: bool
    positional: Sequence[str]

    def given(self, values: dict[str, Any]) -> Given:
        """Return the arguments that the options' values are."""
        if self.raw:
            return list(values["words"]), {}
        named = {str(option.name): values[str(option.name)] for option in self.options}
        return [named.pop(name) for name in self.positional], named


def parameters_of(
    function: Callable[..., Any], name: str, *, skip: Sequence[str] = ()
) -> Parameters:
    """Read a function's signature.

    Args:
        function: What is to be called.
        name: What it is called, for messages.
        skip: Parameters that others give, ``self`` above all.

    Raises:
        InvalidError: If a parameter cannot be read from a command line; names it.
        ExecutionError: If an annotation cannot be resolved.
    """
    found = [p for p in inspect.signature(function).parameters.values() if p.name not in skip]
    if any(p.kind is p.VAR_POSITIONAL for p in found):
        if len(found) > 1:
            raise InvalidError(
                f"{name!r} has *args beside other parameters; a command line cannot tell which is which."
            )
        return Parameters([], True, [])
    hints = _hints(function, name)
    options = [_option(p, hints.get(p.name, p.empty), name) for p in found]
    only = [p.name for p in found if p.kind is p.POSITIONAL_ONLY]
    return Parameters(options, False, only)


def class_parameters(cls: type, name: str) -> Parameters:
    """Read what tells the objects of a class apart: its parameters, or its constructor's.

    Raises:
        InvalidError: If one cannot be read from a command line; names it.
    """
    shape = shape_of(cls)
    if not shape.parameters:
        if not shape.takes_arguments:
            return Parameters([], False, [])
        return parameters_of(cls.__init__, name, skip=["self"])  # type: ignore[misc]
    kinds = {"str": str, "int": int, "bool": bool}
    options = []
    for one in shape.parameters:
        if one.type not in kinds:
            raise InvalidError(
                f"Parameter {one.name!r} of {name!r} is {one.type}, which cannot be read from a command line."
            )
        default = inspect.Parameter.empty
        if one.default is not None:
            default = msgspec.msgpack.decode(one.default)
        options.append(option_of(one.name, kinds[one.type], default, name))
    return Parameters(options, False, [])


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function))
    except Exception as error:
        raise ExecutionError(
            f"The annotations of {name!r} cannot be resolved: {error}. Import what they name."
        ) from error


def _option(parameter: inspect.Parameter, hint: Any, function: str) -> click.Option:
    if parameter.kind is parameter.VAR_KEYWORD:
        raise InvalidError(
            f"{function!r} has **{parameter.name}, which a command line cannot give."
        )
    return option_of(parameter.name, hint, parameter.default, function)


def option_of(name: str, hint: Any, default: Any, function: str) -> click.Option:
    """Return the option of one parameter.

    Args:
        name: The parameter's name.
        hint: Its annotation, resolved.
        default: Its default, `inspect.Parameter.empty` for none.
        function: Whose it is, for messages.

    Raises:
        InvalidError: If its type cannot be read from a command line.
    """
    required = default is inspect.Parameter.empty
    flag = "--" + name.replace("_", "-")
    settings: dict[str, Any] = {"required": required}
    if not required:
        settings |= {"default": default, "show_default": default is not None}
    hint = _without_none(hint)
    if hint is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", name], is_flag=True, **settings)
    if typing.get_origin(hint) is Literal:
        kind: Any = _Literal(name, typing.get_args(hint), function)
    elif hint in _PLAIN:
        kind = _PLAIN[hint]
    else:
        shown = getattr(hint, "__name__", None) or repr(hint)
        raise InvalidError(
            f"Parameter {name!r} of {function!r} is a {shown}, which cannot be read from a command line. "
            "Use str, int, float, bool, datetime, Literal, or one of them or None."
        )
    return click.Option([flag, name], type=kind, **settings)


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (Union, types.UnionType):
        others = [part for part in typing.get_args(hint) if part is not type(None)]
        if len(others) == 1:
            return others[0]
    return hint


class _Literal(click.Choice[Any]):
    """One of a few words, or of a few whole numbers."""

    def __init__(self, name: str, values: Sequence[Any], function: str) -> None:
        kinds = {type(value) for value in values}
        if kinds not in ({str}, {int}):
            raise InvalidError(
                f"Parameter {name!r} of {function!r} is a Literal of mixed kinds; use all str or all int."
            )
        self._values = {str(value): value for value in values}
        super().__init__(list(self._values))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        return self._values[super().convert(str(value), param, ctx)]


def parsed(
    name: str, levels: Sequence[Parameters], words: Sequence[str], doc: str
) -> list[Given] | None:
    """Parse the words of a command line.

    Args:
        name: What is run, for the usage line.
        levels: Of everything that is called, a class before its method.
        words: The words.
        doc: The help text.

    Returns:
        What each is given, or None after ``--help``.

    Raises:
        click.UsageError: If they do not fit.
    """
    raw = any(p.raw for p in levels)
    options: list[click.Parameter] = [option for p in levels for option in p.options]
    if raw:
        options.append(click.Argument(["words"], nargs=-1, type=click.UNPROCESSED))
    found: list[Given] = []

    def take(**values: Any) -> None:
        found.extend(p.given(values) for p in levels)

    settings: dict[str, Any] = {"help_option_names": [] if raw else ["--help"]}
    if raw:
        settings |= {"ignore_unknown_options": True, "allow_interspersed_args": False}
    command = click.Command(
        name, params=options, callback=take, help=inspect.cleandoc(doc), context_settings=settings
    )
    try:
        command.main(list(words), f"nbfn run {name}", standalone_mode=False)
    except click.exceptions.Exit:
        return None
    return found or None
