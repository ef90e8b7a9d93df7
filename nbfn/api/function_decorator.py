"""The type of ``@app.function(...)``, and checks of what it decorates."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, Never, ParamSpec, Protocol, TypeVar, overload

from nbfn._names import is_name, normalize
from nbfn.api.function import Function
from nbfn.api.method_decorators import Decorated
from nbfn.client.registration.definition import generates
from nbfn.declarations.options import Options
from nbfn.exception import InvalidError

Original = TypeVar("Original")


class FunctionDecorator(Protocol):
    """The type of ``@app.function(...)``, which makes a Function of a ``def`` or an ``async def``."""

    @overload
    def __call__(self, raw: Decorated[P, R, Original], /) -> Function[P, R, Original]: ...
    # One that returns Any fits every overload, so the first takes it.
    @overload
    def __call__(self, raw: Callable[P, Never], /) -> Function[P, Any, Any]: ...
    @overload
    def __call__(
        self, raw: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Function[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, raw: Callable[P, AsyncGenerator[R, Any]], /
    ) -> Function[P, R, AsyncGenerator[R, Any]]: ...
    @overload
    def __call__(
        self, raw: Callable[P, AsyncIterator[R]], /
    ) -> Function[P, R, AsyncIterator[R]]: ...
    @overload
    def __call__(
        self, raw: Callable[P, Generator[R, Any, Any]], /
    ) -> Function[P, R, Generator[R, Any, Any]]: ...
    @overload
    def __call__(self, raw: Callable[P, Iterator[R]], /) -> Function[P, R, Iterator[R]]: ...
    @overload
    def __call__(self, raw: Callable[P, R], /) -> Function[P, R, R]: ...


def misplaced(given: Any, what: str) -> str:
    """Return the error text for a decorator that got a positional argument; ``what`` is "function" or "cls"."""
    if callable(given) and hasattr(given, "__name__"):
        what = "cls" if isinstance(given, type) else what
        return f"Did you forget parentheses? Write @app.{what}() above {given.__name__!r}."
    return f"The options of @app.{what}(...) are keywords: name them, such as image=... ."


def name_of(raw: Any, options: Options) -> str:
    """Return the name of the Function that is made of an object.

    Raises:
        InvalidError: If it is a method or already a Function, or has no valid name.
        TypeError: If it is a class, or not callable.
    """
    if isinstance(raw, Function):
        raise InvalidError(f"{raw!r} is a Function already; decorate it once.")
    if isinstance(raw, type):
        raise TypeError(f"@app.function() cannot decorate class {raw.__name__!r}; use @app.cls().")
    if not callable(raw):
        raise TypeError(f"@app.function() decorates functions, not {type(raw).__name__!r} objects.")
    parts = getattr(raw, "__qualname__", "").split(".")
    if len(parts) > 1 and parts[-2] != "<locals>" and not inspect.ismethod(raw):
        raise InvalidError(
            f"@app.function() cannot decorate method {'.'.join(parts[-2:])!r}; "
            "put @nbfn.method() on it and @app.cls() on the class."
        )
    name = normalize(options.name or str(getattr(raw, "__name__", "")))
    if not is_name(name):
        raise InvalidError(
            f"{name or raw!r} cannot be a Function's name; give one: @app.function(name='...')."
        )
    return name


def check_fit(raw: Callable[..., Any], name: str, options: Options) -> None:
    """Check that a function can have its options.

    Raises:
        InvalidError: If it cannot have one of them.
    """
    if options.retries is not None and generates(raw, options):
        raise InvalidError(
            f"Generator function {name!r} cannot have retries: its items were already handed out."
        )
    if options.retries is not None and options.endpoint is not None:
        raise InvalidError(
            f"Web function {name!r} cannot have retries: the HTTP client decides whether to repeat a request."
        )
    if options.schedule is not None and generates(raw, options):
        raise InvalidError(
            f"{name!r} yields, so it cannot have a schedule: there is no caller for its items."
        )
    if options.schedule is not None and (needed := _required(raw)):
        raise InvalidError(
            f"{name!r} has a schedule, which calls it without arguments, but needs {', '.join(needed)}: "
            "give each a default."
        )


def _required(raw: Callable[..., Any]) -> list[str]:
    named = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    try:
        parameters = inspect.signature(raw).parameters.values()
    except (TypeError, ValueError):
        return []  # a builtin without a signature
    return [repr(p.name) for p in parameters if p.kind in named and p.default is p.empty]
