"""Retries or fails the inputs of a worker that is gone.

A lost worker counts against `MAX_LOSSES` of its inputs; a worker that died while running an input counts
against `CRASH_BUDGET` (docs/guarantees.md, P4, P5).
"""

from __future__ import annotations

from nbfn.hub.scheduler import call_state, completion, exit_reasons, input_logs, input_retry, spans
from nbfn.hub.scheduler.events import WorkerExited
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Input, Pool, Worker
from nbfn.hub.scheduler.output_audience import listeners
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

#: Retries of an input whose worker was lost for other reasons (as many as in Modal).
MAX_LOSSES = 8
#: Retries of an input whose worker died while running it.
CRASH_BUDGET = 1


def release_all(t: HubState, worker: Worker, why: str, *, count: bool = True) -> None:
    """Take the inputs of a worker away, which did not cause its end, and retry them."""
    for item in reversed(list(worker.leases.values())):
        item.detach()
        _requeue_or_fail(t, item, why, count=count and not t.closing)


def worker_ended(t: HubState, worker: Worker, signal: int) -> None:
    """Handle a worker that shut down normally with unfinished inputs.

    A signal that the hub did not send counts against the inputs, because they may have sent it. Otherwise, for
    example after the hub stopped the worker, it does not count.
    """
    charged = bool(signal) and not worker.stopping and not t.closing
    why = exit_reasons.shut_down_by(signal) if signal else "it ended"
    spans.add_lost(t, worker, call_state.running_at(worker))
    if charged:
        for item in worker.leases.values():
            input_logs.system(
                t, item.call.pool, f"Worker {worker.id} was {why}.", worker=worker.id, item=item
            )
            if item.losses < MAX_LOSSES and not item.call.pool.definition.at_most_once:
                _report_retry(t, item, worker, f"its worker was {why}", "follows")
    release_all(t, worker, why, count=charged)


def fail_started_inputs(t: HubState, call: Call, items: list[Input]) -> list[Input]:
    """Fail inputs with `at_most_once` that started under the previous hub; return the others."""
    if not t.started_inputs or not call.pool.definition.at_most_once:
        return items
    lost = [item for item in items if (call.id, item.index) in t.started_inputs]
    for item in lost:
        _give_up(t, item, "the hub was restarted")
    return [item for item in items if item not in lost]


def _give_up(t: HubState, item: Input, why: str) -> None:
    """Fail an input that may have run and must not run again."""
    message = (
        f"Input {item.index} of {item.call.pool.record.name!r} had begun when its worker was lost ({why}). "
        "It may have run to its end, and it does not run again: at_most_once."
    )
    fault = m.Fault("worker_lost", message)
    status = int(InputStatus.INTERNAL_FAILURE)
    completion.finish(t, item.call, [m.Output(item.index, status, fault=fault)])


def _requeue_or_fail(t: HubState, item: Input, why: str, *, count: bool) -> None:
    if item.call.pool.definition.at_most_once:
        _give_up(t, item, why)
        return
    item.losses += count
    if item.losses <= MAX_LOSSES:
        input_retry.requeue(t, item)
        return
    name = item.call.pool.record.name
    message = (
        f"Input {item.index} of {name!r} lost its worker {item.losses} times (the last one: {why}), "
        "and does not run again. If its own code ends or stops the process, change that."
    )
    status = int(InputStatus.INTERNAL_FAILURE)
    fault = m.Fault("internal_failure", message)
    completion.finish(t, item.call, [m.Output(item.index, status, fault=fault)])


def crashed(t: HubState, worker: Worker, event: WorkerExited) -> bool:
    """Handle a worker that died: find the inputs that may have caused it, and requeue the others.

    Returns:
        Whether any input may have caused it.
    """
    suspects = _suspects(worker, event)
    spans.add_lost(t, worker, suspects)
    for item in reversed(suspects):
        item.detach()
        _handle_suspect(t, item, worker, event)
    release_all(t, worker, exit_reasons.how(event), count=not suspects)
    return bool(suspects)


def _suspects(worker: Worker, event: WorkerExited) -> list[Input]:
    """Return the inputs that may have caused the death of a worker; of several at once, each is retried alone."""
    if worker.pool is None or event.running == 0:
        return []
    leased = list(worker.leases.values())
    if worker.pool.most_at_once > 1:
        return leased
    # If the launcher does not know: inputs run in order.
    first = next(iter(leased), None)
    culprit = first if event.running is None else worker.leases.get(event.running)
    if culprit is None:  # the first input of the batch may have been cancelled
        return [item for item in leased if item.batch]
    return [item for item in leased if item.batch == culprit.batch] if culprit.batch else [culprit]


def _handle_suspect(t: HubState, item: Input, worker: Worker, event: WorkerExited) -> None:
    limit = item.call.pool.definition.timeout
    if item.cancelled or item.call.cancelled:
        completion.finish(t, item.call, [completion.terminated(item, ran=True)])
    elif worker.overdue and t.now >= item.began + limit:
        if not input_retry.retry(t, item):
            message = f"{item.call.pool.record.name!r} ran longer than its timeout of {limit:g} s and had to be killed."
            fault = m.Fault("function_timeout", message)
            if item.call.unattended:
                input_logs.system(t, item.call.pool, message, worker=worker.id, item=item)
            _end(t, item, worker, InputStatus.TIMEOUT, fault, limit)
    elif worker.stopping or t.closing:
        _requeue_or_fail(t, item, exit_reasons.how(event), count=not t.closing)
    else:
        name = item.call.pool.record.name
        text = f"Worker {worker.id} died while running {name!r} ({exit_reasons.how(event)})."
        input_logs.system(t, item.call.pool, text, worker=worker.id, item=item)
        if item.call.pool.definition.at_most_once:
            _give_up(t, item, exit_reasons.how(event))
            return
        item.crashes += 1
        if item.crashes <= CRASH_BUDGET:
            _report_retry(
                t, item, worker, exit_reasons.how(event) + exit_reasons.peak(event), "runs alone"
            )
            input_retry.requeue(t, item)
            return
        pool = item.call.pool
        details = exit_reasons.details(pool, event)
        fault = m.Fault("worker_crashed", _crash_message(pool, event), details)
        _end(t, item, worker, InputStatus.INTERNAL_FAILURE, fault)


def _report_retry(t: HubState, item: Input, worker: Worker, how: str, again: str) -> None:
    """Send subscribers a stderr line with the reason of the loss and the next attempt."""
    name = item.call.pool.record.name
    which = name if item.call.total == 1 else f"{name}[{item.index}]"
    text = f"{which} lost: {how}; attempt {item.attempt + 1} {again}\n"
    for client in listeners(t, item.call):
        about = (item.call.id, item.index, item.attempt)
        t.send(client, m.Emission(*about, "stderr", text.encode(), worker.id))


def _end(
    t: HubState, item: Input, worker: Worker, status: InputStatus, fault: m.Fault, took: float = 0.0
) -> None:
    outcome = m.Output(
        *(item.index, int(status), None, fault, took),
        *(worker.id, item.attempt, input_retry.attempts(item)),
    )
    completion.finish(t, item.call, [outcome])


def _crash_message(pool: Pool, event: WorkerExited) -> str:
    return (
        f"The worker process died while running {pool.record.name!r} "
        f"({exit_reasons.how(event)}{exit_reasons.peak(event)}); "
        f"a second try alone on a fresh worker ended the same way.{exit_reasons.last_lines(event)}"
    )
