"""Declares, checks and encodes the parameters of classes. Each set of values has its own pool of workers.

The types come from the annotations of the class. The caller checks and encodes the values, and the worker decodes
them. The encoding identifies the pool, so equal values have equal encodings: their order, and whether a default is
passed explicitly, make no difference.
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

#: The most bytes of the encoded parameters, or constructor arguments, of an object.
LARGEST_ARGUMENTS = 16 * 1024

_TYPES: dict[str, type] = {"str": str, "int": int, "bytes": bytes, "bool": bool}
_MISSING: Any = object()


class ParameterDescriptor:
    """The class attribute that declares a parameter; it returns the default for an object without a value.

    Args:
        default: The default value.
        init: Whether the constructor accepts the parameter.
    """

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
    """Declare a parameter of an ``@app.cls()`` class. Its annotation must be str, int, bytes or bool.

    Objects with different values have different workers.

    Args:
        default: The default value. A parameter without one is required.
        init: Whether the constructor accepts the parameter; if not, it is only an attribute.

    Examples:
        >>> class Model:
        ...     name: str = parameter()
        ...     size: int = parameter(default=7)
    """
    return ParameterDescriptor(default, init=init)


class ParameterLike(Protocol):
    """The attributes of a parameter that `Parameter` and the parameter of a definition have in common."""

    @property
    def name(self) -> str:
        """The name of the parameter."""

    @property
    def type(self) -> str:
        """The name of its type: str, int, bytes or bool."""

    @property
    def default(self) -> bytes | None:
        """The encoded default value; None if the parameter is required."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the constructor of a class; ``default`` is encoded."""

    name: str
    type: str
    default: bytes | None


def declared_parameters(cls: type) -> dict[str, ParameterDescriptor]:
    """Return the parameters that a class and its bases declare, by name, in order of definition."""
    found: dict[str, ParameterDescriptor] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, ParameterDescriptor):
                found[name] = value
            else:
                found.pop(name, None)
    return found


def parameters_of(cls: type) -> tuple[Parameter, ...]:
    """Return the parameters of the constructor of a class.

    Args:
        cls: The class.

    Raises:
        InvalidError: If a parameter has no annotation or an unsupported one.
        TypeError: If a default value does not have the annotated type.
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
    """The arguments with which objects of a class are created.

    Attributes:
        has_parameters: Whether the class declares parameters, including those that the constructor does not accept.
        parameters: The parameters of the constructor.
        constructor: The signature of its ``__init__``; None if it has none.
        takes_arguments: Whether objects can be created with different arguments.
    """

    has_parameters: bool
    parameters: tuple[Parameter, ...]
    constructor: inspect.Signature | None
    takes_arguments: bool


def constructor_shape(cls: type) -> ConstructorShape:
    """Return the arguments with which objects of a class are created.

    Args:
        cls: The class.

    Raises:
        InvalidError: If a parameter has no annotation or an unsupported one.
        TypeError: If a default value does not have the annotated type.
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
    except (ValueError, TypeError):  # a constructor in C without a signature
        return None
    return signature.replace(parameters=[*signature.parameters.values()][1:])


def _varies(cls: type, constructor: inspect.Signature) -> bool:
    """Return whether a constructor takes arguments.

    An inherited constructor that only has ``*args`` and ``**kwargs`` does not count.
    """
    catching = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    kinds = [one.kind for one in constructor.parameters.values()]
    return any(kind not in catching for kind in kinds) or (bool(kinds) and "__init__" in vars(cls))


def _annotated(cls: type, name: str) -> str:
    base = next((base for base in cls.__mro__ if name in inspect.get_annotations(base)), None)
    if base is not None:
        kind = inspect.get_annotations(base)[name]
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
    """Return the error message for parameters that are passed by position; ``cls`` is the name of the class."""
    return f"The parameters of {cls!r} are keywords: {cls}(name=...)."


def check_names(cls: str, schema: Sequence[ParameterLike], given: Mapping[str, Any]) -> None:
    """Check that a class has all given parameters.

    Args:
        cls: The name of the class.
        schema: Its parameters.
        given: The given values by name.

    Raises:
        InvalidError: If a parameter is unknown; the message lists the known ones.
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

    Args:
        cls: The name of the class.
        schema: Its parameters.
        given: The given values by name.

    Raises:
        InvalidError: If a parameter is unknown or missing.
        TypeError: If a value does not have the declared type.
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
    """Encode the parameters of an object; equal values have equal encodings.

    Args:
        cls: The name of the class.
        schema: Its parameters.
        given: The given values by name.

    Raises:
        InvalidError: If a parameter is unknown or missing, or the values are too large.
        TypeError: If a value does not have the declared type.
    """
    values = with_defaults(cls, schema, given)
    try:
        data = msgspec.msgpack.encode(dict(sorted(values.items())))
    except OverflowError as error:
        raise InvalidError(f"A parameter of {cls!r} is over 64 bits: {error}.") from None
    check_size(cls, len(data))
    return data


def check_size(cls: str, size: int) -> None:
    """Check that the encoded arguments of a constructor are not too large.

    Args:
        cls: The name of the class.
        size: The size of the encoded arguments in bytes.

    Raises:
        InvalidError: If they have more than `LARGEST_ARGUMENTS` bytes.
    """
    if size > LARGEST_ARGUMENTS:
        raise InvalidError(
            f"The arguments that make a {cls!r} take {size} bytes, over the limit of {LARGEST_ARGUMENTS} (16 KiB). "
            "Pass what is large to a method, or load it in an @nbfn.enter() hook."
        )


def decode_values(data: bytes) -> dict[str, Any]:
    """Decode the values from `encode_values`."""
    values: dict[str, Any] = msgspec.msgpack.decode(data)
    return values


def _check(cls: str, name: str, kind: str, value: Any) -> None:
    expected = _TYPES[kind]
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise TypeError(
            f"Parameter {name!r} of {cls!r}: Expected {kind}, got {type(value).__name__}."
        )
