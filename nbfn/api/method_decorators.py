"""The decorators below ``@app.function()`` and inside ``@app.cls()`` classes, and their types."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
)
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Never,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)

from nbfn.declarations.options import check_flag
from nbfn.declarations.partial_function import (
    PartialFunction,
    add_options,
    check_batched,
    read_batching,
    read_concurrency,
    unwrap,
)
from nbfn.exception import InvalidError
from nbfn.runtime.traceback_filter import trimmed

if TYPE_CHECKING:
    from nbfn.api.function import Function
import contextlib
import inspect
import re
import typing
import warnings
from collections.abc import Sequence

from nbfn.declarations.options import LONGEST_TIMEOUT, Endpoint
from nbfn.declarations.registered import Registered
from nbfn.declarations.retries import is_int, is_number
from nbfn.runtime.traceback_filter import users_level

P = ParamSpec("P")
R = TypeVar("R")
Original = TypeVar("Original")
F = TypeVar("F")


class Decorated(PartialFunction, Generic[P, R, Original]):
    """The result of the decorators for type checkers; at run time it is a plain `PartialFunction`.

    As an attribute of an object of an ``@app.cls()`` class it is a Function.
    """

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type) -> Function[P, R, Original]: ...
        def __get__(self, instance: Any, owner: type) -> Any: ...


class MethodDecorator(Protocol):
    """The type of ``@method()``: the ``self`` of the method is no parameter of its Function."""

    # One that returns Any fits every overload, so the first takes it.
    @overload
    def __call__(self, raw: Callable[Concatenate[Any, P], Never], /) -> Decorated[P, Any, Any]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> Decorated[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], AsyncGenerator[R, Any]], /
    ) -> Decorated[P, R, AsyncGenerator[R, Any]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], AsyncIterator[R]], /
    ) -> Decorated[P, R, AsyncIterator[R]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], Generator[R, Any, Any]], /
    ) -> Decorated[P, R, Generator[R, Any, Any]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], Iterator[R]], /
    ) -> Decorated[P, R, Iterator[R]]: ...
    @overload
    def __call__(self, raw: Callable[Concatenate[Any, P], R], /) -> Decorated[P, R, R]: ...


class BatchDecorator(Protocol):
    """The type of ``@batched(...)``: callers pass single values and get one, which parameter types cannot express."""

    @overload
    def __call__(
        self, raw: Callable[..., Coroutine[Any, Any, list[R]]], /
    ) -> Decorated[..., R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(self, raw: Callable[..., list[R]], /) -> Decorated[..., R, list[R]]: ...


def _marking(what: str, **changes: Any) -> Callable[[Any], Any]:
    """Return a decorator that marks a function; see `add_options`."""
    return trimmed(lambda raw: add_options(what, raw, **changes))


def forgotten(what: str, given: tuple[Any, ...]) -> None:
    """Check that there is no positional argument, which is usually the function if parentheses are missing.

    Raises:
        InvalidError: If there is one.
    """
    if not given:
        return
    if callable(given[0]):
        raise InvalidError(f"Did you forget parentheses? Write {what}() above the def.")
    raise InvalidError(f"The options of {what}(...) are keywords: name them.")


@trimmed
def method(*given: Any, is_generator: bool | None = None, keep_warm: Any = None) -> MethodDecorator:
    """Make a method of an ``@app.cls()`` class callable from other processes.

    Args:
        *given: Nothing; detects missing parentheses.
        is_generator: Whether it is a generator, if the ``def`` does not show that.
        keep_warm: Modal's former option; it belongs on the class.

    Raises:
        InvalidError: If the parentheses are missing.
    """
    forgotten("@nbfn.method", given)
    if keep_warm is not None:
        raise InvalidError("keep_warm belongs on the class: @app.cls(min_containers=...).")
    if is_generator is not None:
        check_flag("is_generator", is_generator)
    return _marking("@nbfn.method()", method=True, is_generator=is_generator)


@trimmed
def enter(*given: Any, snap: bool = False) -> Callable[[F], F]:
    """Run a method once in each worker before its first input.

    Args:
        *given: Nothing; detects missing parentheses.
        snap: Whether it runs before the hooks without ``snap``, as in Modal, which takes a snapshot after it.
    """
    forgotten("@nbfn.enter", given)
    check_flag("snap", snap)
    return _marking("@nbfn.enter()", enter="snap" if snap else "plain")


@trimmed
def build(*given: Any, force: bool = False) -> Callable[[F], F]:
    """Run a method in each worker before its `enter` hooks, since nbfn builds no image."""
    forgotten("@nbfn.build", given)
    check_flag("force", force)
    return _marking("@nbfn.build()", enter="build")


@trimmed
def exit(*given: Any) -> Callable[[F], F]:  # noqa: A001 - Modal's name
    """Run a method once in each worker that ends regularly."""
    forgotten("@nbfn.exit", given)
    return _marking("@nbfn.exit()", exit=True)


@trimmed
def concurrent(*given: Any, max_inputs: int, target_inputs: int | None = None) -> Callable[[F], F]:
    """Run several inputs at once in each worker: coroutines as tasks of one event loop, others in threads.

    Args:
        *given: Nothing; detects missing parentheses.
        max_inputs: Most inputs that a worker runs at once.
        target_inputs: Inputs for each worker by which the pool is scaled; ``max_inputs`` when not given.

    Raises:
        InvalidError: If a number is not valid.
    """
    forgotten("@nbfn.concurrent", given)
    found = read_concurrency(max_inputs, target_inputs)
    return _marking("@nbfn.concurrent(...)", concurrency=found)


@trimmed
def batched(*given: Any, max_batch_size: int, wait_ms: float) -> BatchDecorator:
    """Run inputs in batches: callers pass single values, the body gets and returns lists.

    Args:
        *given: Nothing; detects missing parentheses.
        max_batch_size: Inputs in one batch, 1 to 1000.
        wait_ms: Milliseconds to wait for a full batch, 0 to 600000.

    Raises:
        InvalidError: If a number is not valid, the function yields, or it has default arguments.
    """
    forgotten("@nbfn.batched", given)
    found = read_batching(max_batch_size, wait_ms)

    @trimmed
    def decorate(raw: Callable[..., Any]) -> Any:
        check_batched(unwrap(raw)[0])
        return add_options("@nbfn.batched(...)", raw, batching=found)

    return decorate


# --- web endpoints -------------------------------------------------------------------------------

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE")
#: A valid label, which is part of a URL.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class EndpointDecorator(Protocol):
    """The type of the decorators below. `Function.local` still calls the plain function."""

    def __call__(self, raw: Callable[P, R], /) -> Decorated[P, R, R]:
        """Mark it."""


@trimmed
def fastapi_endpoint(
    *given: Any,
    method: str = "GET",
    label: str | None = None,
    custom_domains: Sequence[str] | None = None,
    docs: bool = False,
    requires_proxy_auth: bool = False,
) -> EndpointDecorator:
    """Make a function a web endpoint: FastAPI reads its parameters from the request and sends its result.

    FastAPI's annotations, dependencies and responses work.

    Args:
        *given: Nothing; detects missing parentheses.
        method: The HTTP method; requests with another one get a 405.
        label: Last part of the URL; made of the App's and the function's name when not given.
        custom_domains: Accepted for Modal programs; has no effect.
        docs: Whether ``/docs`` shows how to call it.
        requires_proxy_auth: Whether requests need the headers Modal-Key and Modal-Secret (``proxy_key`` and
            ``proxy_secret`` in ``web.json`` of `NBFN_HOME`).

    Raises:
        InvalidError: If an option is not valid, or the function yields.

    Examples:
        >>> @app.function()  # doctest: +SKIP
        ... @nbfn.fastapi_endpoint(docs=True)
        ... def greet(name: str = "world"):
        ...     return {"hello": name}
        >>> requests.get(greet.web_url, params={"name": "ada"}).json()  # doctest: +SKIP
        {'hello': 'ada'}
    """
    what = "@nbfn.fastapi_endpoint"
    _no_positional(what, given)
    if method not in METHODS:
        raise InvalidError(f"method is {method!r}; it must be one of {', '.join(METHODS)}.")
    made = Endpoint(
        "fastapi", method, _label(label), docs=check_flag("docs", docs),
        requires_proxy_auth=check_flag("requires_proxy_auth", requires_proxy_auth),
    )  # fmt: skip
    _say_domains(custom_domains)

    @trimmed
    def decorate(raw: Callable[..., Any]) -> Any:
        function = _function(what, raw)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidError(
                f"{getattr(function, '__name__', 'it')!r} yields, which {what}() cannot send. "
                "Return fastapi.responses.StreamingResponse(generator()) instead."
            )
        _resolve_annotations(function)
        return add_options(f"{what}()", raw, endpoint=made)

    return decorate


@trimmed
def web_endpoint(
    *given: Any,
    method: str = "GET",
    label: str | None = None,
    custom_domains: Sequence[str] | None = None,
    docs: bool = False,
    requires_proxy_auth: bool = False,
) -> EndpointDecorator:
    """Make a function a web endpoint; the older name of `fastapi_endpoint`."""
    _no_positional("@nbfn.web_endpoint", given)
    return fastapi_endpoint(
        method=method,
        label=label,
        custom_domains=custom_domains,
        docs=docs,
        requires_proxy_auth=requires_proxy_auth,
    )


@trimmed
def asgi_app(
    *given: Any,
    label: str | None = None,
    custom_domains: Sequence[str] | None = None,
    requires_proxy_auth: bool = False,
) -> EndpointDecorator:
    """Serve the ASGI app that a function returns (FastAPI, Starlette and others), with WebSockets.

    The function takes no arguments and is called once in each worker.

    Args:
        *given: Nothing; detects missing parentheses.
        label: Last part of the URL; made of the App's and the function's name when not given.
        custom_domains: Accepted for Modal programs; has no effect.
        requires_proxy_auth: As in `fastapi_endpoint`.

    Raises:
        InvalidError: If the function is async, yields, or takes arguments.
    """
    return _factory("asgi", "@nbfn.asgi_app", given, label, custom_domains, requires_proxy_auth)


@trimmed
def wsgi_app(
    *given: Any,
    label: str | None = None,
    custom_domains: Sequence[str] | None = None,
    requires_proxy_auth: bool = False,
) -> EndpointDecorator:
    """Serve the WSGI app that a function returns (Flask, Django and others); arguments as of `asgi_app`."""
    return _factory("wsgi", "@nbfn.wsgi_app", given, label, custom_domains, requires_proxy_auth)


@trimmed
def web_server(
    port: int,
    *given: Any,
    startup_timeout: float = 5.0,
    label: str | None = None,
    custom_domains: Sequence[str] | None = None,
    requires_proxy_auth: bool = False,
) -> EndpointDecorator:
    """Forward requests to a server that a function starts on a port of 127.0.0.1.

    The function takes no arguments, is called once, and starts the server in a subprocess or a thread before it
    returns. Since a port can be used only once on a machine, the Function has one worker.

    Args:
        port: The port of the server.
        *given: Nothing; the options are keywords.
        startup_timeout: Seconds within which it must accept connections.
        label: Last part of the URL; made of the App's and the function's name when not given.
        custom_domains: Accepted for Modal programs; has no effect.
        requires_proxy_auth: As in `fastapi_endpoint`.

    Raises:
        InvalidError: If a number is not valid, or the function is async or takes arguments.
    """
    what = "@nbfn.web_server"
    if callable(port):
        raise InvalidError(f"Did you forget the port? Write {what}(8000) above the def.")
    _no_positional(what, given)
    if not is_int(port) or not 0 < port < 65536:
        raise InvalidError(f"port is {port!r}; it must be a whole number from 1 to 65535.")
    if not is_number(startup_timeout) or not 0 < startup_timeout <= LONGEST_TIMEOUT:
        raise InvalidError(
            f"startup_timeout is {startup_timeout!r}; it must be > 0 and at most {LONGEST_TIMEOUT:.0f} seconds."
        )
    extra = {"port": int(port), "startup_timeout": float(startup_timeout)}
    return _factory("server", what, given, label, custom_domains, requires_proxy_auth, **extra)


def _factory(
    kind: str,
    what: str,
    given: tuple[Any, ...],
    label: str | None,
    custom_domains: Sequence[str] | None,
    requires_proxy_auth: bool,
    **extra: Any,
) -> EndpointDecorator:
    """Return the decorator for a function that is called once, without arguments."""
    _no_positional(what, given)
    auth = check_flag("requires_proxy_auth", requires_proxy_auth)
    made = Endpoint(kind, label=_label(label), requires_proxy_auth=auth, **extra)
    _say_domains(custom_domains)

    @trimmed
    def decorate(raw: Callable[..., Any]) -> Any:
        function = _function(what, raw)
        name = getattr(function, "__name__", "it")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidError(f"{name!r} is async; what {what}() decorates must be a plain def.")
        if inspect.isgeneratorfunction(function):
            raise InvalidError(f"{name!r} yields; what {what}() decorates must return.")
        if needed := _needed(function):
            raise InvalidError(
                f"{name!r} needs the argument {needed[0]!r}, but what {what}() decorates is called without any."
            )
        return add_options(f"{what}()", raw, endpoint=made)

    return decorate


def _resolve_annotations(function: Any) -> None:
    """Evaluate annotations that are strings (``from __future__ import annotations``).

    FastAPI needs them in a worker, where names that only annotations use are not defined.
    """
    annotations = getattr(function, "__annotations__", {})
    if any(isinstance(value, str) for value in annotations.values()):
        # FastAPI evaluates one whose names are not defined yet or are local to a function.
        with contextlib.suppress(Exception):
            function.__annotations__ = typing.get_type_hints(function, include_extras=True)


def _needed(function: Callable[..., Any]) -> list[str]:
    """Return the required parameters of a function, without the ``self`` of a method."""
    parts = getattr(function, "__qualname__", "").split(".")
    parameters = list(inspect.signature(function).parameters.values())
    if len(parts) > 1 and parts[-2] != "<locals>":
        parameters = parameters[1:]
    return [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def _function(what: str, raw: Any) -> Any:
    function, _ = unwrap(raw)
    if isinstance(function, type):
        raise InvalidError(
            f"{what}() cannot decorate class {getattr(function, '__name__', 'it')!r}; use it on a method of the class."
        )
    if isinstance(function, Registered):
        raise InvalidError(f"Swap the two decorators: put @app.function() above {what}().")
    if not callable(function):
        raise InvalidError(
            f"{what}() decorates functions, not {type(function).__name__!r} objects."
        )
    return function


def _no_positional(what: str, given: tuple[Any, ...]) -> None:
    if not given:
        return
    if callable(given[0]):
        raise InvalidError(f"Did you forget parentheses? Write {what}() above the def.")
    raise InvalidError(f"The options of {what}(...) are keywords: name them, such as label='...'.")


def _label(label: Any) -> str:
    if label is None:
        return ""
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise InvalidError(
            f"label is {label!r}; use lower-case letters, digits and '-' inside, at most 63 of them."
        )
    return label


def _say_domains(custom_domains: Any) -> None:
    if custom_domains is None:
        return
    plain = isinstance(custom_domains, Sequence) and not isinstance(custom_domains, str)
    if not plain or not all(isinstance(domain, str) for domain in custom_domains):
        raise InvalidError(f"custom_domains is {custom_domains!r}; it must be a list of strings.")
    if custom_domains:
        warnings.warn(
            "Option 'custom_domains' has no effect in nbfn: web endpoints answer on this machine.",
            UserWarning,
            stacklevel=users_level(),
        )
