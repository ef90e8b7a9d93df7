"""Checks that ``@app.cls()`` can register a class, and that arguments fit its constructor."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from nbfn.declarations.lifecycle import decorated_methods
from nbfn.declarations.parameters import (
    ConstructorShape,
    check_names,
    constructor_shape,
    only_keywords,
)
from nbfn.declarations.partial_function import PartialFunction
from nbfn.exception import DeprecationError, InvalidError
from nbfn.runtime.traceback_filter import users_level


def check_class(raw: Any, *, snapshots: bool) -> None:
    """Check that a class can be registered.

    Args:
        raw: The object that ``@app.cls()`` decorates.
        snapshots: Whether it has ``enable_memory_snapshot=True``.

    Raises:
        InvalidError: If its decorators, parameters and constructor contradict each other.
        TypeError: If it is not a class.
    """
    if not isinstance(raw, type):
        what = getattr(raw, "__name__", raw)
        raise TypeError(f"@app.cls() cannot decorate {what!r}; use @app.function() for functions.")
    name = raw.__name__
    _check_methods(name, decorated_methods(raw), snapshots=snapshots)
    shape = constructor_shape(raw)
    if shape.has_parameters and raw.__init__ is not object.__init__:  # type: ignore[misc]
        raise InvalidError(
            f"Class {name!r} has parameters, so it cannot have a constructor: "
            "do in an @nbfn.enter() hook what __init__ did."
        )
    if shape.takes_arguments and not shape.parameters:
        warnings.warn(
            f"Class {name!r} has an __init__ with arguments; Modal has deprecated that in favour of "
            f"parameters, such as x: str = nbfn.parameter().",
            DeprecationError,
            stacklevel=users_level(),
        )


def _check_methods(name: str, parts: Mapping[str, PartialFunction], *, snapshots: bool) -> None:
    if any(part.marks.enter == "snap" for part in parts.values()) and not snapshots:
        raise InvalidError(
            f"{name!r} has a hook with snap=True. Write @app.cls(enable_memory_snapshot=True)."
        )
    for method, part in parts.items():
        if part.marks.concurrency is not None:
            raise InvalidError(
                f"@nbfn.concurrent(...) cannot be on method {method!r}: put it on class {name!r}."
            )
        check_method(name, method, part.raw)


def check_method(name: str, method: str, raw: Any) -> None:
    """Check that a decorated method has a parameter for ``self``.

    Args:
        name: The name of the class.
        method: The name of the method.
        raw: The function.

    Raises:
        InvalidError: If it has no such parameter.
    """
    if not any(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
        for p in inspect.signature(raw).parameters.values()
    ):
        raise InvalidError(f"Method {method!r} of class {name!r} takes no self: add the parameter.")


def check_arguments(
    shape: ConstructorShape, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Check that arguments fit the constructor of a class. The values of parameters are checked later.

    Args:
        shape: The arguments that the class accepts.
        name: The name of the class.
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        InvalidError: If the class takes no arguments, or does not have one of these parameters.
        TypeError: If the arguments do not fit the signature of the constructor.
    """
    __tracebackhide__ = True
    if shape.has_parameters:
        if args:
            raise InvalidError(only_keywords(name))
        check_names(name, shape.parameters, kwargs)
    elif shape.constructor is not None:
        shape.constructor.bind(*args, **kwargs)
    elif args or kwargs:
        raise InvalidError(f"Class {name!r} takes no arguments.")
