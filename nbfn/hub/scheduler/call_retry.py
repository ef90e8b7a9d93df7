"""Retries inputs of ended durable calls that failed, were cancelled or did not run; the new outcomes replace theirs."""

from __future__ import annotations

from nbfn.hub.scheduler import calls, completion, pool_scaling, spawn_limits
from nbfn.hub.scheduler.effects import LoadFailures, SaveRetry
from nbfn.hub.scheduler.events import CallRestored, FailuresLoaded
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call
from nbfn.protocol import messages as m


def retry_requested(t: HubState, sender: str, message: m.RetryCall) -> None:
    """Load the failed inputs from the store, unless the call still runs."""
    call = t.calls.get(message.call)
    if call is None:
        t.emit(LoadFailures(sender, message.request, message.call, message.token))
    elif call.retried[0] == message.token:  # a repeated request: the answer was lost
        t.send(sender, m.CallRetried(message.request, call.retried[1]), after_commit=True)
    else:
        text = (
            f"Call {message.call} still runs ({call.done:,} of {call.total:,} inputs have ended). "
            "Retry it when it has ended, or cancel it first."
        )
        t.send(sender, m.Failed(message.request, "conflict", text))


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
    if problem := calls.no_method(record, record.latest, found.method):
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
    ended = [entry for entry in t.history if entry[0].id != call.id]
    t.history.clear()
    t.history.extend(ended)
    t.call_graph.reopen(call.id, indices)
    if call.parent:
        calls.add_to_call_graph(t, call)
    t.emit(SaveRetry(call.id, record.latest, indices, event.token))
    t.send(event.client, m.CallRetried(event.request, len(indices)), after_commit=True)
    calls.put_inputs(t, call, calls.restored_inputs(call, found, t.now), closed=True, resent=False)
    call.next_index = max(call.next_index, found.total)
    completion.report_progress(t, call)
    t.changed()
