"""`AppDecorators`: the decorators of an App, which make its Functions, classes and entrypoints."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Sequence,
)
from pathlib import Path
from typing import Any, Never, ParamSpec, Protocol, TypeVar, dataclass_transform, overload

from nbfn._names import check_name, is_name, normalize
from nbfn.api import endpoint_checks
from nbfn.api.cls import Cls
from nbfn.api.entrypoint import LocalEntrypoint, check_entrypoint
from nbfn.api.function import Function
from nbfn.api.method_decorators import Decorated
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.definition import generates
from nbfn.declarations.class_checks import check_class
from nbfn.declarations.lifecycle import remote_methods
from nbfn.declarations.options import DEFAULT_TIMEOUT, Options
from nbfn.declarations.parameters import parameter
from nbfn.declarations.partial_function import DecoratorOptions, unwrap
from nbfn.declarations.retries import Retries
from nbfn.exception import InvalidError
from nbfn.runtime import traceback_filter

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
#: The timeout of a session, in seconds: ten years.
SESSION_TIMEOUT = 10 * 365 * 86400.0
#: Options of a Function that a class does not have.
_OF_FUNCTIONS = frozenset({"name", "schedule", "is_generator"})


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


def _check_kind(raw: Any) -> None:
    """Check that an object is a function, or callable like one."""
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


def name_of(raw: Any, options: Options) -> str:
    """Return the name of the Function that is made of an object.

    Raises:
        InvalidError: If it is a method or already a Function, or has no valid name.
        TypeError: If it is a class, or not callable.
    """
    _check_kind(raw)
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
    if options.schedule is None:
        return
    if generates(raw, options):
        raise InvalidError(
            f"{name!r} yields, so it cannot have a schedule: there is no caller for its items."
        )
    if needed := _required(raw):
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


class AppDecorators:
    """Base of `App`."""

    #: The image of Functions that are made from now on and name none themselves.
    image: Any
    _secrets: Sequence[Any]  # for all its Functions
    _scope: AppScope
    _parts: dict[str, Function[..., Any, Any] | Cls]
    _entrypoints: dict[str, LocalEntrypoint[..., Any]]

    @traceback_filter.trimmed
    def function(
        self,
        *forgotten: Any,
        name: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int | Retries | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        serialized: bool = False,
        is_generator: bool | None = None,
        **others: Any,
    ) -> FunctionDecorator:
        """Make a decorator that turns a ``def`` into a Function of this App.

        Args:
            *forgotten: Nothing; detects missing parentheses.
            name: Another name than that of the function; a lambda needs one.
            timeout: Seconds the body may run, each attempt.
            retries: How often a failed input runs again: a number (a second apart) or `Retries`.
            min_containers: Workers kept when idle. Older name: ``keep_warm``.
            max_containers: Most workers. Older name: ``concurrency_limit``.
            buffer_containers: Extra idle workers while the pool is active.
            scaledown_window: Seconds an idle worker is kept. Older name: ``container_idle_timeout``.
            serialized: Accepted for Modal programs; functions are always sent by value.
            is_generator: Whether it is a generator, if the ``def`` does not show that.
            **others: Other options of Modal; those without effect warn once.

        Raises:
            InvalidError: If an option is unknown or not valid, or the parentheses are missing.

        Examples:
            >>> app = App()
            >>> @app.function(retries=2, timeout=60)
            ... def fetch(url): ...
        """
        if forgotten:
            raise InvalidError(misplaced(forgotten[0], "function"))
        options = Options.read(
            {
                "name": name,
                "timeout": timeout,
                "retries": retries,
                "min_containers": min_containers,
                "max_containers": max_containers,
                "buffer_containers": buffer_containers,
                "scaledown_window": scaledown_window,
                "serialized": serialized,
                "is_generator": is_generator,
                "image": self.image,
                **others,
            }
        )

        @traceback_filter.trimmed
        def decorate(raw: Callable[..., Any]) -> Function[..., Any]:
            return self._add(raw, options)

        return decorate  # type: ignore[return-value]

    def _add(self, raw: Callable[..., Any], options: Options) -> Function[..., Any]:
        raw, marks = unwrap(raw)
        _check_for_function(raw, marks)
        options = marks.applied(options)
        options = dataclasses.replace(options, secrets=(*self._secrets, *options.secrets))
        name = name_of(raw, options)
        check_fit(raw, name, options)
        options = endpoint_checks.checked(name, options)
        function: Function[..., Any] = Function._local(raw, name, options, self._scope)
        self._take(name, function, raw)
        return function

    def _session(self, raw: Callable[..., Any], **given: Any) -> Function[..., Any]:
        """Return the Function of the sessions of a notebook; no decorator can make one.

        Args:
            raw: Runs a session until it ends.
            **given: Options of the decorator.
        """
        own = {"name": "session", "single_use_containers": True, "at_most_once": True}
        options = Options.read({**given, **own})
        return self._add(raw, dataclasses.replace(options, timeout=SESSION_TIMEOUT, session=True))

    def _take(self, name: str, part: Function[..., Any, Any] | Cls, raw: Any) -> None:
        """Add a Function or class under a name, and replace one that has the name already."""
        before = self._parts.pop(name, None)
        if before is not None and before is not part and not _is_interactive():
            kind = "Class" if isinstance(before, Cls) else "Function"
            warnings.warn(
                f"{kind} {name!r} of {self!r} is replaced: {_difference(before._raw, raw)}.",
                UserWarning,
                stacklevel=traceback_filter.users_level(),
            )
        self._parts[name] = part

    @dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
    def cls(
        self,
        *forgotten: Any,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int | Retries | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        serialized: bool = False,
        enable_memory_snapshot: bool = False,
        **others: Any,
    ) -> Callable[[C], C]:
        """Make a decorator that turns a class into a `Cls` of this App: its objects live on workers.

        Args:
            *forgotten: Nothing; detects missing parentheses.
            timeout: Seconds a method may run, each attempt.
            retries: How often a failed input runs again: a number (a second apart) or `Retries`.
            min_containers: Workers kept when idle, for each set of parameters in use.
            max_containers: Most workers, for each set of parameters.
            buffer_containers: Extra idle workers while the pool is active.
            scaledown_window: Seconds an idle worker is kept.
            serialized: Accepted for Modal programs; classes are always sent by value.
            enable_memory_snapshot: Whether to allow ``@enter(snap=True)`` hooks; they run first.
            **others: Other options of `function`, except name, schedule and is_generator.

        Raises:
            InvalidError: If an option is unknown or not valid, the parentheses are missing, or decorators,
                parameters and constructor of the class contradict each other.

        Examples:
            >>> app = App()
            >>> @app.cls(max_containers=2)
            ... class Counter:
            ...     @nbfn.enter()
            ...     def begin(self):
            ...         self.count = 0
            ...
            ...     @nbfn.method()
            ...     def up(self):
            ...         self.count += 1
            ...         return self.count
        """
        given = {
            "timeout": timeout,
            "retries": retries,
            "min_containers": min_containers,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
            "serialized": serialized,
            "enable_memory_snapshot": enable_memory_snapshot,
            **others,
        }
        try:  # `trimmed` would hide the decorator's kind from pyright
            options = _class_options(forgotten, given)
        except BaseException as error:
            traceback_filter.hide(error)
            raise

        @traceback_filter.trimmed
        def decorate(raw: Any) -> Any:
            return self._add_class(raw, options, snapshots=enable_memory_snapshot)

        return decorate

    def _add_class(self, raw: Any, options: Options, *, snapshots: bool) -> Cls:
        raw, marks = unwrap(raw)
        if isinstance(raw, Cls):
            raise InvalidError(f"{raw!r} is a Cls already; decorate it once.")
        check_class(raw, snapshots=snapshots)
        options = marks.applied(options)
        options = dataclasses.replace(options, secrets=(*self._secrets, *options.secrets))
        name = check_name("The class's name", raw.__name__)
        endpoints = [part.marks.endpoint for part in remote_methods(raw).values()]
        options = endpoint_checks.checked_class(name, options, endpoints)
        made = Cls._local(raw, name, options, self._scope)
        self._take(name, made, raw)
        return made

    @traceback_filter.trimmed
    def local_entrypoint(
        self, *forgotten: Any, name: str | None = None
    ) -> Callable[[Callable[P, R]], LocalEntrypoint[P, R]]:
        """Make a decorator for a function that ``nbfn run`` runs locally, with arguments from the command line.

        Args:
            *forgotten: Nothing; detects missing parentheses.
            name: Another name than that of the function.

        Raises:
            InvalidError: If the parentheses are missing, it is not a plain function, or the App has an entrypoint of
                that name.
        """
        if forgotten:
            raise InvalidError(
                "Did you forget parentheses? Write @app.local_entrypoint() above the def."
            )

        @traceback_filter.trimmed
        def decorate(raw: Callable[P, R]) -> LocalEntrypoint[P, R]:
            check_entrypoint(raw)
            called = check_name("The entrypoint's name", name or str(getattr(raw, "__name__", "")))
            if called in self._entrypoints and not _is_interactive():
                raise InvalidError(
                    f"{self!r} has a local entrypoint {called!r} already; give this one another name."
                )
            made = LocalEntrypoint(raw, called)
            self._entrypoints[called] = made
            return made

        return decorate


def _class_options(forgotten: tuple[Any, ...], given: dict[str, Any]) -> Options:
    """Check and return the options of a class."""
    if forgotten:
        raise InvalidError(misplaced(forgotten[0], "cls"))
    if wrong := sorted(_OF_FUNCTIONS & given.keys()):
        raise InvalidError(f"@app.cls(...) has no option {wrong[0]!r}; a class has its own name.")
    return Options.read(given)


def _check_for_function(raw: Any, marks: DecoratorOptions) -> None:
    """Check that a decorated function has no decorator that only methods can have.

    Raises:
        InvalidError: If it has one.
    """
    if marks.method or marks.lifecycle:
        decorator = "method" if marks.method else "exit" if marks.exit else "enter"
        raise InvalidError(
            f"@nbfn.{decorator}() decorates methods of a class with @app.cls(); {raw.__name__!r} is a function."
        )


def _difference(before: Any, now: Any) -> str:
    """Return what was registered under a name before, and what is now, by name or else by place."""
    old, new = _full_name(before), _full_name(now)
    if old != new:
        return f"it was {old}, now it is {new}"
    places = [_place(raw) for raw in (before, now)]
    return f"{new} is defined twice" + (f", at {places[0]} and {places[1]}" if all(places) else "")


def _place(raw: Any) -> str:
    code = getattr(inspect.unwrap(raw), "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code is not None else ""


def _full_name(raw: Any) -> str:
    return f"{getattr(raw, '__module__', '?')}.{getattr(raw, '__qualname__', '?')}"


def _is_interactive() -> bool:
    """Return whether this runs in IPython, where a cell that runs again replaces its names."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
