"""`App`: a named set of Functions, and the decorator that makes them."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import threading
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Never, ParamSpec, Protocol, TypeVar, overload

from nbfn import endpoint
from nbfn.client import Client
from nbfn.definition import Home, generates
from nbfn.exception import InvalidError
from nbfn.function import Function
from nbfn.marks import Partial, unwrapped
from nbfn.options import DEFAULT_TIMEOUT, NAME_PATTERN, Options, check_name
from nbfn.retries import Retries
from nbfn.sync import blocking

P = ParamSpec("P")
R = TypeVar("R")
Original = TypeVar("Original")


class Decorator(Protocol):
    """What ``@app.function(...)`` is: makes a Function of a ``def`` or an ``async def``."""

    @overload
    def __call__(self, raw: Partial[P, R, Original], /) -> Function[P, R, Original]: ...
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


class App:
    """A set of Functions, by name.

    An App lives as long as its process; `deploy` makes its Functions known to other notebooks.

    Args:
        name: Its name; needed for `deploy`.
        image: What its Functions' workers are made of, where they do not say it themselves.
        secrets: Environment variables for all its Functions: `Secret`s. A Function's own win over them.
        tags, volumes, include_source: Accepted for Modal programs, without effect here.

    Raises:
        InvalidError: If the name cannot be one.

    Examples:
        >>> app = App("demo")
        >>> @app.function()
        ... def square(x: int) -> int:
        ...     return x * x
        >>> square.local(3)
        9
    """

    __module__ = "nbfn"

    def __init__(
        self,
        name: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        image: Any = None,
        secrets: Sequence[Any] = (),
        volumes: Mapping[str, Any] | None = None,
        include_source: bool | None = None,
    ) -> None:
        if name is not None:
            check_name("The app's name", name)
        options = Options.read({"image": image, "secrets": secrets or None, "volumes": volumes})
        self._secrets = options.secrets
        self._name = name
        self._image = image
        self._tags = dict(tags or {})
        self._home = Home(name or "", app=self)
        self._functions: dict[str, Function[..., Any]] = {}

    @property
    def name(self) -> str | None:
        """Its name."""
        return self._name

    @property
    def description(self) -> str | None:
        """Its name."""
        return self._name

    @property
    def app_id(self) -> str | None:
        """Its id at the hub, once a Function of it is registered there."""
        return self._home.app_id

    @property
    def registered_functions(self) -> dict[str, Function[..., Any]]:
        """Its Functions by name."""
        return dict(self._functions)

    @property
    def registered_web_endpoints(self) -> list[str]:
        """The names of its Functions that are web endpoints."""
        return [name for name, function in self._functions.items() if function.spec.endpoint]

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
    ) -> Decorator:
        """Make a decorator that turns a ``def`` into a Function of this App.

        Args:
            *forgotten: Nothing; there to tell that the parentheses are missing.
            name: Another name than the function's own; a lambda needs one.
            timeout: Seconds the body may run, each attempt.
            retries: How often a failed input runs again: a number (a second apart) or `Retries`.
            min_containers: Workers kept when idle. Older name: ``keep_warm``.
            max_containers: Most workers. Older name: ``concurrency_limit``.
            buffer_containers: Extra idle workers while the pool is active.
            scaledown_window: Seconds an idle worker is kept. Older name: ``container_idle_timeout``.
            serialized: Accepted for Modal programs; functions are always sent by value.
            is_generator: Whether it yields, where that cannot be seen from the ``def``.
            **others: Modal's other options; one that has no effect here says so once.

        Raises:
            InvalidError: If an option is unknown or wrong, or the parentheses are missing.

        Examples:
            >>> app = App()
            >>> @app.function(retries=2, timeout=60)
            ... def fetch(url): ...
        """
        if forgotten:
            raise InvalidError(_positional(forgotten[0]))
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
                "image": self._image,
                **others,
            }
        )

        def decorate(raw: Callable[..., Any]) -> Function[..., Any]:
            return self._add(raw, options)

        return decorate  # type: ignore[return-value]

    def _add(self, raw: Callable[..., Any], options: Options) -> Function[..., Any]:
        raw, marks = unwrapped(raw)
        options = marks.applied(options)
        options = dataclasses.replace(options, secrets=(*self._secrets, *options.secrets))
        name = _name_of(raw, options)
        _check_fit(raw, name, options)
        options = endpoint.checked(name, options)
        function: Function[..., Any] = Function._local(raw, name, options, self._home)
        before = self._functions.get(name)
        if before is not None and not _is_interactive():
            old, new = _full_name(before.get_raw_f()), _full_name(raw)
            warnings.warn(
                f"Function {name!r} of {self!r} is replaced: it was {old}, now it is {new}.",
                UserWarning,
                stacklevel=3,
            )
        self._functions[name] = function
        return function

    @blocking
    async def deploy(
        self,
        name: str | None = None,
        *,
        environment_name: str | None = None,
        tag: str = "",
        client: Client | None = None,
        strategy: str = "rolling",
    ) -> App:
        """Register all Functions of the App under its name, so that any notebook finds them by `Function.from_name`.

        Args:
            name: The name to deploy under; the App's own when not given.
            environment_name: The environment; "main" when not given.
            tag, client, strategy: Accepted for Modal programs; running calls always finish on the
                version they began with.

        Returns:
            The App.

        Raises:
            InvalidError: If there is no name.
        """
        __tracebackhide__ = True
        deployed = name or self._name
        if not deployed:
            raise InvalidError(
                "An App needs a name to be deployed: App('name') or app.deploy(name='name')."
            )
        home = self._home
        home.deployed_name = check_name("The app's name", deployed)
        if environment_name is not None:
            home.environment_name = environment_name
        for function in list(self._functions.values()):
            await function._deploy()
        return self

    def __repr__(self) -> str:
        return f"App({self._name!r})" if self._name else "App()"


def _positional(given: Any) -> str:
    if callable(given) and not isinstance(given, type) and hasattr(given, "__name__"):
        return f"Did you forget parentheses? Write @app.function() above {given.__name__!r}."
    return "The options of @app.function(...) are keywords: name them, such as image=... ."


def _name_of(raw: Any, options: Options) -> str:
    if isinstance(raw, Function):
        raise InvalidError(f"{raw!r} is a Function already; decorate it once.")
    if isinstance(raw, type):
        raise TypeError(
            f"@app.function() cannot decorate class {raw.__name__!r}; decorate a function."
        )
    if not callable(raw):
        raise TypeError(f"@app.function() decorates functions, not {type(raw).__name__!r} objects.")
    parts = getattr(raw, "__qualname__", "").split(".")
    if len(parts) > 1 and parts[-2] != "<locals>" and not inspect.ismethod(raw):
        raise InvalidError(
            f"@app.function() cannot decorate method {'.'.join(parts[-2:])!r}; "
            "decorate a function outside of the class."
        )
    name = options.name or str(getattr(raw, "__name__", ""))
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidError(
            f"{name or raw!r} cannot be a Function's name; give one: @app.function(name='...')."
        )
    return name


def _check_fit(raw: Callable[..., Any], name: str, options: Options) -> None:
    """Refuse options that this function cannot have."""
    if options.retries is not None and generates(raw, options):
        raise InvalidError(
            f"Generator function {name!r} cannot have retries: its items were already handed out."
        )
    if options.retries is not None and options.endpoint is not None:
        raise InvalidError(
            f"Web function {name!r} cannot have retries: whoever asked decides whether to ask again."
        )
    if options.schedule is not None and generates(raw, options):
        raise InvalidError(
            f"{name!r} yields, so it cannot have a schedule: nobody takes its items."
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
        return []  # a builtin that does not say
    return [repr(p.name) for p in parameters if p.kind in named and p.default is p.empty]


def _full_name(raw: Callable[..., Any]) -> str:
    return f"{getattr(raw, '__module__', '?')}.{getattr(raw, '__qualname__', '?')}"


def _is_interactive() -> bool:
    """Whether this runs in IPython, where a cell that is run again means to replace."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


_default: App | None = None
_making = threading.Lock()


def default_app() -> App:
    """Return this process's unnamed App, for Functions that were given none."""
    global _default
    with _making:
        if _default is None:
            _default = App()
        return _default
