"""The decorators that make a function, or a method of a class, a web endpoint.

This imports no web framework; the worker does when it loads the function.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import typing
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

from nbfn.api.method_decorators import Decorated
from nbfn.declarations.options import LONGEST_TIMEOUT, Endpoint, check_flag
from nbfn.declarations.partial_function import add_options, unwrap
from nbfn.declarations.registered import Registered
from nbfn.declarations.retries import is_int, is_number
from nbfn.exception import InvalidError
from nbfn.runtime.traceback_filter import trimmed, users_level

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE")
#: A valid label, which is part of a URL.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

P = ParamSpec("P")
R = TypeVar("R")


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
    if custom_domains is not None and (
        isinstance(custom_domains, str)
        or not isinstance(custom_domains, Sequence)
        or not all(isinstance(domain, str) for domain in custom_domains)
    ):
        raise InvalidError(f"custom_domains is {custom_domains!r}; it must be a list of strings.")
    if custom_domains:
        warnings.warn(
            "Option 'custom_domains' has no effect in nbfn: web endpoints answer on this machine.",
            UserWarning,
            stacklevel=users_level(),
        )
