"""What becomes of the inputs of a worker that is gone: who is to blame, who runs again, who has run
out of luck.

A worker lost around an input counts against `MAX_LOSSES`, one that died under it against
`CRASH_BUDGET` (promises P4, P5).
"""

from __future__ import annotations

import signal as signals

from nbfn.hub import leases, outcomes
from nbfn.hub.effects import Fault, Outcome
from nbfn.hub.events import WorkerExited
from nbfn.hub.tables import Input, Pool, Tables, Worker
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


def _lost(t: Tables, item: Input, *, count: bool) -> None:
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
    """A worker process died: find the input it died under; the others go back without penalty."""
    culprit = worker.leases.get(event.running) if event.running else None
    if culprit is None and event.running is None and worker.leases:
        culprit = next(
            iter(worker.leases.values())
        )  # a launcher that cannot tell: inputs run in order
    if culprit is not None:
        leases.detach(culprit)
        _blame(t, culprit, worker, event)
    lose_all(t, worker, count=culprit is None)


def _blame(t: Tables, item: Input, worker: Worker, event: WorkerExited) -> None:
    if item.cancelled or item.call.cancelled:
        outcomes.finish(t, item.call, [outcomes.terminated(item)])
    elif worker.overdue:
        limit = item.call.pool.definition.timeout
        message = f"{item.call.pool.record.name!r} ran longer than its timeout of {limit:g} s and had to be killed."
        fault: Fault = ("function_timeout", message, {})
        outcome = Outcome(
            item.index, int(InputStatus.TIMEOUT), None, fault, limit, worker.id, item.attempt
        )
        outcomes.finish(t, item.call, [outcome])
    elif worker.stopping:
        _lost(t, item, count=True)
    else:
        item.crashes += 1
        if item.crashes <= CRASH_BUDGET:
            leases.requeue(t, item)
            return
        fault = (
            "worker_crashed",
            crash_message(item.call.pool, event),
            crash_details(event),
        )
        status = int(InputStatus.INTERNAL_FAILURE)
        outcomes.finish(
            t, item.call, [Outcome(item.index, status, None, fault, 0.0, worker.id, item.attempt)]
        )


def crash_message(pool: Pool, event: WorkerExited) -> str:
    """Return the sentence about a worker that died."""
    peak = f", peak memory {event.memory_peak / 2**20:.0f} MB" if event.memory_peak else ""
    tail = f"\nThe last lines it wrote to stderr:\n{event.stderr}" if event.stderr else ""
    return (
        f"The worker process died while running {pool.record.name!r} ({_how(event)}{peak}); "
        f"a second try alone on a fresh worker ended the same way.{tail}"
    )


def _how(event: WorkerExited) -> str:
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


def crash_details(event: WorkerExited) -> dict[str, object]:
    """Return the attributes of `WorkerCrashed`."""
    return {
        "exit_code": event.exit_code,
        "signal": event.signal,
        "memory_peak": event.memory_peak,
        "stderr": event.stderr,
    }
