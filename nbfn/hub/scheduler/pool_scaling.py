"""Creates the pool of a Function version and resizes it with its load."""

from __future__ import annotations

from nbfn.hub.scheduler import (
    admission,
    autoscaler,
    completion,
    nested_calls,
    provisioning,
    startup_failures,
    worker_shutdown,
)
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Pool
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.protocol import messages as m
from nbfn.types import InputStatus


def pool_of(t: HubState, record: FunctionRecord, version: int) -> Pool:
    """Return the pool of a Function version, created if necessary."""
    pool = t.pools.get((record.id, version))
    if pool is None:
        pool = Pool(record, version, settings_of(t, record, version))
        pool.retired = version < record.latest
        t.pools[pool.key] = pool
        t.touch(pool)
    return pool


def settings_of(t: HubState, record: FunctionRecord, version: int) -> autoscaler.Settings:
    """Return a pool's settings: overridden, else the definition's own, else the defaults."""
    definition = record.versions[version]
    own = definition.pool
    given = {
        "min_containers": own.min_containers,
        "max_containers": own.max_containers,
        "buffer_containers": own.buffer_containers,
        "scaledown_window": own.scaledown_window,
    } | record.overrides
    if definition.takes_arguments and definition.arguments is None:
        # An object of this class needs arguments, so no worker can be kept warm.
        given["min_containers"] = given["buffer_containers"] = 0
    least = int(given["min_containers"] or 0)
    most = given["max_containers"]
    window = given["scaledown_window"]
    return autoscaler.Settings(
        least,
        int(most) if most is not None else max(t.limits.cores, least),
        int(given["buffer_containers"] or 0),
        float(window) if window is not None else autoscaler.DEFAULT_WINDOW,
        limited=most is not None,
    )


def retire_older_versions(t: HubState, record: FunctionRecord) -> None:
    """Retire the pools of older versions of a Function; start warm workers of the current one, if configured."""
    if settings_of(t, record, record.latest).min_containers:
        t.touch(pool_of(t, record, record.latest))
    for version in record.versions:
        pool = t.pools.get((record.id, version))
        if pool is not None and version != record.latest:
            pool.retired = True
            for call in t.calls.values():
                if call.pool is pool:
                    # Clients learn that there is a newer version.
                    completion.report_progress(t, call)
            t.touch(pool)


def resize(t: HubState, pool: Pool) -> None:
    """Resize a pool to its wanted size, as far as workers are available."""
    if not _has_right_size(t, pool):
        _resize(t, pool)
    if bool(pool.starting) != pool.was_starting:  # waiting calls are *starting*, no longer *queued*
        pool.was_starting = not pool.was_starting
        _report_to_callers(t, pool)


def _resize(t: HubState, pool: Pool) -> None:
    if pool.definition.single_use:
        for worker in [worker for worker in pool.idle.values() if worker.inputs_run]:
            worker_shutdown.stop(t, worker)
    settings = _settings_now(pool)
    # Lending workers do not count: others may take their place.
    load = autoscaler.Load(
        pool.waiting, pool.running, pool.busy - pool.lent, _duration(t, pool), pool.target_at_once
    )
    want = _wanted(t, pool, load, settings)
    why = ""
    if pool.needs_resources and pool.backlog:
        why = admission.impossible(t, pool.record.name, pool.definition.resources)
    if why:
        fault = m.Fault("resource_exhausted", why)
        worker_shutdown.fail_waiting(
            t, pool, m.Output(0, int(InputStatus.INIT_FAILURE), None, fault)
        )
        return
    have = len(pool.workers)
    while have < want and provisioning.bind_blank(t, pool):
        have += 1
    missing = max(0, want - have) if startup_failures.may_bind(t, pool) else 0
    _note_short(t, pool, admission.fitting(t, pool, missing))
    _update_waiting_for(t, pool, load, settings, lacks=have < want)
    if have > want and pool.idle:
        _shrink(t, pool, want, settings)
    _drop_if_unused(t, pool)


def _has_right_size(t: HubState, pool: Pool) -> bool:
    """Whether a quick check shows that `resize` would change nothing: no inputs wait, and a timer is set for idle
    workers. This is the case before and after most single calls.
    """
    settings = pool.settings
    workers = len(pool.workers) - pool.lent
    if (
        (pool.pending.count or pool.pending.held or pool.solo or pool.short or pool.waiting_for)
        or (pool.needs_resources or pool.retired or pool.staged or not pool.prefetches)
        or settings.buffer_containers
        or not settings.min_containers <= workers <= settings.max_containers
    ):
        return False
    if not pool.idle or workers == settings.min_containers:
        return True
    longest_idle = next(iter(pool.idle.values()))
    return pool.shrink_due and longest_idle.idle_since + settings.scaledown_window > t.now


def _settings_now(pool: Pool) -> autoscaler.Settings:
    settings = pool.settings
    if pool.retired:
        return autoscaler.Settings(0, settings.max_containers, 0, 0.0)
    if pool.staged:  # a worker that loaded an endpoint stays for a while; no worker is kept warm
        window = min(settings.scaledown_window, autoscaler.DEFAULT_WINDOW)
        return autoscaler.Settings(0, settings.max_containers, 0, window)
    return settings


def _wanted(t: HubState, pool: Pool, load: autoscaler.Load, settings: autoscaler.Settings) -> int:
    """Return how many workers a pool should have."""
    want = autoscaler.wanted(load, settings, t.limits.cores) + pool.lent
    have = len(pool.workers)
    if pool in t.unclaimed:  # workers of the previous hub may still reconnect
        want = min(want, have)
    return _room_for_solo(t, pool, max(want, have), settings) if pool.solo else want


def _update_waiting_for(
    t: HubState,
    pool: Pool,
    load: autoscaler.Load,
    settings: autoscaler.Settings,
    *,
    lacks: bool,
) -> None:
    """Update why the inputs of a pool wait, and report changes to the waiting clients."""
    before, pool.waiting_for = pool.waiting_for, ""
    if pool.needs_resources:
        _note_lack(t, pool, admission.waits_for(t, pool) if lacks else "")
    _explain_waiting(t, pool, load, settings)
    if pool.waiting_for != before:
        _report_to_callers(t, pool)
    if pool.waiting_for and not pool.progress_due:
        pool.progress_due = True
        t.after(completion.LONG_WAIT, _report_again, pool)


def _drop_if_unused(t: HubState, pool: Pool) -> None:
    """Remove a retired or staged pool that is no longer used."""
    # A removed pool may have a successor with the same key, while its last workers end.
    passing = (pool.retired or pool.staged) and t.pools.get(pool.key) is pool
    if passing and not pool.workers and not pool.backlog and not _called(t, pool):
        t.pools.pop(pool.key, None)


def _report_again(t: HubState, pool: Pool) -> None:
    pool.progress_due = False
    _report_to_callers(t, pool)
    if pool.backlog:
        t.touch(pool)


def _report_to_callers(t: HubState, pool: Pool) -> None:
    for pending in (pool.pending, *pool.batches.values()):
        for call in pending.calls:
            completion.report_progress(t, call)


def _duration(t: HubState, pool: Pool) -> float | None:
    """Return the expected seconds of an input or batch: the mean, or longer if running ones take longer."""
    mean = None if pool.mean_duration is None else pool.mean_duration * pool.batch
    if not pool.busy:
        return mean
    silent = t.now - pool.last_progress
    if pool.backlog and not pool.check_due:
        pool.check_due = True
        t.after(max(autoscaler.WORTH_A_WORKER, silent), _check_again, pool)
    if silent < autoscaler.WORTH_A_WORKER:
        return mean
    return max(silent, mean or 0.0)


def _check_again(t: HubState, pool: Pool) -> None:
    pool.check_due = False
    if pool.backlog:
        t.touch(pool)


def _note_short(t: HubState, pool: Pool, missing: int) -> None:
    if missing != pool.short:
        pool.short = missing
        t.supply_due = True
    if missing:
        t.short[pool] = None
    else:
        t.short.pop(pool, None)


def _note_lack(t: HubState, pool: Pool, what: str) -> None:
    pool.waiting_for = what
    if what and pool not in t.lacking:
        t.supply_due = True
    if what:
        t.lacking[pool] = None
    else:
        t.lacking.pop(pool, None)


def _called(t: HubState, pool: Pool) -> bool:
    return any(call.pool is pool for call in t.calls.values())


def _room_for_solo(t: HubState, pool: Pool, want: int, settings: autoscaler.Settings) -> int:
    """Make room for a fresh worker, which an input that crashed a worker needs: stop a used one if the pool is full."""
    fresh = pool.binding or any(worker.inputs_run == 0 for worker in pool.idle.values())
    if fresh:
        return want
    most = settings.max_containers + pool.lent
    if len(pool.workers) >= most and pool.idle:
        worker_shutdown.stop(t, next(iter(pool.idle.values())))
    return min(len(pool.workers) + 1, most)


def _explain_waiting(
    t: HubState, pool: Pool, load: autoscaler.Load, settings: autoscaler.Settings
) -> None:
    """Set the text that says why inputs wait."""
    if not load.backlog or pool.waiting_for:
        return
    if pool.idle and not pool.pending.count and not pool.solo:
        sizes = sorted({str(pending.size) for pending in pool.batches.values() if pending.count})
        pool.waiting_for = f"a batch of {' or '.join(sizes)} gathers"
    elif pool.short and nested_calls.room(t) <= 0:
        pool.waiting_for = f"this machine's limit of {t.limits.max_workers} workers is reached"
    elif len(pool.workers) - pool.lent >= settings.max_containers and not pool.binding:
        pool.waiting_for = f"max {settings.max_containers} reached"
    elif pool.executable in t.start_backoff:
        pool.waiting_for = "workers do not start (see the hub's log); retrying"
    elif pool.start_failures and not pool.idle:
        pool.waiting_for = "its workers end while they start; retrying"


def _shrink(t: HubState, pool: Pool, want: int, settings: autoscaler.Settings) -> None:
    """Stop idle workers beyond ``want`` that have been idle for the window, longest idle first.

    They are ordered by the time at which they became idle, so the search ends at the first one that may stay.
    """
    for _ in range(min(len(pool.workers) - want, len(pool.idle))):
        worker = next(iter(pool.idle.values()))
        # A worker that replaced a lending one stops immediately.
        over = len(pool.workers) - pool.lent > settings.max_containers
        left = 0.0 if over else worker.idle_since + settings.scaledown_window - t.now
        if left > 0:
            if not pool.shrink_due:
                pool.shrink_due = True
                t.after(left, _shrink_again, pool)
            return
        worker_shutdown.stop(t, worker)


def _shrink_again(t: HubState, pool: Pool) -> None:
    pool.shrink_due = False
    t.touch(pool)
