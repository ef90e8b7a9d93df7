"""Answers queries from the state of the state machine and results of the store; forwards requests for consoles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from nbfn.hub.gateway_process import GatewayProcess
from nbfn.hub.overview_rows import OverviewRows
from nbfn.hub.query_results import StoredCall, StoredGraph, StoredInput
from nbfn.hub.scheduler import call_graph_query, call_state, function_info, status, web_endpoints
from nbfn.hub.scheduler.app_records import Deployment
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call
from nbfn.hub.worker_processes import memory_of
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import InputCounts, end_state
from nbfn.protocol.codec import MOST_OF_ANSWER, fitting
from nbfn.protocol.messages import Message

_A_THIRD = MOST_OF_ANSWER // 3


class Queries:
    """Answers queries of clients.

    Args:
        hub_state: The state of the state machine; it is only read.
        web: The gateway process, which has the URLs of endpoints.
        now: The hub's clock.
        rows: Builds the rows of the overview.
    """

    def __init__(
        self,
        hub_state: HubState,
        web: GatewayProcess,
        now: Callable[[], float],
        rows: OverviewRows,
    ) -> None:
        self._hub_state = hub_state
        self._web = web
        self._now = now
        self._rows = rows
        self._handlers: dict[type[Message], Callable[[Any], Message]] = {
            m.GetOverview: self._overview,
            m.GetStats: self._stats,
            m.Lookup: self._lookup,
            m.LookupId: self._lookup,
            m.GetDefinition: self._definition_of,
            m.LookupEndpoint: self._endpoint,
            m.GetApps: self._apps,
            m.GetHistory: self._history,
            m.Sync: lambda asked: m.Synced(asked.number),
            m.GetEnvironments: self._environments,
            m.GetFailure: self._failure,
        }

    @property
    def message_types(self) -> Iterable[type[Message]]:
        """The types of messages that `answer` takes."""
        return self._handlers

    def answer(self, message: Message) -> Message:
        """Return the answer to a message of one of these types."""
        return self._handlers[type(message)](message)

    def _lookup(self, message: m.Lookup | m.LookupId) -> Message:
        registry = self._hub_state.registry
        version: int | None = 0
        if isinstance(message, m.LookupId):
            version = message.version
            record = registry.functions.get(message.function)
            if record is not None and message.deployment:
                version = registry.pinned(record, message.deployment)
            found = registry.by_id(message.function, version or 0)
        elif message.deployment:
            where = (message.app, message.name, message.environment_name)
            pinned = registry.deployed_as(*where, message.deployment)
            found, version = pinned if not isinstance(pinned, str) else (pinned, 0)
        else:
            found = registry.find(message.app, message.name, message.environment_name)
        if version is None:
            found = f"Version {message.deployment} of the app is not kept."
        if isinstance(found, str):
            return m.Failed(message.request, "not_found", found)
        info = function_info.of(self._hub_state, found, version or found.latest, created=False)
        info = replace(info, deployment=message.deployment)
        return m.Registered(message.request, info)

    def _stats(self, message: m.GetStats) -> Message:
        hub_state = self._hub_state
        record = hub_state.registry.functions.get(message.function)
        if record is None or not record.versions:
            return _unknown(message.request, message.function)
        now = status.counters(hub_state, record)
        return m.Stats(message.request, now.backlog, now.workers, now.running, now.headroom)

    def _definition_of(self, message: m.GetDefinition) -> Message:
        record = self._hub_state.registry.functions.get(message.function)
        if record is None or not record.versions:
            return _unknown(message.request, message.function)
        kept = record.versions.get(message.version)
        definition: Any = kept or record.definition  # only workers receive its variables
        return m.DefinitionTold(message.request, replace(definition, env={}, secrets=()))

    def _endpoint(self, message: m.LookupEndpoint) -> Message:
        found = web_endpoints.find(self._hub_state, message.label)
        if found is None:
            text = f"No web endpoint has the label {message.label!r}."
            return m.Failed(message.request, "not_found", text)
        record, method = found
        info = function_info.of(self._hub_state, record, record.latest, created=False)
        return m.EndpointFound(message.request, info, method)

    def _apps(self, message: m.GetApps) -> Message:
        if missing := self._hub_state.registry.no_environment(message.environment_name):
            return m.Failed(message.request, "not_found", missing)
        rows = status.apps(self._hub_state, message.environment_name)
        return m.Apps(message.request, fitting(rows))

    def _history(self, message: m.GetHistory) -> Message:
        app = self._hub_state.registry.apps.get(message.app_id)
        if app is None:
            return m.Failed(message.request, "not_found", f"No app has the id {message.app_id!r}.")
        kept = sorted(app.deployments.values(), key=lambda d: -d.version)
        return m.History(message.request, fitting(_deployment(made) for made in kept))

    def _environments(self, message: m.GetEnvironments) -> Message:
        found = fitting(m.EnvironmentRow(**row) for row in status.environments(self._hub_state))
        return m.Environments(message.request, found)

    def _failure(self, message: m.GetFailure) -> m.FailureTold:
        found = self._hub_state.timeline.failure(message.call, message.index, message.attempt)
        return m.FailureTold(message.request, None if found is None else m.Payload(found))

    def _overview(self, message: m.GetOverview) -> m.Overview:
        t, rows = self._hub_state, self._rows
        t.now = self._now()
        by_call, by_function = status.running_inputs(t)
        functions = sorted(status.shown_functions(t), key=lambda record: (record.app, record.name))
        calls = [
            *(rows.call(call, by_call[call]) for call in status.shown_calls(t)),
            *(rows.ended_call(call, ended) for call, ended in reversed(t.history)),
        ]
        return m.Overview(
            message.request,
            t.revision,
            replace(rows.hub(), uptime=rows.uptime()),
            fitting((rows.function(f, by_function[f.id]) for f in functions), _A_THIRD),
            fitting(calls, _A_THIRD),
            fitting((rows.worker(w, memory_of(w.pid)) for w in t.workers.values()), _A_THIRD),
        )

    def from_disk(self, stored: StoredCall | StoredGraph | StoredInput) -> Iterator[Message]:
        """Return the messages that answer a query with data from the store."""
        if isinstance(stored, StoredGraph):
            yield self._graph(stored)
        elif isinstance(stored, StoredInput):
            yield _input(stored)
        elif stored.wanted.exists:
            request = stored.wanted.request
            yield (
                m.Done(request) if stored.function else _unknown_call(request, stored.wanted.call)
            )
        else:
            yield from self._call_answer(stored)

    def _call_answer(self, stored: StoredCall) -> Iterator[Message]:
        wanted = stored.wanted
        call = self._hub_state.calls.get(wanted.call)
        state, counts = self._state_of(stored, call)
        if stored.function:
            if stored.outcomes:
                yield m.Outputs(wanted.call, tuple(stored.outcomes))
            info = m.CallInfo(
                wanted.request,
                wanted.call,
                stored.function,
                stored.kind,
                stored.total,
                stored.closed,
                self._name_of(stored.function, stored.method),
                stored.ended,
                stored.expired,
                state,
                counts,
                stored.version,
                stored.created,
                stored.kept_until,
            )
            yield info
        elif call is not None:
            function = call.pool.record
            info = m.CallInfo(
                wanted.request,
                call.id,
                function.id,
                call.kind,
                call.total,
                call.closed,
                function.name,
                state=state,
                counts=counts,
            )
            yield info
        else:
            yield _unknown_call(wanted.request, wanted.call)

    def _state_of(self, stored: StoredCall, call: Call | None) -> tuple[str, InputCounts]:
        """Return the state of a call, and its numbers of inputs in each state."""
        if call is not None:
            running = call_state.running_inputs(self._hub_state, call)
            state = call_state.state_of(self._hub_state, call, running)
            return state, call_state.counts_of(call, running, ended=False)
        counts = stored.counts or InputCounts()
        return end_state(counts), counts

    def _graph(self, stored: StoredGraph) -> Message:
        wanted, hub_state = stored.wanted, self._hub_state
        on_disk = [
            (
                *(x.call, x.index, x.parent, x.status),
                *(self._name_of(x.function, x.method), self._module_of(x.function, x.version)),
                x.worker,
            )
            for x in stored.relatives
        ]
        found = call_graph_query.rows(hub_state, wanted.calls, on_disk)
        if any(row[0] == wanted.call for row in found):
            return m.CallGraph(wanted.request, fitting(m.Relative(*row) for row in found))
        return _unknown_call(wanted.request, wanted.call)

    def _name_of(self, function: str, method: str = "") -> str:
        record = self._hub_state.registry.functions.get(function)
        name = record.name if record is not None else ""
        return f"{name}.{method}" if method else name

    def _module_of(self, function: str, version: int) -> str:
        record = self._hub_state.registry.functions.get(function)
        definition = record.versions.get(version) if record is not None else None
        return definition.module if definition is not None else ""


def _deployment(made: Deployment) -> m.DeploymentRow:
    return m.DeploymentRow(
        made.version, made.at, made.client, made.by, made.commit, made.tag, made.functions
    )


def _input(stored: StoredInput) -> Message:
    wanted = stored.wanted
    if not stored.function:
        return _unknown_call(wanted.request, wanted.call)
    return m.InputTold(
        wanted.request, stored.function, stored.version, stored.method, stored.payload
    )


def _unknown_call(request: int, call: str) -> m.Failed:
    text = f"No call has the id {call!r}; only spawned calls are kept, and for the retention time."
    return m.Failed(request, "not_found", text)


def _unknown(request: int, function: str) -> m.Failed:
    return m.Failed(request, "not_found", f"No function has the id {function!r}.")


# --- consoles ------------------------------------------------------------------------------------


class ConsoleRequests:
    """The pending requests for consoles of workers.

    Args:
        send: Sends a message to a peer.
        connected: The ids of connected peers.
    """

    def __init__(self, send: Callable[[str, Message], None], connected: Container[str]) -> None:
        self._send = send
        self._connected = connected
        self._numbers = itertools.count(1)
        self._requests: dict[int, tuple[str, int, str]] = {}  # (client, its request, worker)

    def attach(self, client: str, message: m.Attach) -> None:
        """Forward a request to its worker."""
        if not message.worker.startswith("wk-") or message.worker not in self._connected:
            text = f"There is no worker {message.worker!r} here now."
            hint = "'nbfn container list' and %session show those that are."
            self._send(client, m.Failed(message.request, "not_found", f"{text} {hint}"))
            return
        number = next(self._numbers)
        self._requests[number] = (client, message.request, message.worker)
        self._send(message.worker, m.OpenConsole(number))

    def handle_opened(self, worker: str, answer: m.ConsoleOpened) -> None:
        """Forward an answer to the client."""
        client, request, expected = self._requests.get(answer.request, ("", 0, ""))
        if not expected or expected != worker:
            return  # there is no such request
        del self._requests[answer.request]
        if answer.error:
            text = f"Worker {worker} could not open a console: {answer.error}"
            self._send(client, m.Failed(request, "execution", text))
        else:
            self._send(client, m.Attached(request, answer.connection_file))

    def lost(self, peer: str) -> None:
        """Fail the requests for a lost worker; drop those of a lost client."""
        for number, (client, request, worker) in list(self._requests.items()):
            if peer in (client, worker):
                del self._requests[number]
            if peer == worker:
                text = f"Worker {worker} ended before it had opened a console."
                self._send(client, m.Failed(request, "not_found", text))
