"""`parameter`: declares, checks and encodes the parameters of classes; each set of values has its own pool.

They are read from the class's annotations, checked and encoded by the caller, and decoded by the worker. Equal values
have equal encodings, whatever their order and whether a default is passed, since the encoding identifies the pool.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from nbfn import _unpickle
from nbfn.exception import InvalidError

#: Bytes that an object's parameters, or its constructor's arguments, may take.
LARGEST_ARGUMENTS = 16 * 1024

_TYPES: dict[str, type] = {"str": str, "int": int, "bytes": bytes, "bool": bool}
_MISSING: Any = object()


class ParameterDescriptor:
    """One parameter in the body of its class; an object without a value of its own has the default."""

    __module__ = "nbfn"

    def __init__(self, default: Any, *, init: bool) -> None:
        self.default = default
        self.init = init
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self.default is _MISSING:
            raise AttributeError(
                f"Parameter {self.name!r} of {type(instance).__name__!r} has no value."
            )
        return self.default

    def __repr__(self) -> str:
        return "parameter()" if self.default is _MISSING else f"parameter(default={self.default!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.parameter, (self.name, self.init, *self._defaults())

    def _defaults(self) -> tuple[Any, ...]:
        return () if self.default is _MISSING else (self.default,)


def _make_descriptor(name: str, init: bool, default: Any = _MISSING) -> ParameterDescriptor:
    made = ParameterDescriptor(default, init=init)
    made.name = name
    return made


def parameter(*, default: Any = _MISSING, init: bool = True) -> Any:
    """Declare a parameter of an ``@app.cls()`` class, annotated as str, int, bytes or bool.

    Objects with other values have other workers.

    Args:
        default: Its value when none is given; without one it must be given.
        init: Whether the constructor takes it; if not, it is only an attribute.

    Examples:
        >>> class Model:
        ...     name: str = parameter()
        ...     size: int = parameter(default=7)
    """
    return ParameterDescriptor(default, init=init)


class ParameterLike(Protocol):
    """A parameter as the hub knows it."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def type(self) -> str:
        """str, int, bytes or bool."""

    @property
    def default(self) -> bytes | None:
        """Its encoding; None where a value must be given."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a class's constructor."""

    name: str
    type: str
    default: bytes | None


def declared_parameters(cls: type) -> dict[str, ParameterDescriptor]:
    """Return the parameters that a class and its bases declare, by name, in order."""
    found: dict[str, ParameterDescriptor] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, ParameterDescriptor):
                found[name] = value
            else:
                found.pop(name, None)
    return found


def parameters_of(cls: type) -> tuple[Parameter, ...]:
    """Return the parameters of a class's constructor.

    Raises:
        InvalidError: If one has no annotation, an unsupported one, or a default of another type.
    """
    found = []
    for name, one in declared_parameters(cls).items():
        kind = _annotated(cls, name)
        if one.default is not _MISSING:
            _check(cls.__name__, name, kind, one.default)
        if one.init:
            default = None if one.default is _MISSING else msgspec.msgpack.encode(one.default)
            found.append(Parameter(name, kind, default))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ConstructorShape:
    """The arguments that make objects of a class.

    Attributes:
        has_parameters: Whether it has any, constructor arguments or not.
        parameters: Those of the constructor.
        constructor: The signature of its own ``__init__``, if it has one.
        takes_arguments: Whether objects may be made with different arguments.
    """

    has_parameters: bool
    parameters: tuple[Parameter, ...]
    constructor: inspect.Signature | None
    takes_arguments: bool


def constructor_shape(cls: type) -> ConstructorShape:
    """Return the arguments that make objects of a class.

    Raises:
        InvalidError: As `parameters_of`.
    """
    parameters, constructor = parameters_of(cls), _constructor(cls)
    varies = constructor is not None and _varies(cls, constructor)
    return ConstructorShape(
        bool(declared_parameters(cls)), parameters, constructor, bool(parameters) or varies
    )


def _constructor(cls: type) -> inspect.Signature | None:
    if cls.__init__ is object.__init__:  # type: ignore[misc]
        return None
    try:
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    except (ValueError, TypeError):  # one in C that does not say
        return None
    return signature.replace(parameters=[*signature.parameters.values()][1:])


def _varies(cls: type, constructor: inspect.Signature) -> bool:
    """Return whether a constructor takes arguments that matter.

    One that a base from a library brings along and that takes anything does not.
    """
    catching = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    kinds = [one.kind for one in constructor.parameters.values()]
    return any(kind not in catching for kind in kinds) or (bool(kinds) and "__init__" in vars(cls))


def _annotated(cls: type, name: str) -> str:
    for base in cls.__mro__:
        annotations = inspect.get_annotations(base)
        if name in annotations:
            kind = annotations[name]
            if isinstance(kind, str):
                names = vars(sys.modules.get(base.__module__, sys))
                kind = _TYPES.get(kind) or names.get(kind, kind)
            if isinstance(kind, type) and _TYPES.get(kind.__name__) is kind:
                return kind.__name__
            shown = getattr(kind, "__name__", kind)
            raise InvalidError(
                f"Parameter {name!r} of {cls.__name__!r} is annotated {shown!r}, which is not a supported "
                "parameter type: use str, int, bytes or bool."
            )
    raise InvalidError(
        f"Parameter {name!r} of {cls.__name__!r} has no type annotation: write "
        f"{name}: str = nbfn.parameter() (or int, bytes, bool)."
    )


def only_keywords(cls: str) -> str:
    """Return the error text for parameters passed by position."""
    return f"The parameters of {cls!r} are keywords: {cls}(name=...)."


def check_names(cls: str, schema: Sequence[ParameterLike], given: Mapping[str, Any]) -> None:
    """Refuse a parameter that a class does not have.

    Raises:
        InvalidError: Names it, and those there are.
    """
    known = [one.name for one in schema]
    if unknown := [name for name in given if name not in known]:
        raise InvalidError(
            f"{cls!r} has no parameter {unknown[0]!r} (there are: {', '.join(known) or 'none'})."
        )


def with_defaults(
    cls: str, schema: Sequence[ParameterLike], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the checked value of each parameter, or its default.

    Raises:
        InvalidError: If one is unknown or missing.
        TypeError: If one has another type than it was declared with.
    """
    check_names(cls, schema, given)
    values = {}
    for one in schema:
        if one.name in given:
            _check(cls, one.name, one.type, given[one.name])
            values[one.name] = given[one.name]
        elif one.default is None:
            raise InvalidError(f"{cls!r} needs its parameter {one.name!r}: {cls}({one.name}=...).")
        else:
            values[one.name] = msgspec.msgpack.decode(one.default)
    return values


def encode_values(cls: str, schema: Sequence[ParameterLike], given: Mapping[str, Any]) -> bytes:
    """Return the encoding of an object's parameters; equal values have equal encodings.

    Raises:
        InvalidError: If one is unknown or missing, or they are too large.
        TypeError: If one has another type than it was declared with.
    """
    values = with_defaults(cls, schema, given)
    try:
        data = msgspec.msgpack.encode(dict(sorted(values.items())))
    except OverflowError as error:
        raise InvalidError(f"A parameter of {cls!r} is over 64 bits: {error}.") from None
    check_size(cls, len(data))
    return data


def check_size(cls: str, size: int) -> None:
    """Refuse arguments of a constructor that are too large.

    Raises:
        InvalidError: Says how large.
    """
    if size > LARGEST_ARGUMENTS:
        raise InvalidError(
            f"The arguments that make a {cls!r} take {size} bytes, over the limit of {LARGEST_ARGUMENTS} (16 KiB). "
            "Pass what is large to a method, or load it in an @nbfn.enter() hook."
        )


def decode_values(data: bytes) -> dict[str, Any]:
    """Return the values that `encode_values` took."""
    values: dict[str, Any] = msgspec.msgpack.decode(data)
    return values


def _check(cls: str, name: str, kind: str, value: Any) -> None:
    expected = _TYPES[kind]
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise TypeError(
            f"Parameter {name!r} of {cls!r}: Expected {kind}, got {type(value).__name__}."
        )
