"""The REST routes of the timeline: what workers did when, and the traceback of an attempt that failed."""

from __future__ import annotations

import asyncio
import builtins
import re
from typing import Any, TypeVar

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from nbfn.exception import NotFoundError, TimeoutError
from nbfn.jupyter.server import schema
from nbfn.jupyter.server.hub_client import PATIENCE
from nbfn.jupyter.server.routes import Handler, parse_query
from nbfn.protocol import messages as m

S = TypeVar("S", bound=msgspec.Struct)

_ID = re.compile(r"[0-9A-Za-z_.:-]{0,80}")


class TimelineHandler(Handler):
    """Spans, lanes and summary."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with what the query selects."""
        query = parse_query(self, schema.TimelineQuery)
        for identifier in (query.call, query.function, query.worker):
            check_id(identifier)
        wanted = to_struct(query, m.GetTimeline, request=0)
        client = await self.hub_client.client()
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await client.timeline.aio(wanted)
        except builtins.TimeoutError:
            raise TimeoutError(f"The nbfn hub has not answered for {PATIENCE:.0f} s.") from None
        self.set_header("Content-Type", "application/json")
        await self.finish(msgspec.json.encode(to_struct(answer, schema.TimelinePage)))


class FailureHandler(Handler):
    """The traceback of an attempt."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the text of the traceback."""
        query = parse_query(self, schema.FailureQuery)
        check_id(query.call)
        client = await self.hub_client.client()
        text = await client.failure_text.aio(query.call, query.index, query.attempt)
        await self.finish(msgspec.to_builtins(schema.Failure(traceback=text)))


def check_id(identifier: str) -> None:
    """Raise `NotFoundError` for what cannot be an id."""
    if _ID.fullmatch(identifier) is None:
        raise NotFoundError(f"{identifier[:40]!r} is not an id of nbfn.")


def to_struct(source: Any, kind: type[S], **given: Any) -> S:
    """Return a Struct with the fields of another one that has the same names."""
    found = dict(given)
    for field in msgspec.structs.fields(kind):
        if field.name not in found:
            found[field.name] = _convert(getattr(source, field.name), field.type)
    return kind(**found)


def _convert(value: Any, hint: Any) -> Any:
    kinds = [kind for kind in (hint, *getattr(hint, "__args__", ())) if _is_struct(kind)]
    if not kinds or value is None:
        return value
    if isinstance(value, tuple):
        return tuple([to_struct(each, kinds[0]) for each in value])
    return to_struct(value, kinds[0])


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


TIMELINE_ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/nbfn/api/timeline", TimelineHandler),
    (r"/nbfn/api/timeline/failure", FailureHandler),
]
