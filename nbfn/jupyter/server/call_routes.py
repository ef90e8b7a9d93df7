"""The routes of calls: history, details, inputs, cancellation and retry."""

from __future__ import annotations

from typing import Any

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from nbfn.client.client import Client
from nbfn.jupyter.server import call_errors, schema
from nbfn.jupyter.server.routes import Handler, checked, parse_query, soon
from nbfn.protocol.messages import CallRow, GetCalls, GetInputs, InputRow, Inputs
from nbfn.serialization.plain_preview import preview

#: The most failed inputs whose errors are grouped.
MOST_FAILURES = 1000


class CallsHandler(Handler):
    """The history of calls."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with a page of calls, newest first."""
        query = parse_query(self, schema.CallsQuery)
        wanted = GetCalls(
            request=0,
            states=(query.state,) if query.state else (),
            since=query.since,
            search=query.search,
            limit=query.limit,
            before=query.before,
        )
        client = await self.hub_client.client()
        found = await soon(client.call_history.aio(wanted))
        rows = tuple(_row(call) for call in found.calls)
        await self.answer(schema.CallsPage(now=found.now, calls=rows, next=found.next or None))


class CallHandler(Handler):
    """One call."""

    @web.authenticated
    @authorized
    async def get(self, call_id: str) -> None:
        """Answer with its counts, groups of errors, and the result or traceback of a single input."""
        call = checked(call_id, "fc")
        client = await self.hub_client.client()
        wanted = GetInputs(0, call, ("failed",), limit=MOST_FAILURES)
        found = await soon(client.call_inputs.aio(wanted))
        result = traceback = None
        if found.call.total == 1:
            single = await soon(client.call_inputs.aio(GetInputs(0, call, limit=1)))
            result, traceback = _outcome(single.inputs)
        await self.answer(
            schema.CallDetails(
                now=found.now,
                call=_row(found.call),
                result=result,
                traceback=traceback,
                errors=tuple(call_errors.groups(found.inputs)),
                retriable=_retriable(found),
                waiting_for=found.waiting_for,
                kept_until=found.kept_until,
                is_expired=found.expired,
            )
        )


class InputsHandler(Handler):
    """The inputs of one call."""

    @web.authenticated
    @authorized
    async def get(self, call_id: str) -> None:
        """Answer with a page of inputs, by index."""
        call = checked(call_id, "fc")
        query = parse_query(self, schema.InputsQuery)
        states = (query.state,) if query.state else ()
        client = await self.hub_client.client()
        wanted = GetInputs(0, call, states, query.first, query.limit)
        found = await soon(client.call_inputs.aio(wanted))
        rows = tuple(_input(row) for row in found.inputs)
        await self.answer(schema.InputsPage(inputs=rows, next=found.next))


class CancelHandler(Handler):
    """Cancels a call from outside its notebook."""

    @web.authenticated
    @authorized
    async def post(self, call_id: str) -> None:
        """Cancel queued and running inputs of the call; a session only with ``end_session``."""
        call = checked(call_id, "fc")
        given = self.body(schema.EndRequest)
        client: Client = await self.hub_client.client()
        await soon(client.cancel_call.aio(call, end_session=given.end_session))
        await self.answer(schema.Empty())


class RetryHandler(Handler):
    """Runs inputs without a result again."""

    @web.authenticated
    @authorized
    async def post(self, call_id: str) -> None:
        """Run the inputs again that failed, were cancelled or did not run."""
        call = checked(call_id, "fc")
        client = await self.hub_client.client()
        await self.answer(schema.CallRetried(inputs=await soon(client.retry_call.aio(call))))


def _row(call: CallRow) -> schema.CallRow:
    return msgspec.convert(call, schema.CallRow, from_attributes=True)


def _outcome(inputs: tuple[InputRow, ...]) -> tuple[str | None, str | None]:
    """Return the result and the traceback of an input as text."""
    for row in inputs:
        if row.state == "failed":
            return None, call_errors.traceback_of(row)
        if row.state == "succeeded" and row.payload is not None:
            return preview(row.payload), None
    return None, None


def _retriable(found: Inputs) -> int:
    """Return how many inputs a retry would run."""
    call = found.call
    if call.ended is None or not call.durable or found.expired:
        return 0
    return call.failed + call.cancelled + call.not_run


def _input(row: InputRow) -> schema.InputRow:
    state: Any = row.state
    return schema.InputRow(
        index=row.index,
        state=state,
        attempt=row.attempt,
        worker=row.worker or None,
        duration=row.duration,
        error=call_errors.last_line(row) if row.state == "failed" else None,
    )


ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/nbfn/api/calls", CallsHandler),
    (r"/nbfn/api/calls/([^/]+)", CallHandler),
    (r"/nbfn/api/calls/([^/]+)/inputs", InputsHandler),
    (r"/nbfn/api/calls/([^/]+)/cancel", CancelHandler),
    (r"/nbfn/api/calls/([^/]+)/retry", RetryHandler),
]
