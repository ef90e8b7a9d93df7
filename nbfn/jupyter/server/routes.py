"""The REST routes under ``/nbfn/api/``: check a request, pass it to the hub, answer with JSON.

Every error is ``{"message": one sentence}``. Jupyter Server checks tokens, XSRF and Origin.
"""

from __future__ import annotations

import dataclasses
import json
import re
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from nbfn.declarations.pool_settings import check_pool_setting
from nbfn.exception import (
    ConflictError,
    ConnectionError,
    Error,
    InvalidError,
    NotFoundError,
    TimeoutError,
)
from nbfn.jupyter.server.hub_client import HubClient
from nbfn.jupyter.server.schema import EndRequest

T = TypeVar("T")

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


class Autoscaler(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Body of a change of the autoscaler; settings that it omits are not changed."""

    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: float | None = None


class Handler(APIHandler):
    """Base class of the routes: access to the hub, and errors as JSON."""

    auth_resource = "nbfn"

    @property
    def hub_client(self) -> HubClient:
        """The server's client of the hub."""
        hub_client: HubClient = self.settings["nbfn_hub_client"]
        return hub_client

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an nbfn error with its message, any other error as Jupyter Server does."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(error, Error):
            super().write_error(status_code, **kwargs)
            return
        self.set_status(next(status for kind, status in STATUS if isinstance(error, kind)))
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"message": str(error)}))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log an nbfn error as one line, any other error with its traceback."""
        if isinstance(value, Error):
            self.log.warning("%s %s: %s", self.request.method, self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


class OverviewHandler(Handler):
    """The data of the sidebar; also answers when there is no hub."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the state of the connection, and the last overview if there is one."""
        await self.hub_client.overview()
        await self.finish(msgspec.json.encode(self.hub_client.mirror.reply()))


class AutoscalerHandler(Handler):
    """The autoscaler of one Function."""

    @web.authenticated
    @authorized
    async def patch(self, function_id: str) -> None:
        """Change the settings that the body contains; answer with all settings."""
        settings = _parse(self.request.body)
        client = await self.hub_client.client()
        now = await client.set_autoscaler.aio(_checked(function_id), **settings)
        await self.finish(dataclasses.asdict(now))


class CancelHandler(Handler):
    """Cancels a call from outside its notebook."""

    @web.authenticated
    @authorized
    async def post(self, call_id: str) -> None:
        """Cancel queued and running inputs of the call; a session only with ``end_session``."""
        call = _checked(call_id)
        given = _decoded(self.request.body, EndRequest)
        client = await self.hub_client.client()
        await client.cancel_call.aio(call, end_session=given.end_session)
        await self.finish({})


class StartHandler(Handler):
    """The embedded hub."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Start the hub if none runs."""
        await self.hub_client.client(start=True)
        await self.finish({})


def _checked(identifier: str) -> str:
    if ID.fullmatch(identifier) is None:
        raise NotFoundError(f"{identifier[:40]!r} is not an id of nbfn.")
    return identifier


def _decoded(body: bytes, kind: type[T]) -> T:
    """Return a body as this type; without a body, its defaults."""
    try:
        return msgspec.json.decode(body or b"null", type=kind | None) or kind()
    except msgspec.DecodeError as error:  # also ValidationError
        raise InvalidError(f"Invalid request: {error}.") from None


def _parse(body: bytes) -> dict[str, Any]:
    try:
        autoscaler = msgspec.json.decode(body, type=Autoscaler)
    except msgspec.DecodeError as error:  # also ValidationError
        raise InvalidError(f"Invalid autoscaler settings: {error}.") from None
    settings: dict[str, Any] = msgspec.to_builtins(autoscaler)
    if not settings:
        raise InvalidError("Name at least one autoscaler setting to change.")
    for name, value in settings.items():
        check_pool_setting(name, value)
    return settings


ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/nbfn/api/overview", OverviewHandler),
    (r"/nbfn/api/functions/([^/]+)/autoscaler", AutoscalerHandler),
    (r"/nbfn/api/calls/([^/]+)/cancel", CancelHandler),
    (r"/nbfn/api/hub/start", StartHandler),
]
