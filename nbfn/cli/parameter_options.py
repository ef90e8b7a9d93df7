"""Converts the parameters of a function to command line options, typed by their annotations or defaults."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from nbfn.cli.value_types import READABLE, ValueType, value_type
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
