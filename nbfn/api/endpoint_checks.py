"""Checks the options of web endpoints, and the errors for using one like other Functions."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence

from nbfn.declarations.options import Endpoint, Options
from nbfn.exception import InvalidError
from nbfn.runtime.traceback_filter import users_level


def checked(name: str, options: Options) -> Options:
    """Check the options of a Function that may be a web endpoint, and return them with implied changes.

    Raises:
        InvalidError: If a web endpoint cannot have one of them.
    """
    endpoint = options.endpoint
    if endpoint is None:
        return options
    if options.batching is not None:
        raise InvalidError(f"{name!r} cannot be both batched and a web endpoint.")
    if options.schedule is not None:
        raise InvalidError(f"{name!r} cannot be both scheduled and a web endpoint.")
    return _with_room(name, options, [endpoint])


def checked_class(name: str, options: Options, endpoints: Iterable[Endpoint | None]) -> Options:
    """Return the options of a class with the changes that the endpoints of its methods imply."""
    return _with_room(name, options, [endpoint for endpoint in endpoints if endpoint is not None])


def _with_room(name: str, options: Options, endpoints: Sequence[Endpoint]) -> Options:
    port = next((endpoint.port for endpoint in endpoints if endpoint.kind == "server"), 0)
    if not port:
        return options
    if max(options.max_containers or 1, options.min_containers or 1) > 1:
        warnings.warn(
            f"{name!r} listens on port {port}, which only one process of a machine can use: it has one worker.",
            UserWarning,
            stacklevel=users_level(),
        )
    least = options.min_containers and 1
    return dataclasses.replace(
        options, min_containers=least, max_containers=1, buffer_containers=None
    )


def not_called(name: str, url: str | None, how: str) -> InvalidError:
    """Return the error for a web endpoint that is called with a method of Functions."""
    where = f"its URL, {url}," if url else "its URL"
    return InvalidError(
        f"{name!r} is a web endpoint and cannot be invoked with .{how}(...). "
        f"Send a request to {where} or run it here with .local(...)."
    )


def no_variants(name: str) -> InvalidError:
    """Return the error for a variant of a web endpoint, which would never get requests."""
    return InvalidError(
        f"{name!r} is a web endpoint and has no variants: requests come to its one URL. "
        "Give these options to the decorator, or make another Function of the same code."
    )
