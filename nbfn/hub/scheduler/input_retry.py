"""Retries inputs: after a failure, by the Function's retry policy, and after a worker returned them unfinished."""

from __future__ import annotations

from nbfn.hub.scheduler import completion
from nbfn.hub.scheduler.effects import SaveFailures
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Input


def attempts(item: Input) -> int:
    """Return how many attempts the code of an input has."""
    return item.call.pool.definition.retries.max_retries + 1


def retry(t: HubState, item: Input) -> bool:
    """Schedule a retry of a failed input, if the policy of its Function allows one."""
    policy = item.call.pool.definition.retries
    delivered = item.call.kind in (
        "web",
        "generator",
    )  # a part of its results may have been delivered
    once = delivered or item.call.pool.definition.at_most_once
    if once or item.failures >= policy.max_retries:
        return False
    try:
        delay = policy.initial_delay * policy.backoff_coefficient**item.failures
    except OverflowError:
        delay = policy.max_delay if policy.initial_delay else 0.0
    item.failures += 1
    if item.call.durable:
        t.emit(SaveFailures(item.call.id, item.index, item.failures))
    item.call.retrying += 1
    t.after(min(delay, policy.max_delay), _try_again, item)
    completion.report_progress(t, item.call)
    return True


def _try_again(t: HubState, item: Input) -> None:
    item.call.retrying -= 1
    if item.call.inputs.get(item.index) is item and item.worker is None:
        requeue(t, item)


def requeue(t: HubState, item: Input) -> None:
    """Put an input back at the front of its queue; a cancelled one ends."""
    call = item.call
    item.queued = t.now
    if item.cancelled or call.cancelled:
        completion.finish(t, call, [completion.terminated(item)])
    elif item.crashes:
        call.pool.solo.append(item)
    else:
        call.pending.push(item, front=True)
    completion.report_progress(t, call)
    t.touch(call.pool)
