"""Base class of the routes under ``/nbfn/api/``: checks a request, and answers with JSON.

Every error is a `schema.Problem`. Jupyter Server checks tokens, XSRF and Origin.
"""

from __future__ import annotations

import asyncio
import builtins
import re
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from jupyter_server.base.handlers import APIHandler

from nbfn.exception import (
    ConflictError,
    ConnectionError,
    Error,
    InvalidError,
    NotFoundError,
    TimeoutError,
)
from nbfn.jupyter.server.hub_client import PATIENCE, HubClient
from nbfn.jupyter.server.schema import Body, Problem

T = TypeVar("T")
B = TypeVar("B", bound=Body)

#: The format of ids; other ids are not sent to the hub.
ID = re.compile(r"[a-z]{2}-[0-9A-Za-z]{22}")

#: The most specific class first.
STATUS: list[tuple[type[Error], HTTPStatus]] = [
    (ConflictError, HTTPStatus.CONFLICT),
    (InvalidError, HTTPStatus.BAD_REQUEST),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConnectionError, HTTPStatus.SERVICE_UNAVAILABLE),
    (TimeoutError, HTTPStatus.GATEWAY_TIMEOUT),
    (Error, HTTPStatus.BAD_GATEWAY),
]


class FieldError(InvalidError):
    """Raised when a field of a form is wrong; the page shows the message at this field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Handler(APIHandler):
    """Base class of the routes: access to the hub, and errors as JSON."""

    auth_resource = "nbfn"

    @property
    def hub_client(self) -> HubClient:
        """The server's client of the hub."""
        hub_client: HubClient = self.settings["nbfn_hub_client"]
        return hub_client

    async def answer(self, reply: msgspec.Struct) -> None:
        """Answer with a Struct."""
        self.set_header("Content-Type", "application/json")
        await self.finish(msgspec.json.encode(reply))

    def body(self, kind: type[B]) -> B:
        """Return the body of the request; without a body, its defaults.

        Raises:
            InvalidError: If it is not JSON, or has other fields or values.
        """
        try:
            found = msgspec.json.decode(self.request.body or b"null", type=kind | None)
            return found if found is not None else msgspec.convert({}, kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidError(f"Invalid request: {error}.") from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an nbfn error with its message, any other error as Jupyter Server does."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(error, Error):
            super().write_error(status_code, **kwargs)
            return
        self.set_status(next(status for kind, status in STATUS if isinstance(error, kind)))
        self.set_header("Content-Type", "application/json")
        problem = Problem(message=str(error), field=getattr(error, "field", None))
        self.finish(msgspec.json.encode(problem))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log an nbfn error as one line, any other error with its traceback."""
        if isinstance(value, Error):
            self.log.warning("%s %s: %s", self.request.method, self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


def parse_query(handler: Handler, kind: type[B]) -> B:
    """Return the query of a request.

    Raises:
        InvalidError: If it has other fields or values.
    """
    # JupyterLab adds the time to each request, as a name without a value.
    given = {
        name: values[-1].decode("utf-8", "replace")
        for name, values in handler.request.query_arguments.items()
        if name != "token" and not name.startswith("_") and not name.isdigit()
    }
    try:
        query = msgspec.convert(given, kind, strict=False)
        for field in msgspec.structs.fields(kind):
            value = getattr(query, field.name)
            if isinstance(value, int | float) and not 0 <= value <= 2**53:
                raise msgspec.ValidationError(f"{field.name} must be from 0 to 2**53")
    except msgspec.ValidationError as error:
        raise InvalidError(f"Invalid query: {error}.") from None
    return query


def checked(identifier: str, prefix: str) -> str:
    """Return an id.

    Args:
        identifier: The text in the path of a request.
        prefix: What ids of this kind begin with: fu, fc, wk.

    Raises:
        NotFoundError: If it cannot be an id of this kind.
    """
    if ID.fullmatch(identifier) is None or not identifier.startswith(f"{prefix}-"):
        raise NotFoundError(f"{identifier[:40]!r} is not an id of nbfn.")
    return identifier


async def soon(answer: Awaitable[T], patience: float = PATIENCE) -> T:
    """Return an answer of the hub.

    Raises:
        TimeoutError: If it does not arrive within ``patience`` seconds.
    """
    try:
        async with asyncio.timeout(patience):
            return await answer
    except builtins.TimeoutError:
        raise TimeoutError(f"The nbfn hub has not answered for {patience:.0f} s.") from None
