"""Records the one outcome of each input, and sends outcomes and progress to subscribed clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbfn.hub.scheduler import (
    back_pressure,
    call_state,
    fair_queue,
    input_logs,
    nested_calls,
    payload_cache,
)
from nbfn.hub.scheduler.effects import Discard, PostCallback, SaveOutcomes
from nbfn.hub.scheduler.hub_state import PROGRESS_INTERVAL, HubState
from nbfn.hub.scheduler.models import Call, Input
from nbfn.hub.scheduler.output_audience import listeners
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

#: Seconds that a single call waits before its client receives the reason: a message for every short wait
#: would cost the hub a third of the time of a call.
LONG_WAIT = 1.0

_SUCCESS = int(InputStatus.SUCCESS)


def terminated(item: Input, *, ran: bool = False) -> m.Output:
    """Return the outcome of a cancelled input.

    Args:
        item: The input.
        ran: Whether its current attempt has started.
    """
    ran = ran or bool(item.failures or item.losses or item.crashes)
    fault = m.Fault("remote", f"This call of {item.call.pool.record.name!r} was cancelled.")
    attempt = max(item.attempt, 1) if ran else 0
    return m.Output(item.index, int(InputStatus.TERMINATED), fault=fault, attempt=attempt)


def finish(t: HubState, call: Call, outcomes: Sequence[m.Output]) -> None:
    """Record outcomes of a call's inputs, once each, and send them."""
    if call.durable:
        payload_cache.release(t, call, outcomes)
    new = [outcome for outcome in outcomes if call.inputs.pop(outcome.index, None) is not None]
    if not new:
        return
    _count(call, new)
    if call.id in t.call_graph.nodes:
        t.call_graph.record_outcomes(call.id, [(o.index, o.status, o.worker) for o in new])
    if call.durable:
        t.durable_inputs -= len(new)
        t.emit(SaveOutcomes(call.id, new))
    else:
        call.recent.extend(new)
    if call.kind == "schedule" and call.done > call.succeeded:
        _log_failed_schedule(t, call)
    if not (call.durable or call.released):
        back_pressure.add(t, call, m.outputs_weight(new))
    message = m.Outputs(call.id, tuple(new))
    for client in listeners(t, call):
        t.send(client, message, after_commit=call.durable)
    if call.released and not call.durable:
        for outcome in new:
            t.emit(Discard(outcome.payload))
    _widen_window(t, call)
    report_progress(t, call)
    end_if_done(t, call)


def _count(call: Call, new: Sequence[m.Output]) -> None:
    """Count outcomes by the state in which they leave their inputs."""
    others = [outcome for outcome in new if outcome.status != _SUCCESS]
    call.succeeded += len(new) - len(others)
    if others:
        counts = m.count_outputs(others)
        call.failed += counts.failed
        call.pool.failed += counts.failed
        call.cancelled_inputs += counts.cancelled
        call.not_run += counts.not_run


def _widen_window(t: HubState, call: Call) -> None:
    if not call.closed:
        pool = call.pool
        size = fair_queue.window(
            pool.mean_duration, len(pool.workers), pool.target_at_once * pool.batch
        )
        if size >= 2 * call.window:
            call.window = size
            t.send(call.client, m.Window(call.id, size))


def _log_failed_schedule(t: HubState, call: Call) -> None:
    text = (
        f"The scheduled call of {call.pool.record.name!r} failed: "
        f"FunctionCall.from_id({call.id!r}).get() raises its exception."
    )
    input_logs.system(t, call.pool, text, call=call.id)


def end_if_done(t: HubState, call: Call) -> None:
    """Remove a call that has all its outcomes."""
    if not call.ended or t.calls.get(call.id) is not call:
        return
    del t.calls[call.id]
    client = t.clients.get(call.client)
    if call.watchers:  # watchers take its counters from this
        _send_progress(t, call, after_commit=call.durable)
    if call.durable:
        t.note_ended(call.id, whole=not call.given_up)
    elif call.parent:
        above = t.calls.get(call.parent.partition(":")[0])
        if above is not None and above.children:
            above.children.discard(call.id)
    if client is not None:
        client.calls.discard(call.id)
        if not call.durable:
            nested_calls.lend(t, client, -1)
        if not call.durable and not call.released:
            client.ended.append(call)
    back_pressure.end(t, call)
    if url := call.pool.definition.callback_url:
        t.emit(PostCallback(url, _callback_body(t, call), after_commit=call.durable))
    t.history.append((call, t.now))
    t.touch(call.pool)
    t.changed()


def _callback_body(t: HubState, call: Call) -> dict[str, Any]:
    """Return what the ``callback_url`` of a Function receives about a call that has ended."""
    record = call.pool.record
    counts = call_state.counts_of(call, 0, ended=True)
    return {
        "id": call.id,
        "state": str(call_state.end_state(call)),
        "app": record.app,
        "function": record.name + (f".{call.method}" if call.method else ""),
        "version": call.pool.key[1],
        "kind": call.kind,
        "total": counts.total,
        **{str(state).replace(" ", "_"): count for state, count in counts.items()},
        "seconds": round(t.now - call.created, 3),
    }


def waits_long(t: HubState, call: Call) -> bool:
    """Whether a call has waited so long that its client should receive the reason."""
    return bool(call.pool.waiting_for) and t.now - call.created >= LONG_WAIT


def report_progress(t: HubState, call: Call) -> None:
    """Send progress of a map or generator, at most every `PROGRESS_INTERVAL` seconds; of a single call only
    when it has waited long, and when it starts, or if a client has asked for it.
    """
    if call.progress_due or call.ended:
        return
    asked = call.kind != "remote" or call.watchers or call.progress_sent_at >= 0
    if not asked and not waits_long(t, call):
        return
    if t.now - call.progress_sent_at >= PROGRESS_INTERVAL:
        _report_due(t, call)
    else:
        call.progress_due = True
        t.after(PROGRESS_INTERVAL, _report_due, call)


def _report_due(t: HubState, call: Call) -> None:
    call.progress_due = False
    if t.calls.get(call.id) is not call:
        return
    call.progress_sent_at = t.now
    _send_progress(t, call, after_commit=False)
    t.changed()  # its row has other numbers


def _send_progress(t: HubState, call: Call, *, after_commit: bool) -> None:
    pool = call.pool
    running = call_state.running_inputs(t, call)
    ended = call.ended
    message = m.Progress(
        call.id,
        call_state.end_state(call) if ended else call_state.state_of(t, call, running),
        call_state.counts_of(call, running, ended=ended),
        call.retrying,
        len(pool.workers) - len(pool.binding),
        pool.starting,
        pool.waiting_for,
        0 if pool.key[1] == pool.record.latest else pool.record.latest,
        call_state.is_open(call),
        *_position(call),
    )
    for client in listeners(t, call):
        t.send(client, message, after_commit=after_commit)


def _position(call: Call) -> tuple[int, str, int]:
    """Return a waiting call's place in the queue, or the worker and attempt of its last input."""
    if len(call.inputs) == 1:
        (item,) = call.inputs.values()
        if item.worker is not None:
            return 0, item.worker.id, item.attempt
    return (call.pending.place(call) if not call.leased else 0), "", 0
