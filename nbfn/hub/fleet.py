"""Workers as such: started, joined, bound to a function, idle, stopped, lost; and the pools they
make up.

A worker starts blank, in one Python; binding makes it one Function version's for the rest of its
life. Blank ones stand by for each Python that a client uses. When the machine is full, idle workers
beyond their pool's warm number are given up, the least recently used first.
"""

from __future__ import annotations

from nbfn.hub import adoption, leases, lending, outcomes, scale
from nbfn.hub.events import (
    BindWorker,
    DrainWorker,
    Fault,
    Outcome,
    RefuseWorker,
    StartWorker,
    StopWorker,
    WorkerBound,
    WorkerBroken,
    WorkerExited,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
    WorkerNotStarted,
)
from nbfn.hub.registry import FunctionRecord
from nbfn.hub.tables import Pool, Tables, Worker
from nbfn.types import InputStatus

#: Workers in a row that die while they load a function until its waiting inputs fail.
START_FAILURES = 3
#: Seconds before a Python whose workers do not start is tried again: doubled from the first to
#: the last.
BACKOFF_FIRST, BACKOFF_LAST = 1.0, 60.0
#: Seconds a started process has to say hello.
START_TIMEOUT = 60.0


# --- pools ---------------------------------------------------------------------------------------


def pool_of(t: Tables, record: FunctionRecord, version: int) -> Pool:
    """Return the pool of a Function version, made if need be."""
    pool = t.pools.get((record.id, version))
    if pool is None:
        pool = Pool(record, version, settings_of(t, record, version))
        pool.retired = version != record.latest
        t.pools[pool.key] = pool
        t.touch(pool)
    return pool


def settings_of(t: Tables, record: FunctionRecord, version: int) -> scale.Settings:
    """Return a pool's settings: overridden, else the definition's own, else the defaults."""
    own = record.versions[version].pool
    given = {
        "min_containers": own.min_containers,
        "max_containers": own.max_containers,
        "buffer_containers": own.buffer_containers,
        "scaledown_window": own.scaledown_window,
    } | record.overrides
    least = int(given["min_containers"] or 0)
    most = given["max_containers"]
    window = given["scaledown_window"]
    return scale.Settings(
        least,
        int(most) if most is not None else max(t.limits.cores, least),
        int(given["buffer_containers"] or 0),
        float(window) if window is not None else scale.DEFAULT_WINDOW,
    )


def retire_others(t: Tables, record: FunctionRecord) -> None:
    """Let the pools of a Function's older versions finish and go."""
    for version in record.versions:
        pool = t.pools.get((record.id, version))
        if pool is not None and version != record.latest:
            pool.retired = True
            t.touch(pool)


def resize(t: Tables, pool: Pool) -> None:
    """Bring a pool to its wanted size, as far as workers are to be had."""
    settings = pool.settings
    if pool.retired:
        settings = scale.Settings(0, settings.max_containers, 0, 0.0)
    # Those that lend their slots count as not there: as many others may take their place.
    load = scale.Load(pool.backlog, pool.leased, pool.busy - pool.lent, _duration(t, pool))
    want = scale.wanted(load, settings, t.limits.cores) + pool.lent
    have = len(pool.workers)
    if pool.solo:
        want = _room_for_solo(t, pool, max(want, have), settings)
    while have < want and _bind_blank(t, pool):
        have += 1
    _note_short(t, pool, max(0, want - have))
    _explain(t, pool, load, settings)
    if have > want and pool.idle:
        _shrink(t, pool, want, settings)
    if pool.retired and not pool.workers and not pool.backlog and not _called(t, pool):
        t.pools.pop(pool.key, None)


def _duration(t: Tables, pool: Pool) -> float | None:
    """Return the usual seconds of an input; those that run now may show that it is longer than was measured."""
    if not pool.busy:
        return pool.mean
    silent = t.now - pool.moved
    if pool.backlog and not pool.look_due:
        pool.look_due = True
        t.after(max(scale.WORTH_A_WORKER, silent), _look_again, pool)
    if silent < scale.WORTH_A_WORKER:
        return pool.mean
    return max(silent, pool.mean or 0.0)


def _look_again(t: Tables, pool: Pool) -> None:
    pool.look_due = False
    if pool.backlog:
        t.touch(pool)


def _note_short(t: Tables, pool: Pool, missing: int) -> None:
    if missing != pool.short:
        pool.short = missing
        t.supply_due = True
    if missing:
        t.short[pool.key] = pool
    else:
        t.short.pop(pool.key, None)


def _called(t: Tables, pool: Pool) -> bool:
    return any(call.pool is pool for call in t.calls.values())


def _room_for_solo(t: Tables, pool: Pool, want: int, settings: scale.Settings) -> int:
    """An input that crashed a worker waits for a fresh one: give up a used one where the pool is
    full.
    """
    fresh = pool.binding or any(worker.ran == 0 for worker in pool.idle.values())
    if fresh:
        return want
    most = settings.max_containers + pool.lent
    if len(pool.workers) >= most and pool.idle:
        stop(t, next(iter(pool.idle.values())))
    return min(len(pool.workers) + 1, most)


def _explain(t: Tables, pool: Pool, load: scale.Load, settings: scale.Settings) -> None:
    """Keep the sentence that says why inputs wait."""
    pool.waiting_for = ""
    if not load.backlog:
        return
    if pool.short and lending.room(t) <= 0:
        pool.waiting_for = f"this machine's limit of {t.limits.max_workers} workers is reached"
    elif len(pool.workers) - pool.lent >= settings.max_containers:
        pool.waiting_for = f"max {settings.max_containers} reached"
    elif pool.executable in t.start_backoff:
        pool.waiting_for = "workers do not start (see the hub's log); trying again"


def _shrink(t: Tables, pool: Pool, want: int, settings: scale.Settings) -> None:
    """Stop idle workers beyond ``want`` that have been idle for the window; look again when the
    next one will have been.
    """
    surplus = len(pool.workers) - want
    for worker in list(pool.idle.values()):
        if surplus <= 0:
            return
        over = (
            len(pool.workers) - pool.lent > settings.max_containers
        )  # it stood in for one that waited
        left = 0.0 if over else worker.idle_since + settings.scaledown_window - t.now
        if left <= 0:
            stop(t, worker)
            surplus -= 1
        elif not worker.idle_watched:
            worker.idle_watched = True
            t.after(left, _idle_again, worker)


def _idle_again(t: Tables, worker: Worker) -> None:
    worker.idle_watched = False
    if worker.pool is not None:
        t.touch(worker.pool)


# --- supply --------------------------------------------------------------------------------------


def supply(t: Tables) -> None:
    """Start as many blank workers as pools lack, and as should stand by."""
    t.supply_due = False
    if t.closing:
        return
    short: dict[str, int] = {}
    for pool in t.short.values():
        short[pool.executable] = short.get(pool.executable, 0) + pool.short
    room = lending.room(t)
    missing = sum(short.values())
    if missing > room:
        _reclaim(t, missing - max(room, 0))
    for executable in t.blanks.keys() | short.keys():
        needed = min(short.get(executable, 0), max(room, 0))
        spare = t.limits.blank_workers if _in_use(t, executable) else 0
        have = len(t.blanks.get(executable, ())) + len(t.starting.get(executable, ()))
        _start(t, executable, needed + spare - have)


def _in_use(t: Tables, executable: str) -> bool:
    return any(c.connected and c.executable == executable for c in t.clients.values())


def _start(t: Tables, executable: str, count: int) -> None:
    failures, not_before = t.start_backoff.get(executable, (0, 0.0))
    if count <= 0 or (failures and t.now < not_before):
        return
    for _ in range(1 if failures else count):
        worker = Worker(t.new_id("wk"), executable, t.now)
        t.workers[worker.id] = worker
        t.starting.setdefault(executable, {})[worker.id] = worker
        t.emit(StartWorker(worker.id, executable))
        t.after(START_TIMEOUT, _check_started, worker)


def _check_started(t: Tables, worker: Worker) -> None:
    if worker.state == "starting" and worker.id in t.workers:
        t.emit(StopWorker(worker.id, 0.0))
        worker_not_started(t, WorkerNotStarted(worker.id, f"no hello within {START_TIMEOUT:g} s"))


def _reclaim(t: Tables, count: int) -> None:
    """Give up idle workers beyond their pools' warm numbers, the least recently used first.

    Where that gives none and a pool with work has no worker at all, a warm one goes: a promise to be
    quick is worth less than somebody's call.
    """
    pools = [pool for pool in t.pools.values() if not pool.short]
    spare = [w for pool in pools for w in list(pool.idle.values())[: _surplus(pool)]]
    if not spare and (starving := _starving(t)):
        spare = [worker for pool in t.pools.values() for worker in pool.idle.values()]
        count = 1
        if not spare:
            _refuse_nesting(t, starving)
    for worker in sorted(spare, key=lambda worker: worker.idle_since)[:count]:
        stop(t, worker)


def _refuse_nesting(t: Tables, starving: list[Pool]) -> None:
    """All workers wait for calls that wait for a worker: it has to end somewhere, and with a reason."""
    workers = [worker for pool in t.pools.values() for worker in pool.workers.values()]
    if all(worker.lent for worker in workers):
        message = (
            f"{len(workers)} workers wait for calls that wait for another worker, and there can be no more. "
            "Nest calls less deeply, or raise the setting max_workers."
        )
        fault: Fault = ("resource_exhausted", message, {})
        for pool in starving:
            _fail_waiting(t, pool, Outcome(0, int(InputStatus.FAILURE), None, fault))
            t.touch(pool)


def _surplus(pool: Pool) -> int:
    return max(0, len(pool.workers) - pool.settings.min_containers)


def _starving(t: Tables) -> list[Pool]:
    return [pool for pool in t.short.values() if pool.backlog and len(pool.workers) <= pool.lent]


def _bind_blank(t: Tables, pool: Pool) -> bool:
    blanks = t.blanks.get(pool.executable)
    room = lending.room(t)
    if not pool.backlog:
        room -= len(_starving(t))  # warming up waits for those who have work and nobody to do it
    if not blanks or room <= 0:
        return False
    worker = blanks.pop(next(iter(blanks)))
    worker.pool = pool
    worker.state = "binding"
    pool.workers[worker.id] = worker
    pool.binding[worker.id] = worker
    t.emit(BindWorker(worker.id, *pool.key, pool.definition))
    t.supply_due = True
    t.changed()
    return True


def release_blanks(t: Tables, executable: str) -> None:
    """Stop the blank workers of a Python that nobody uses any more."""
    if not _in_use(t, executable):
        for worker in list(t.blanks.pop(executable, {}).values()):
            stop(t, worker)


# --- a worker's life -----------------------------------------------------------------------------


def worker_joined(t: Tables, event: WorkerJoined) -> None:
    """A worker said hello: new, back after a broken connection, or left over from the hub
    before.
    """
    worker = t.workers.get(event.worker)
    if event.worker in t.fenced:
        t.emit(RefuseWorker(event.worker, "superseded"))
        return
    if worker is None:
        worker = _stranger(t, event)
        if worker is None:
            return
    worker.pid = event.pid
    t.supply_due = True
    if worker.state == "starting":
        t.starting.get(worker.executable, {}).pop(worker.id, None)
        t.start_backoff.pop(worker.executable, None)
        worker.state = "blank"
        t.blanks.setdefault(worker.executable, {})[worker.id] = worker
        for pool in t.short.values():
            t.touch(pool)
    elif worker.state == "lost":
        _back(t, worker, event)
    elif worker.state == "draining":
        t.emit(DrainWorker(worker.id))
    t.changed()


def _stranger(t: Tables, event: WorkerJoined) -> Worker | None:
    worker = Worker(event.worker, event.executable, t.now)
    record = t.registry.functions.get(event.function)
    if event.function and (record is None or event.version not in record.versions):
        t.emit(RefuseWorker(event.worker, "its function is not known to this hub"))
        return None
    t.workers[worker.id] = worker
    if record is not None:
        pool = worker.pool = pool_of(t, record, event.version)
        worker.state = "idle"
        worker.ran = 1
        pool.workers[worker.id] = worker
        pool.idle[worker.id] = worker
        adoption.adopt(t, worker, event.running)
        leases.freed(t, worker)
    return worker


def _back(t: Tables, worker: Worker, event: WorkerJoined) -> None:
    """A lost worker is there again in time: it keeps what it still has; what never reached it
    goes back.
    """
    has = {lease for lease, *_ in event.running}
    if worker.pool is None:
        worker.state = "blank"
        t.blanks.setdefault(worker.executable, {})[worker.id] = worker
        return
    if not event.function:  # the word to bind was lost on the way
        worker.state = "binding"
        worker.pool.binding[worker.id] = worker
        worker.pool.workers[worker.id] = worker
        t.emit(BindWorker(worker.id, *worker.pool.key, worker.pool.definition))
    else:
        worker.state = "busy" if worker.leases else "idle"
        worker.pool.busy += bool(worker.leases)
    leases.give_back(t, worker, [lease for lease in worker.leases if lease not in has])
    leases.freed(t, worker)


def worker_bound(t: Tables, event: WorkerBound) -> None:
    """A worker has its function and takes inputs."""
    worker = t.workers.get(event.worker)
    if worker is None or worker.pool is None or worker.state != "binding":
        return
    pool = worker.pool
    pool.binding.pop(worker.id, None)
    pool.start_failures = 0
    worker.state = "idle"
    worker.idle_since = t.now
    pool.idle[worker.id] = worker
    pool.ready[worker.id] = worker
    t.touch(pool)
    t.changed()


def worker_broken(t: Tables, event: WorkerBroken) -> None:
    """A function cannot be loaded: another try would end the same way, so what waits for it
    fails now.
    """
    worker = t.workers.get(event.worker)
    if worker is not None and worker.pool is not None:
        pool = worker.pool
        stop(t, worker)
        _fail_waiting(
            t, pool, Outcome(0, int(InputStatus.INIT_FAILURE), event.payload, worker=worker.id)
        )


def _fail_waiting(t: Tables, pool: Pool, how: Outcome) -> None:
    for call in [call for call in t.calls.values() if call.pool is pool]:
        pool.turns.drop(call)
        waiting = [item for item in call.inputs.values() if item.worker is None]
        failed = [
            Outcome(item.index, how.status, how.payload, how.fault, 0.0, how.worker, 1)
            for item in waiting
        ]
        outcomes.finish(t, call, failed)
    pool.solo.clear()


def worker_lost(t: Tables, event: WorkerLost) -> None:
    """A worker's connection ended: it gets nothing new, and its inputs wait until its lease runs
    out.
    """
    worker = t.workers.get(event.worker)
    if worker is None or worker.state in ("lost", "draining"):
        return  # one that was told to go has a timer of its own
    _out_of_service(t, worker)
    worker.state = "lost"
    t.after(t.limits.lease, _lease_over, worker)
    t.changed()


def _lease_over(t: Tables, worker: Worker) -> None:
    if worker.state == "lost" and t.workers.get(worker.id) is worker:
        _gone(t, worker)
        leases.lose_all(t, worker)
        t.fenced.append(worker.id)
        t.emit(StopWorker(worker.id, 0.0))


def worker_left(t: Tables, event: WorkerLeft) -> None:
    """A worker said goodbye in good order."""
    worker = t.workers.get(event.worker)
    if worker is not None:
        leases.confirm_now(t, worker)  # it waits for the word
        _gone(t, worker)
        leases.lose_all(t, worker, count=False)


def worker_exited(t: Tables, event: WorkerExited) -> None:
    """A worker process ended; why decides what becomes of its inputs."""
    worker = t.workers.get(event.worker)
    if worker is None:
        return
    pool, state = worker.pool, worker.state
    _gone(t, worker)
    if state == "starting":
        _start_failed(t, worker)
    elif state == "binding" and pool is not None and not worker.stopping:
        pool.start_failures += 1
        if pool.start_failures >= START_FAILURES:
            pool.start_failures = 0
            message = leases.crash_message(pool, event).replace("while running", "while loading")
            fault: Fault = ("worker_crashed", message, leases.crash_details(event))
            _fail_waiting(t, pool, Outcome(0, int(InputStatus.INIT_FAILURE), None, fault))
    leases.crashed(t, worker, event)


def worker_not_started(t: Tables, event: WorkerNotStarted) -> None:
    """A worker process could not be started."""
    worker = t.workers.get(event.worker)
    if worker is not None:
        _gone(t, worker)
        _start_failed(t, worker)


def _start_failed(t: Tables, worker: Worker) -> None:
    failures = t.start_backoff.get(worker.executable, (0, 0.0))[0] + 1
    delay = min(BACKOFF_FIRST * 2 ** (failures - 1), BACKOFF_LAST)
    t.start_backoff[worker.executable] = (failures, t.now + delay)
    t.after(delay, _start_again, worker.executable)
    if failures >= START_FAILURES:
        message = f"No worker starts under {worker.executable}. See the hub's log."
        for pool in [pool for pool in t.short.values() if pool.executable == worker.executable]:
            fault: Fault = ("internal_failure", message, {})
            _fail_waiting(t, pool, Outcome(0, int(InputStatus.INIT_FAILURE), None, fault))
            t.touch(pool)


def _start_again(t: Tables, executable: str) -> None:
    t.supply_due = True
    for pool in t.short.values():
        if pool.executable == executable:
            t.touch(pool)


def stop(t: Tables, worker: Worker) -> None:
    """Have a worker finish and exit; kill it when it does not."""
    if worker.stopping:
        return
    worker.stopping = True
    _out_of_service(t, worker)
    if worker.pool is not None:
        worker.pool.workers.pop(worker.id, None)
        t.touch(worker.pool)
    worker.state = "draining"
    t.emit(DrainWorker(worker.id))
    t.after(2 * t.limits.kill_grace, _stop_harder, worker)
    t.changed()


def _stop_harder(t: Tables, worker: Worker) -> None:
    if t.workers.get(worker.id) is worker:
        t.emit(StopWorker(worker.id, t.limits.kill_grace))


def _out_of_service(t: Tables, worker: Worker) -> None:
    t.blanks.get(worker.executable, {}).pop(worker.id, None)
    t.starting.get(worker.executable, {}).pop(worker.id, None)
    pool = worker.pool
    if pool is not None:
        if worker.state == "busy":
            pool.busy -= 1
        for table in (pool.idle, pool.ready, pool.binding):
            table.pop(worker.id, None)


def _gone(t: Tables, worker: Worker) -> None:
    _out_of_service(t, worker)
    worker.state = "gone"
    if worker.lent and worker.pool is not None:
        worker.pool.lent -= 1
    t.supply_due = True
    t.workers.pop(worker.id, None)
    if worker.pool is not None:
        worker.pool.workers.pop(worker.id, None)
        t.touch(worker.pool)
    for pool in t.short.values():
        t.touch(pool)
    t.changed()
