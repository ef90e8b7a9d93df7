"""Creates form fields from a Function's signature, and arguments from the values of the fields."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: Annotations whose values are entered as plain text.
_PLAIN = {"int": int, "float": float, "str": str, "bool": bool}


class FormError(Exception):
    """Raised when the value of a field is not valid; the message names the field."""


@dataclass(frozen=True, slots=True)
class Field:
    """A form field for one parameter.

    Attributes:
        kind: int, float, str, bool, choice, or expression.
        role: How it is passed: positional, keyword, args (``*``) or kwargs (``**``).
        default: The default as text; None if there is none.
        choices: The values of a ``Literal``, as text.
        about: The annotation.
    """

    name: str
    kind: str
    role: str = "keyword"
    default: str | None = None
    choices: tuple[str, ...] = ()
    about: str = ""

    def view(self) -> dict[str, Any]:
        """Return the field as data for the front end."""
        return asdict(self)


def fields_of(signature: str) -> list[Field]:
    """Return the fields for a signature such as ``(x: int, how: Literal['a', 'b'] = 'a')``.

    Examples:
        >>> [(f.name, f.kind, f.default) for f in fields_of("(x: int, how: Literal['a', 'b'] = 'a')")]
        [('x', 'int', None), ('how', 'choice', "'a'")]
    """
    try:
        tree = ast.parse(f"def f{signature}: ...").body[0]
    except SyntaxError:  # the repr of a default is not an expression
        return [
            Field("args", "expression", "args", "[]"),
            Field("kwargs", "expression", "kwargs", "{}"),
        ]
    assert isinstance(tree, ast.FunctionDef)
    given = tree.args
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    found = [
        _field(arg, default, "positional" if arg in given.posonlyargs else "keyword")
        for arg, default in zip(positional, [*defaults, *given.defaults], strict=True)
    ]
    if given.vararg:
        found.append(Field(given.vararg.arg, "expression", "args", "[]", about="list"))
    found += [
        _field(arg, default, "keyword")
        for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]
    if given.kwarg:
        found.append(Field(given.kwarg.arg, "expression", "kwargs", "{}", about="dict"))
    return found


def _field(arg: ast.arg, default: ast.expr | None, role: str) -> Field:
    about = ast.unparse(arg.annotation) if arg.annotation is not None else ""
    text = ast.unparse(default) if default is not None else None
    choices = _choices(arg.annotation)
    kind = "choice" if choices else about if about in _PLAIN else "expression"
    if kind in _PLAIN and text is not None:
        value = _literal(default)
        if type(value) is _PLAIN[kind] or (kind == "float" and type(value) is int):
            text = str(value)
        else:  # such as None: accept any expression
            kind = "expression"
    return Field(arg.arg, kind, role, text, choices, about)


def _choices(annotation: ast.expr | None) -> tuple[str, ...]:
    if not isinstance(annotation, ast.Subscript):
        return ()
    named = ast.unparse(annotation.value).rpartition(".")[2]
    if named != "Literal":
        return ()
    inner = annotation.slice
    values = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    return tuple(ast.unparse(value) for value in values)


def _literal(node: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None


def arguments_of(
    fields: Sequence[Field], filled: Mapping[str, Any], names: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments that a form contains. Fields with their default are omitted.

    Args:
        fields: The fields.
        filled: Their texts by name; True or False for a bool.
        names: The notebook's namespace, for expressions.

    Returns:
        The positional and the keyword arguments.

    Raises:
        FormError: If a text is not valid for its field.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for field in fields:
        text = filled.get(field.name, "")
        if field.default is not None and _same(text, field) and field.role != "positional":
            continue
        if text == "" and field.kind != "str":
            raise FormError(f"{field.name} is missing")
        value = _value(field, text, names)
        if field.role == "positional":
            args.append(value)
        elif field.role == "args":
            args += [kwargs.pop(name) for name in list(kwargs)] + list(value)
        elif field.role == "kwargs":
            kwargs |= dict(value)
        else:
            kwargs[field.name] = value
    return args, kwargs


def _same(text: Any, field: Field) -> bool:
    return str(text) == field.default or (text == "" and field.kind != "str")


def _value(field: Field, text: Any, names: Mapping[str, Any]) -> Any:
    if field.kind == "bool":
        return bool(text) if isinstance(text, bool) else str(text) == "True"
    if field.kind == "str":
        return str(text)
    if field.kind in _PLAIN:
        try:
            return _PLAIN[field.kind](str(text))
        except ValueError:
            raise FormError(
                f"{field.name} is {text!r}, which is not a valid {field.kind}"
            ) from None
    if field.kind == "choice":
        if text not in field.choices:
            raise FormError(f"{field.name} is {text!r}; choose one of {', '.join(field.choices)}")
        return ast.literal_eval(text)
    return _evaluated(field, str(text), names)


def _evaluated(field: Field, text: str, names: Mapping[str, Any]) -> Any:
    """Evaluate text as an expression in the notebook, or else as JSON."""
    try:
        return eval(text, dict(names))  # noqa: S307 - the user's own expression
    except Exception as error:  # noqa: BLE001 - whatever the expression does
        try:
            return json.loads(text)
        except ValueError:
            raise FormError(f"{field.name}: {type(error).__name__}: {error}") from None
