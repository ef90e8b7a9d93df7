"""Handles workers that end before they finish an input: the next start is delayed with exponential backoff, and
after several failures the waiting inputs fail with the reason.

It does not matter whether they end by an exit code, a signal, a lost connection, or a normal shutdown.
"""

from __future__ import annotations

from nbfn.hub.scheduler import exit_reasons, output, worker_shutdown
from nbfn.hub.scheduler.events import WorkerExited
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Pool, Worker
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

#: Failures in a row after which the waiting inputs fail.
MOST_FAILURES = 5
#: Seconds until the next start after a failure: doubled from the first to the last.
BACKOFF_FIRST, BACKOFF_LAST = 1.0, 60.0

_INIT_FAILURE = int(InputStatus.INIT_FAILURE)


def pause(failures: int) -> float:
    """Return the delay in seconds after a number of earlier failures."""
    return min(BACKOFF_FIRST * 2.0 ** min(failures, 10), BACKOFF_LAST)


# --- workers without a function ---


def blank_failed(t: HubState, worker: Worker, why: str) -> None:
    """Handle a blank worker that ended."""
    old = t.now - worker.joined > BACKOFF_LAST
    failures, not_before = t.start_backoff.get(worker.executable, (0, 0.0))
    if old or (failures and t.now < not_before):
        return  # it ran for long, or was started together with one that failed for the same cause
    failures += 1
    delay = pause(failures - 1)
    t.start_backoff[worker.executable] = (failures, t.now + delay)
    t.after(delay, _start_again, worker.executable)
    if failures >= MOST_FAILURES:
        message = f"No worker starts under {worker.executable}: {why}"
        for pool in [pool for pool in t.short if pool.executable == worker.executable]:
            fault = m.Fault("internal_failure", message)
            worker_shutdown.fail_waiting(t, pool, m.Output(0, _INIT_FAILURE, None, fault))
            t.touch(pool)


def _start_again(t: HubState, executable: str) -> None:
    t.supply_due = True
    for pool in t.short:
        if pool.executable == executable:
            t.touch(pool)


# --- workers of a pool ---


def may_bind(t: HubState, pool: Pool) -> bool:
    """Whether one more worker may be bound to a pool now, after earlier failures."""
    if pool.backlog and not pool.start_failures:
        return True  # a new call does not wait because of failures of earlier calls
    return t.now >= pool.load_not_before and not (pool.start_failures and pool.binding)


def ended_early(t: HubState, worker: Worker, event: WorkerExited, how: str = "") -> None:
    """Handle a worker of a pool that ended by itself before it finished an input.

    Args:
        t: The state of the hub.
        worker: The worker, already removed.
        event: How its process ended, as far as known.
        how: How it ended, if its process did not exit.
    """
    pool = worker.pool
    if pool is None or worker.served or worker.stopping or t.closing:
        return
    how = how or exit_reasons.how(event)
    doing = "starting" if worker.loaded else "loading"
    if pool.start_failures and worker.bound_at <= pool.failed_at:
        return  # it was bound before another one failed for the same cause
    wait = _count(t, pool)
    name = pool.record.name
    if pool.start_failures < MOST_FAILURES or _served_by_others(pool):
        again = f"the next one starts in {wait:g} s"
        output.announce(t, pool, f"A worker ended while {doing} {name!r} ({how}); {again}.", worker)
        return
    text = f"{pool.start_failures} workers in a row ended while {doing} {name!r}"
    message = (
        f"{text}, the last one: {how}{exit_reasons.peak(event)}.{exit_reasons.last_lines(event)}"
    )
    fault = m.Fault("worker_crashed", message, exit_reasons.details(pool, event))
    _give_up(t, pool, worker, m.Output(0, _INIT_FAILURE, None, fault, worker=worker.id))


def cannot_load(t: HubState, worker: Worker, failed: m.Output) -> None:
    """Handle a worker that cannot load its function; waiting inputs fail, unless other workers run them."""
    pool = worker.pool
    assert pool is not None
    wait = _count(t, pool)
    if _served_by_others(pool):
        text = f"A worker could not load {pool.record.name!r}; the next one starts in {wait:g} s."
        output.announce(t, pool, text, worker)
    else:
        _give_up(t, pool, worker, failed)


def _count(t: HubState, pool: Pool) -> float:
    """Count a failure in a row; return the seconds until the next worker may start."""
    wait = pause(pool.load_failures)
    pool.load_failures += 1
    pool.start_failures += 1
    pool.failed_at = t.now
    pool.load_not_before = t.now + wait
    t.after(wait, HubState.touch, pool)
    return wait


def _give_up(t: HubState, pool: Pool, worker: Worker, failed: m.Output) -> None:
    """Fail all waiting inputs of a pool; the next call starts a worker without a delay."""
    pool.start_failures = 0
    output.show_startup(t, worker)
    worker_shutdown.fail_waiting(t, pool, failed)


def worker_loaded(t: HubState, worker: Worker) -> None:
    """A worker has loaded its function; if it still runs after a while, reset the pool's failures."""
    if worker.pool is not None and worker.pool.load_failures:
        t.after(BACKOFF_LAST, _reset_if_alive, worker)


def _reset_if_alive(t: HubState, worker: Worker) -> None:
    pool, alive = worker.pool, t.workers.get(worker.id) is worker
    if pool is not None and alive and worker.bound_at > pool.failed_at:
        pool.succeeded()


def _served_by_others(pool: Pool) -> bool:
    return any(worker.state in {"idle", "busy"} for worker in pool.workers.values())
