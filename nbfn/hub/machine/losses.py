"""What becomes of the inputs of a worker that is gone: who is to blame, who runs again, who has run
out of luck.

A worker lost around an input counts against `MAX_LOSSES`, one that died under it against
`CRASH_BUDGET` (promises P4, P5).
"""

from __future__ import annotations

import signal as signals

from nbfn.hub.machine import journal, leases, outcomes
from nbfn.hub.machine.admission import GIBIBYTE, MEBIBYTE
from nbfn.hub.machine.effects import DeliverEmission, Fault, Outcome
from nbfn.hub.machine.events import WorkerExited
from nbfn.hub.machine.listeners import listeners
from nbfn.hub.machine.rows import Call, Input, Pool, Worker
from nbfn.hub.machine.tables import Tables
from nbfn.types import InputStatus

#: Times an input is run again because its worker was lost for reasons outside of it (Modal's
#: number).
MAX_LOSSES = 8
#: Times an input is run again after a worker died under it.
CRASH_BUDGET = 1


def lose_all(t: Tables, worker: Worker, *, count: bool = True) -> None:
    """Take a worker's inputs away from it, for reasons that are not theirs."""
    for item in reversed(list(worker.leases.values())):
        leases.detach(item)
        _lost(t, item, count=count)


def never_begun(t: Tables, call: Call, items: list[Input]) -> list[Input]:
    """Return those of a call's inputs that may be queued; what began under the hub before this one and may
    not begin again is lost.
    """
    if not t.begun or not call.pool.definition.at_most_once:
        return items
    lost = [item for item in items if (call.id, item.index) in t.begun]
    for item in lost:
        _give_up(t, item, "the hub was restarted")
    return [item for item in items if item not in lost]


def _give_up(t: Tables, item: Input, why: str) -> None:
    """End an input that may have run and must not run again."""
    message = (
        f"Input {item.index} of {item.call.pool.record.name!r} had begun when its worker was lost ({why}). "
        "It may have run to its end, and it does not run again: at_most_once."
    )
    fault: Fault = ("worker_lost", message, {})
    status = int(InputStatus.INTERNAL_FAILURE)
    outcomes.finish(t, item.call, [Outcome(item.index, status, fault=fault)])


def _lost(t: Tables, item: Input, *, count: bool) -> None:
    if item.call.pool.definition.at_most_once:
        _give_up(t, item, "its process or its connection ended")
        return
    item.losses += count
    if item.losses <= MAX_LOSSES:
        leases.requeue(t, item)
        return
    name = item.call.pool.record.name
    fault: Fault = (
        "internal_failure",
        f"Input {item.index} of {name!r} lost its worker {item.losses} times.",
        {},
    )
    outcomes.finish(
        t, item.call, [Outcome(item.index, int(InputStatus.INTERNAL_FAILURE), fault=fault)]
    )


def crashed(t: Tables, worker: Worker, event: WorkerExited) -> None:
    """A worker process died: find the inputs it may have died under; the others go back without penalty."""
    suspects = _suspects(worker, event)
    for item in reversed(suspects):
        leases.detach(item)
        _blame(t, item, worker, event)
    lose_all(t, worker, count=not suspects)


def _suspects(worker: Worker, event: WorkerExited) -> list[Input]:
    """Return what a worker may have died of: of several at once nobody can say which, so each is run
    again alone.
    """
    if worker.pool is None or event.running == 0:
        return []
    if worker.pool.most_at_once > 1:
        return list(worker.leases.values())
    culprit = worker.leases.get(event.running) if event.running else None
    if culprit is None and event.running is None and worker.leases:
        # A launcher that cannot tell: inputs run in order.
        culprit = next(iter(worker.leases.values()))
    if culprit is None:
        # The first one of a batch may have been cancelled.
        return [item for item in worker.leases.values() if item.batch]
    if not culprit.batch:
        return [culprit]
    return [item for item in worker.leases.values() if item.batch == culprit.batch]


def _blame(t: Tables, item: Input, worker: Worker, event: WorkerExited) -> None:
    limit = item.call.pool.definition.timeout
    if item.cancelled or item.call.cancelled:
        outcomes.finish(t, item.call, [outcomes.terminated(item)])
    elif worker.overdue and t.now >= item.began + limit:
        if not leases.retry(t, item):
            message = f"{item.call.pool.record.name!r} ran longer than its timeout of {limit:g} s and had to be killed."
            fault: Fault = ("function_timeout", message, {})
            if item.call.unattended:
                journal.system(t, item.call.pool, message, worker=worker.id, item=item)
            _end(t, item, worker, InputStatus.TIMEOUT, fault, limit)
    elif worker.stopping:
        _lost(t, item, count=True)
    else:
        name = item.call.pool.record.name
        text = f"Worker {worker.id} died while running {name!r} ({how(event)})."
        journal.system(t, item.call.pool, text, worker=worker.id, item=item)
        if item.call.pool.definition.at_most_once:
            _give_up(t, item, how(event))
            return
        item.crashes += 1
        if item.crashes <= CRASH_BUDGET:
            _tell_loss(t, item, worker, event)
            leases.requeue(t, item)
            return
        fault = (
            "worker_crashed",
            crash_message(item.call.pool, event),
            crash_details(item.call.pool, event),
        )
        _end(t, item, worker, InputStatus.INTERNAL_FAILURE, fault)


def _tell_loss(t: Tables, item: Input, worker: Worker, event: WorkerExited) -> None:
    """Have whoever listens read, as if the input had written it, what it died of and that it runs again."""
    name = item.call.pool.record.name
    which = name if item.call.total == 1 else f"{name}[{item.index}]"
    text = f"{which} lost: {how(event)}{peak(event)}; attempt {item.attempt + 1} runs alone\n"
    for client in listeners(t, item.call):
        about = (client, item.call.id, item.index, item.attempt)
        t.emit(DeliverEmission(*about, "stderr", text.encode(), worker.id))


def _end(
    t: Tables, item: Input, worker: Worker, status: InputStatus, fault: Fault, took: float = 0.0
) -> None:
    outcome = Outcome(
        *(item.index, int(status), None, fault, took),
        *(worker.id, item.attempt, leases.attempts(item)),
    )
    outcomes.finish(t, item.call, [outcome])


def crash_message(pool: Pool, event: WorkerExited) -> str:
    """Return the sentence about a worker that died."""
    tail = f"\nThe last lines it wrote to stderr:\n{event.stderr}" if event.stderr else ""
    return (
        f"The worker process died while running {pool.record.name!r} ({how(event)}{peak(event)}); "
        f"a second try alone on a fresh worker ended the same way.{tail}"
    )


def peak(event: WorkerExited) -> str:
    """Return how much memory a process held at most, where that is known."""
    if not event.memory_peak:
        return ""
    large = event.memory_peak >= GIBIBYTE
    unit, digits, name = (GIBIBYTE, 1, "GB") if large else (MEBIBYTE, 0, "MB")
    return f", peak memory {event.memory_peak / unit:.{digits}f} {name}"


def how(event: WorkerExited) -> str:
    """Return in a few words how a process ended."""
    if event.memory_limit:
        return f"out of memory (limit {event.memory_limit / MEBIBYTE:.0f} MB)"
    if event.signal is None:
        known = event.exit_code is not None
        return (
            f"exit code {event.exit_code}"
            if known
            else "nobody saw how: the hub had been restarted"
        )
    try:
        name = signals.Signals(event.signal).name
    except ValueError:
        name = "unknown"
    hint = ", by somebody or by a system out of memory" if name == "SIGKILL" else ""
    return f"killed by signal {event.signal}, {name}{hint}"


def crash_details(pool: Pool, event: WorkerExited) -> dict[str, object]:
    """Return the attributes of `WorkerCrashed`."""
    return {
        "exit_code": event.exit_code,
        "signal": event.signal,
        "memory_peak": event.memory_peak,
        "stderr": event.stderr,
        "oom": bool(event.memory_limit),
        "memory_limit": event.memory_limit or pool.definition.resources.memory_limit,
    }
