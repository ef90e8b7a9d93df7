"""Converts JSON values by name to the arguments of a Function; each error names its field."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from nbfn.jupyter.argument_form import Field
from nbfn.jupyter.server.routes import FieldError

_WORDS = {"int": "an integer", "float": "a number", "str": "text", "bool": "true or false"}


def arguments_of(
    fields: Sequence[Field], given: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and keyword arguments.

    Args:
        fields: The fields of the Function's signature.
        given: JSON values by the name of a field; that of ``*args`` is a list, that of ``**kwargs`` an object.

    Raises:
        FieldError: If a value is missing or does not fit, or a name is not that of a field.
    """
    names = {field.name for field in fields}
    for name in given:
        if name not in names:
            raise FieldError(name, f"The Function has no parameter {name!r}.")
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    # Parameters in front of given ``*args`` must be passed by position.
    spread = any(field.role == "args" and given.get(field.name) for field in fields)
    before = True
    for field in fields:
        if field.role == "args":
            args += _list(field, given.get(field.name, []))
            before = False
        elif field.role == "kwargs":
            kwargs |= _mapping(field, given.get(field.name, {}))
        elif field.name in given:
            value = _value(field, given[field.name])
            if field.role == "positional" or (spread and before):
                args.append(value)
            else:
                kwargs[field.name] = value
        elif field.default is None:
            raise FieldError(field.name, f"{field.name} is missing.")
        elif field.role == "positional" or (spread and before):
            args.append(_default(field))
    return tuple(args), kwargs


def _value(field: Field, value: Any) -> Any:
    if field.kind == "choice":
        if not any(value == choice and type(value) is type(choice) for choice in _choices(field)):
            raise FieldError(field.name, f"{field.name} must be one of {', '.join(field.choices)}.")
    elif field.kind == "float" and type(value) is int:
        return float(value)
    elif field.kind in _WORDS and type(value).__name__ != field.kind:
        raise FieldError(field.name, f"{field.name} must be {_WORDS[field.kind]}.")
    return value


def _choices(field: Field) -> list[Any]:
    return [ast.literal_eval(choice) for choice in field.choices]


def _default(field: Field) -> Any:
    """Return the default of a parameter in front of given positional ones."""
    text = field.default or ""
    try:
        return text if field.kind == "str" else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise FieldError(field.name, f"{field.name} is missing: give it, too.") from None


def _list(field: Field, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise FieldError(field.name, f"{field.name} must be a list.")
    return value


def _mapping(field: Field, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FieldError(field.name, f"{field.name} must be an object with names.")
    return value
