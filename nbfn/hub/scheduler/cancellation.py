"""Cancels inputs: waiting ones end, running ones are interrupted, and so are their child calls."""

from __future__ import annotations

from collections.abc import Sequence

from nbfn.hub.scheduler import completion, sessions, worker_shutdown
from nbfn.hub.scheduler.effects import LoadCall, SaveCancelled, StopWorker
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Input
from nbfn.protocol import messages as m


def call_cancelled(t: HubState, sender: str, message: m.Cancel) -> None:
    """Cancel a call or some of its inputs; does nothing if they have ended."""
    call = t.calls.get(message.call)
    if call is not None:
        if not message.end_session and sessions.refuses(t, sender, message.request, [call]):
            return
        call.failing = call.failing or message.failing
        cancel(t, call, message.indices, terminate=message.terminate)
    if not message.request:
        return
    if call is None and message.call not in t.ended_spawns:  # ended long ago, or unknown
        t.emit(LoadCall(sender, message.request, message.call, exists=True))
    else:
        durable = call is not None and call.durable
        t.send(sender, m.Done(message.request), after_commit=durable)


def cancel(
    t: HubState, call: Call, indices: Sequence[int] | None = None, *, terminate: bool = False
) -> None:
    """End waiting inputs and interrupt running ones.

    Args:
        t: The state of the hub.
        call: The call.
        indices: The inputs to cancel; None for all, including later ones.
        terminate: Whether to kill the workers of running inputs.
    """
    if indices is None:
        if call.durable and not call.cancelled:
            t.emit(SaveCancelled(call.id))
        call.cut_short = call.cut_short or not call.closed
        call.cancelled = True
        # Otherwise its client closes it: until then, more inputs may arrive.
        call.closed = call.closed or call.released
        items = list(call.inputs.values())
        call.pending.drop(call)
    else:
        items = [call.inputs[i] for i in indices if i in call.inputs]
    ended = []
    for item in items:
        if item.worker is not None:
            if _has_company(item) and not terminate:  # the other inputs of the batch continue
                item.detach()
                ended.append(completion.terminated(item, ran=True))
            else:
                _stop_running(t, item, terminate=terminate)
        else:
            if item.crashes and item in call.pool.solo:
                call.pool.solo.remove(item)
            elif indices is not None:
                call.pending.remove(item)
            ended.append(completion.terminated(item))
    _cancel_children(t, call, items)
    completion.finish(t, call, ended)
    completion.end_if_done(t, call)
    t.touch(call.pool)
    t.changed()


def _cancel_children(t: HubState, call: Call, items: Sequence[Input]) -> None:
    """Cancel the child calls that these inputs wait for; spawned calls continue."""
    if not call.children:
        return
    parents = {f"{call.id}:{item.index}" for item in items}
    for name in list(call.children):
        child = t.calls.get(name)
        if child is not None and child.parent in parents and not child.cancelled:
            cancel(t, child)


def _has_company(item: Input) -> bool:
    """Whether an input runs in a batch with others that are not cancelled."""
    if not item.batch or item.worker is None:
        return False
    beside = (other for other in item.worker.leases.values() if other is not item)
    return any(other.batch == item.batch and not other.cancelled for other in beside)


def _stop_running(t: HubState, item: Input, *, terminate: bool) -> None:
    worker = item.worker
    if worker is None:
        return
    if terminate and not worker.stopping:
        item.cancelled = worker.stopping = True
        if worker.pool is not None:
            worker.pool.ready.pop(worker.id, None)
        t.emit(StopWorker(worker.id, 0.0))
    else:
        worker_shutdown.interrupt(t, item)
