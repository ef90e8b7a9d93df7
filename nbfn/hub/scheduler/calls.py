"""Handles clients' messages about calls and inputs, and restores durable calls after a restart of the hub."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence

from nbfn.hub.scheduler import (
    back_pressure,
    call_graph_query,
    cancellation,
    clients,
    completion,
    input_logs,
    nested_calls,
    output,
    payload_cache,
    pool_scaling,
    spawn_limits,
    worker_failures,
    worker_recovery,
)
from nbfn.hub.scheduler.call_graph import CallNode
from nbfn.hub.scheduler.effects import (
    LoadCall,
    LoadFailures,
    LoadInput,
    SaveCall,
    SaveOutcomes,
    SaveRetry,
)
from nbfn.hub.scheduler.events import CallRestored, FailuresLoaded
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Input, Pool
from nbfn.hub.scheduler.payloads import weight, weights
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.protocol import messages as m
from nbfn.types import LOAD_METHOD, InputStatus

#: Seconds after a hub's start in which resent inputs wait for a worker that may still run them.
ADOPTION_GRACE = 1.5


def call_put(t: HubState, sender: str, message: m.PutCall) -> None:
    """Start a call; for a resent one only redeliver outcomes that the client may have missed."""
    if not _ascending(message.inputs):
        t.send(sender, _disordered(message.call))
        return
    call = t.calls.get(message.call) or _ended(t, sender, message)
    client = t.clients.get(sender)
    if call is not None:
        if _is_from(call, sender):
            _resume(t, call, sender, message)
        else:
            text = f"Another client has made a call with the id {call.id!r}."
            t.send(sender, m.CallRefused(call.id, "invalid", text))
        return
    if message.durable and (whole := t.ended_spawns.get(message.call)) is not None:
        answer = m.Accepted(message.call) if whole else _given_up(message.call)
        t.send(sender, answer, after_commit=whole)
        return
    if client is None and not message.durable:
        return  # the worker whose code made it has ended, so it has no consumer
    _put_new(t, sender, message)


def _put_new(t: HubState, sender: str, message: m.PutCall) -> None:
    """Start a new call, or refuse it."""
    record = t.registry.functions.get(message.function)
    deployment = message.deployment or _deployment_around(t, sender, record)
    version = message.version
    if record is not None and deployment and not version:
        version = t.registry.pinned(record, deployment) or 0
    problem = t.registry.refusal(record, version)
    if record is not None and not problem:
        version = version or record.latest
        problem = no_method(record, version, message.method)
    if record is None or problem:
        t.send(sender, m.CallRefused(message.call, "not_found", problem))
        return
    if message.durable and (problem := spawn_limits.refusal(t, payloads(message.inputs))):
        t.send(sender, m.CallRefused(message.call, "resource_exhausted", problem))
        if message.kind == "schedule":  # no client receives the refusal
            text = f"The scheduled call of {record.name!r} did not begin: {problem}"
            input_logs.system(t, pool_scaling.pool_of(t, record, version), text)
        return
    _begin(t, sender, message, pool_scaling.pool_of(t, record, version), deployment)


def _begin(t: HubState, sender: str, message: m.PutCall, pool: Pool, deployment: int) -> None:
    call = Call(message.call, sender, pool, message.kind, t.now - message.age)
    pool.called = t.now
    call.count_settled(message.settled)
    call.deployment = deployment
    call.durable = message.durable
    call.unattended = message.durable or message.unattended
    call.expected = message.total
    call.parent, call.method = message.parent, message.method
    call.levels = message.levels
    call.notify = message.notify
    if message.again:
        t.forget_ended(call.id, sender)
    t.calls[call.id] = call
    if (client := t.clients.get(sender)) is not None:
        call.origin = client.origin
        client.calls.add(call.id)
        if not call.durable:
            nested_calls.lend(t, client, 1)
    if call.parent:
        add_to_call_graph(t, call)
    if call.durable:
        spawn_limits.reserve(t, payloads(message.inputs))
        t.emit(saved(call, message.inputs, closed=message.closed))
        t.send(
            sender,
            m.Accepted(call.id, _next_index(message.inputs), message.closed),
            after_commit=True,
        )
    new = _new_inputs(call, message.inputs, t.now)
    put_inputs(t, call, new, closed=message.closed, resent=message.resent)
    if pool.binding and not pool.ready:
        output.show_loading(t, pool)
    t.changed()


def _resume(t: HubState, call: Call, sender: str, message: m.PutCall) -> None:
    """Handle a resent call, after the client lost its connection or the hub was restarted."""
    if call.given_up:
        t.send(sender, _given_up(call.id))
        return
    if call.durable and not call.client:  # restored, and its client has not sent all inputs
        call.client = sender
        if (client := t.clients.get(sender)) is not None:
            client.calls.add(call.id)
    back_pressure.forget(t, call)  # outcomes that did not arrive are sent again
    _add(t, call, message.inputs, closed=message.closed, resent=True)
    if message.durable:
        t.send(sender, m.Accepted(call.id, call.next_index, call.closed), after_commit=True)


def _is_from(call: Call, client: str) -> bool:
    """Whether a call belongs to a client; a restored call belongs to the client that resends it."""
    return call.client in (client, "")


def _ascending(inputs: Sequence[m.NewInput]) -> bool:
    """Return whether the indices are strictly ascending, so that none is repeated."""
    if len(inputs) < 2:
        return True
    indices = [entry.index for entry in inputs]
    return all(map(operator.lt, indices, itertools.islice(indices, 1, None)))


def _disordered(call: str) -> m.CallRefused:
    return m.CallRefused(call, "invalid", "The inputs of this call are not in ascending order.")


def _given_up(call: str) -> m.CallRefused:
    text = (
        "This call was cancelled: its client was disconnected too long before all inputs were stored "
        "(setting client_grace)."
    )
    return m.CallRefused(call, "connection", text)


def _next_index(inputs: Sequence[m.NewInput]) -> int:
    return inputs[-1].index + 1 if inputs else 0


def add_to_call_graph(t: HubState, call: Call) -> None:
    """Add a call to the call graph and to the children of the call whose code made it."""
    above = t.calls.get(call.parent.partition(":")[0])
    if above is not None:
        call.origin = call.origin or above.origin
        if not call.durable:
            above.children = above.children or set()
            above.children.add(call.id)
        t.call_graph.add(_node(above))
    t.call_graph.add(_node(call))


def _node(call: Call) -> CallNode:
    return CallNode(
        call.id, call.parent, call_graph_query.name_of(call), call.pool.definition.module
    )


def no_method(record: FunctionRecord, version: int, method: str) -> str:
    """Return why a method cannot be called, or ""."""
    if method == LOAD_METHOD:
        return ""
    definition = record.versions[version]
    if definition.kind != "cls":
        return f"{record.name!r} is a function; it has no method {method!r}." if method else ""
    if any(known.name == method for known in definition.methods):
        return ""
    names = ", ".join(known.name for known in definition.methods) or "none"
    what = f"it has no method {method!r}" if method else "call one of its methods"
    return f"{record.name!r} is a class; {what} (there are: {names})."


def _deployment_around(t: HubState, client: str, record: FunctionRecord | None) -> int:
    """Return the deployment that a call from inside a worker uses, for calls within the same App."""
    caller = t.clients.get(client)
    worker = t.workers.get(caller.worker) if caller is not None else None
    if worker is None or record is None:
        return 0
    calls = (item.call for item in worker.leases.values())
    return next(
        (c.deployment for c in calls if c.deployment and c.pool.record.app_id == record.app_id), 0
    )


def _ended(t: HubState, sender: str, message: m.PutCall) -> Call | None:
    client = t.clients.get(sender)
    if client is None or not message.resent:
        return None
    return next((call for call in client.ended if call.id == message.call), None)


def inputs_put(t: HubState, sender: str, message: m.PutInputs) -> None:
    """Add inputs to an open call. Inputs for a call that has ended, and inputs from another client, are dropped."""
    if not _ascending(message.inputs):
        t.send(sender, _disordered(message.call))
        return
    call = t.calls.get(message.call)
    if call is not None:
        if not _is_from(call, sender):
            return
        _add(t, call, message.inputs, closed=message.closed, resent=message.resent)
        if call.durable and not call.given_up:
            t.send(sender, m.Accepted(call.id, call.next_index, call.closed), after_commit=True)
    elif message.call in t.ended_spawns:
        t.send(sender, m.Accepted(message.call), after_commit=True)


def _add(
    t: HubState, call: Call, inputs: Sequence[m.NewInput], *, closed: bool, resent: bool
) -> None:
    """Add inputs to a call: of resent ones only new ones, and none after the call is closed."""
    if resent:
        inputs = _only_new(t, call, inputs)
    elif inputs and inputs[0].index < call.next_index:
        # Sent on a connection that broke, but read after they were resent on the next one.
        inputs = [entry for entry in inputs if entry.index >= call.next_index]
    if call.closed or call.released:
        inputs = ()
    if call.durable and inputs and (problem := spawn_limits.refusal(t, payloads(inputs))):
        t.send(call.client, m.CallRefused(call.id, "resource_exhausted", problem))
        clients.give_up(t, call)
        return
    if call.durable and (inputs or (closed and not call.closed)):
        spawn_limits.reserve(t, payloads(inputs))
        t.emit(saved(call, inputs, closed=closed))
    put_inputs(t, call, _new_inputs(call, inputs, t.now), closed=closed, resent=resent)


def saved(call: Call, inputs: Sequence[m.NewInput], *, closed: bool) -> SaveCall:
    """Return the effect that stores a durable call with these inputs."""
    source = (call.parent, call.method, call.origin)
    size = spawn_limits.size(payloads(inputs))
    return SaveCall(call.id, *call.pool.key, call.kind, inputs, *source, closed=closed, size=size)


def payloads(inputs: Sequence[m.NewInput]) -> list[m.Payload]:
    """Return the payloads of inputs."""
    return [entry.payload for entry in inputs]


def _new_inputs(call: Call, inputs: Sequence[m.NewInput], now: float) -> list[Input]:
    sizes = weights(payloads(inputs))
    return [
        Input(call, entry.index, entry.payload, size, now)
        for entry, size in zip(inputs, sizes, strict=True)
    ]


def restored_inputs(call: Call, event: CallRestored, now: float) -> list[Input]:
    """Return the stored inputs of a call."""
    return [Input(call, index, payload, weight(payload), now) for index, payload in event.inputs]


def put_inputs(t: HubState, call: Call, new: list[Input], *, closed: bool, resent: bool) -> None:
    """Queue new inputs; after a restart, resent ones first wait for a worker that may still run them."""
    if call.durable:
        payload_cache.admit(t, new)
    for item in new:
        call.inputs[item.index] = item
    if new:
        call.next_index = max(call.next_index, new[-1].index + 1)
    call.total += len(new)
    t.durable_inputs += len(new) if call.durable else 0
    call.closed = call.closed or closed
    if resent and t.started_at is not None and t.now - t.started_at < ADOPTION_GRACE:
        if new:
            t.unclaimed.setdefault(call.pool, set()).update(new)
            t.after(ADOPTION_GRACE, _queue_unclaimed, new)
            worker_recovery.settle_claims(t, new)
    elif call.cancelled:
        completion.finish(t, call, [completion.terminated(item) for item in new])
    else:
        call.pending.extend(call, worker_failures.fail_started_inputs(t, call, new))
        t.touch(call.pool)
    completion.end_if_done(t, call)
    completion.report_progress(t, call)


def _only_new(t: HubState, call: Call, inputs: Sequence[m.NewInput]) -> list[m.NewInput]:
    """Redeliver outcomes of resent inputs; return the inputs that had not arrived.

    Inputs are sent in order, so new ones have higher indices.
    """
    asked = {entry.index for entry in inputs}
    again = [outcome for outcome in call.recent if outcome.index in asked]
    if again:
        back_pressure.add(t, call, m.outputs_weight(again))
        t.send(call.client, m.Outputs(call.id, tuple(again)))
    return [entry for entry in inputs if entry.index >= call.next_index]


def _queue_unclaimed(t: HubState, items: list[Input]) -> None:
    for item in items:
        if not worker_recovery.settled(t, item) or item.call.inputs.get(item.index) is not item:
            continue
        if item.call.cancelled:
            completion.finish(t, item.call, [completion.terminated(item)])
        else:
            for ready in worker_failures.fail_started_inputs(t, item.call, [item]):
                item.call.pending.push(ready)
        t.touch(item.call.pool)


def call_restored(t: HubState, event: CallRestored) -> None:
    """Restore a durable call of the previous hub; inputs that cannot be read or run fail."""
    record = t.registry.functions.get(event.function)
    if record is None or event.version not in record.versions:
        _cannot_run(t, event)
        return
    pool = pool_scaling.pool_of(t, record, event.version)
    call = Call(event.call, "", pool, event.kind, t.now - event.age)
    call.durable, call.closed, call.cancelled = True, event.closed, event.cancelled
    call.unattended = True
    call.count_settled(event.settled)  # the other inputs are added below
    call.parent, call.method, call.origin = event.parent, event.method, event.origin
    call.retried = event.retried
    t.calls[call.id] = call
    if call.parent:
        add_to_call_graph(t, call)
    put_inputs(t, call, restored_inputs(call, event, t.now), closed=event.closed, resent=True)
    for index, failures in event.failures.items():
        call.inputs[index].failures = failures
    call.next_index = max(call.next_index, event.total)  # inputs with an outcome count, too
    lost = [index for index, payload in event.inputs if payload is None]
    text = f"The arguments of this input of call {call.id} cannot be read from the hub's database."
    completion.finish(t, call, [_data_loss(index, text) for index in lost])
    if not call.closed:
        t.after(t.limits.client_grace, _give_up_if_incomplete, call)


def _cannot_run(t: HubState, event: CallRestored) -> None:
    """End a call whose Function cannot be read from the store."""
    text = (
        f"The function of call {event.call} cannot be read from the hub's database, so its inputs cannot run. "
        "Deploy the function, or run its cell, and spawn again."
    )
    lost = [_data_loss(index, text) for index, _ in event.inputs]
    if not event.closed:
        source = (event.parent, event.method, event.origin)
        t.emit(SaveCall(event.call, event.function, event.version, event.kind, (), *source))
    t.emit(SaveOutcomes(event.call, lost))
    t.note_ended(event.call)


def _data_loss(index: int, text: str) -> m.Output:
    return m.Output(index, int(InputStatus.INTERNAL_FAILURE), None, m.Fault("data_loss", text))


def _give_up_if_incomplete(t: HubState, call: Call) -> None:
    """Give up a restored call whose client did not send the remaining inputs."""
    if not call.closed and not call.client:
        clients.give_up(t, call)


def call_watched(t: HubState, sender: str, message: m.Watch) -> None:
    """Subscribe a client to a call; the store adds earlier outcomes."""
    call = t.calls.get(message.call)
    if call is not None and message.follow:
        call.watchers.add(sender)
        completion.report_progress(t, call)
    t.emit(LoadCall(sender, message.request, message.call, message.start, message.end))


def input_requested(t: HubState, sender: str, message: m.GetInput) -> None:
    """Load the arguments of an input from the store."""
    t.emit(LoadInput(sender, message.request, message.call, message.index))


def items_requested(t: HubState, sender: str, message: m.TakeItems) -> None:
    """Forward to the worker that the consumer of a generator takes more items."""
    call = t.calls.get(message.call)
    item = call.inputs.get(message.index) if call is not None else None
    if item is not None and item.worker is not None:
        t.send(item.worker.id, m.ItemsTaken(item.lease, message.upto))


def input_fed(t: HubState, sender: str, message: m.FeedInput) -> None:
    """Forward a part of the stream that an input reads to its worker.

    An empty part means that the HTTP client is gone: a waiting input is then cancelled.
    """
    call = t.calls.get(message.call)
    item = call.inputs.get(message.index) if call is not None else None
    if call is None or item is None:
        return
    if item.worker is not None:
        t.send(item.worker.id, m.Fed(item.lease, message.data))
    elif not message.data:
        cancellation.cancel(t, call, [message.index])


# --- calls again ---------------------------------------------------------------------------------


def retry_requested(t: HubState, sender: str, message: m.RetryCall) -> None:
    """Load the failed inputs from the store, unless the call still runs."""
    call = t.calls.get(message.call)
    if call is None and (ended := _ended_map(t, message.call)) is not None:
        _ask_client(t, sender, message, ended)
    elif call is None:
        t.emit(LoadFailures(sender, message.request, message.call, message.token))
    elif call.retried[0] == message.token:  # a repeated request: the answer was lost
        t.send(sender, m.CallRetried(message.request, call.retried[1]), after_commit=True)
    else:
        text = (
            f"Call {message.call} still runs ({call.done:,} of {call.total:,} inputs have ended). "
            "Retry it when it has ended, or cancel it first."
        )
        t.send(sender, m.Failed(message.request, "conflict", text))


def _ended_map(t: HubState, call_id: str) -> Call | None:
    found = (call for call, _ in reversed(t.history) if call.id == call_id)
    return next((call for call in found if call.kind == "map" and not call.durable), None)


def _ask_client(t: HubState, sender: str, message: m.RetryCall, call: Call) -> None:
    """Have the client of an ended map run its inputs again: only it has them."""
    client = t.clients.get(call.client)
    if client is None or not client.connected:
        text = f"Map {call.id} cannot be retried: the process that made it has ended, and only it has the inputs."
        t.send(sender, m.Failed(message.request, "not_found", text))
        return
    number = t.new_lease()
    t.asked_retries[number] = (client.id, sender, message.request)
    t.send(client.id, m.RetryWanted(call.id, number))


def retry_taken(t: HubState, sender: str, message: m.RetryTaken) -> None:
    """Forward the answer of the client that made a map."""
    client, asker, request = t.asked_retries.get(message.number, ("", "", 0))
    if client != sender:
        return
    del t.asked_retries[message.number]
    if message.problem:
        t.send(asker, m.Failed(request, "invalid", message.problem))
    else:
        t.send(asker, m.CallRetried(request, message.count))


def call_detached(t: HubState, sender: str, message: m.Detach) -> None:
    """Note that no process waits for a map any more."""
    call = t.calls.get(message.call)
    if call is not None and call.client == sender:
        call.detached = True
        completion.report_progress(t, call)
        t.changed()


def failures_loaded(t: HubState, event: FailuresLoaded) -> None:
    """Restart a call with its failed inputs, or refuse that."""
    found = event.found
    if event.call in t.calls:  # another request has restarted it
        retry_requested(t, event.client, m.RetryCall(event.request, event.call, event.token))
        return
    if found is not None and found.retried[0] == event.token:
        # A repeated request, and the call has ended since.
        t.send(event.client, m.CallRetried(event.request, found.retried[1]))
        return
    code, problem = _refusal(t, event)
    if found is None or problem:
        t.send(event.client, m.Failed(event.request, code, problem))
        return
    _restart(t, event, found)


def _refusal(t: HubState, event: FailuresLoaded) -> tuple[str, str]:
    """Return the code and the reason why a call cannot be retried, or ""."""
    found, name = event.found, event.call
    if found is None:
        return "not_found", (
            f"No call has the id {name!r}; only spawned calls are kept, and for the retention time."
        )
    if event.expired:
        return "output_expired", (
            f"The arguments and results of call {name} have expired and were deleted (setting retention)."
        )
    if not found.inputs:
        if left := found.settled.unsuccessful:
            kept = f"the arguments of its {left:,} inputs without a result were not kept"
            return "invalid", f"Call {name} cannot be retried: {kept}."
        return "invalid", f"All inputs of call {name} succeeded."
    record = t.registry.functions.get(found.function)
    if problem := t.registry.refusal(record, 0):
        return "not_found", problem
    assert record is not None
    if problem := no_method(record, record.latest, found.method):
        return "not_found", problem
    return "resource_exhausted", spawn_limits.refusal(t, [payload for _, payload in found.inputs])


def _restart(t: HubState, event: FailuresLoaded, found: CallRestored) -> None:
    record = t.registry.functions[found.function]
    indices = [index for index, _ in found.inputs]
    pool = pool_scaling.pool_of(t, record, record.latest)
    pool.called = t.now
    call = Call(found.call, "", pool, found.kind, t.now)
    call.durable = True
    call.parent, call.method, call.origin = found.parent, found.method, found.origin
    call.retried = (event.token, len(indices))
    call.count_settled(found.settled)  # the inputs that run again are added below
    call.watchers.add(event.client)
    t.calls[call.id] = call
    t.ended_spawns.pop(call.id, None)
    t.started_inputs.difference_update((call.id, index) for index in indices)
    t.forget_ended(call.id)
    t.call_graph.reopen(call.id, indices)
    if call.parent:
        add_to_call_graph(t, call)
    t.emit(SaveRetry(call.id, record.latest, indices, event.token))
    t.send(event.client, m.CallRetried(event.request, len(indices)), after_commit=True)
    put_inputs(t, call, restored_inputs(call, found, t.now), closed=True, resent=False)
    call.next_index = max(call.next_index, found.total)
    completion.report_progress(t, call)
    t.changed()
