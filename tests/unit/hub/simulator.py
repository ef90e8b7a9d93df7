"""A simulator for the state machine: workers that start, load, run, crash; clients that count.

It carries out effects the way processes would, without any process, and keeps its own account of who runs what.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler import pool_scaling, status
from nbfn.hub.scheduler.hub_state import HubState, Limits
from nbfn.hub.scheduler.models import Pool, Worker
from nbfn.hub.scheduler.state_machine import StateMachine
from nbfn.protocol import messages as m
from nbfn.protocol.messages import (
    Batching,
    Concurrency,
    Definition,
    Environment,
    Payload,
    PoolSettings,
    RetryPolicy,
    Segment,
)
from nbfn.types import InputStatus

M = TypeVar("M", bound=m.Message)

PYTHON = "/usr/bin/python"
SUCCESS, FAILURE = int(InputStatus.SUCCESS), int(InputStatus.FAILURE)


class Value(str):
    """A payload that a test can compare with a string."""

    data: bytes = b""
    segments: tuple[Segment, ...] = ()
    weight = 0


def definition(
    name: str = "f",
    digest: str = "1",
    retries: int = 0,
    timeout: float = 300.0,
    at_once: tuple[int, int] | None = None,
    batches: tuple[int, float] | None = None,
    options: dict[str, Any] | None = None,
    **pool: float,
) -> Definition:
    """Return a definition as small as can be; ``options`` are fields of it."""
    return Definition(
        name,
        Payload(b""),
        digest,
        Environment(PYTHON, (), "/", "3.11", "3"),
        timeout=timeout,
        retries=RetryPolicy(max_retries=retries),
        pool=PoolSettings(**pool),
        concurrency=Concurrency(*at_once) if at_once else Concurrency(),
        batching=Batching(*batches) if batches else Batching(),
        **(options or {}),
    )


def inputs_of(pairs: Iterable[tuple[int, Any]]) -> tuple[m.NewInput, ...]:
    """Return the inputs that a message has, of (index, payload)."""
    return tuple(m.NewInput(index, payload) for index, payload in pairs)


def results_of(told: Iterable[tuple[int, int, Any, float, bool]]) -> tuple[m.Result, ...]:
    """Return the results that a message has, of (lease, status, payload, duration, final)."""
    return tuple(
        m.Result(lease, status, Value(payload) if isinstance(payload, str) else payload, *rest)
        for lease, status, payload, *rest in told
    )


def sent(effects: Iterable[fx.Effect], *kinds: type[M]) -> list[M]:
    """Return the messages of some kinds that are to be sent."""
    messages = (effect.message for effect in effects if isinstance(effect, fx.Send))
    return [message for message in messages if isinstance(message, kinds)]


def sends(effects: Iterable[fx.Effect], *kinds: type[m.Message]) -> list[fx.Send]:
    """Return the effects that send messages of some kinds."""
    found = (effect for effect in effects if isinstance(effect, fx.Send))
    return [effect for effect in found if isinstance(effect.message, kinds)]


class FakeWorker:
    """A worker process: what it has been told and not yet answered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.function = ""
        self.version = 0
        self.queue: list[m.LeasedInput] = []
        self.seq = 0
        self.connected = False
        self.draining = False


class Simulator:
    """Effects carried out, outcomes counted, time in hand."""

    def __init__(self, **limits: Any) -> None:
        ids = itertools.count()
        self.state = StateMachine(
            lambda prefix: f"{prefix}-{next(ids):022d}",
            limits=Limits(**({"cores": 2, "max_workers": 6} | limits)),
        )
        self.now = 100.0
        self.bursting = False  # events come together: pools are resized after the last of them
        self.workers: dict[str, FakeWorker] = {}
        self.to_start: list[str] = []
        self.to_bind: list[str] = []
        self.to_stop: list[str] = []
        self.runs: Counter[tuple[str, int]] = Counter()
        self.begun: Counter[tuple[str, int]] = Counter()
        self.outcomes: dict[tuple[str, int], m.Output] = {}
        self.told: list[fx.Effect] = []
        self.functions: dict[str, str] = {}
        self.put(e.ClientJoined("cl-1", executable=PYTHON))

    # --- events in, effects out ---

    def put(self, event: e.Event) -> list[fx.Effect]:
        """Hand an event to the state machine and carry out what it asks for."""
        return self._perform_all(self.state.process(event, self.now))

    def _perform_all(self, effects: list[fx.Effect]) -> list[fx.Effect]:
        if not self.bursting:
            effects += self.state.scale_pools()
        for effect in effects:
            self._perform(effect)
        self.told.extend(effects)
        return effects

    def end_burst(self) -> None:
        """Have the pools resized that a burst of events has touched; from now on each event comes alone."""
        if self.bursting:
            self.bursting = False
            self._perform_all([])

    def receive(self, sender: str, message: m.Message) -> list[fx.Effect]:
        """Hand a message to the state machine and carry out what it asks for."""
        return self.put(e.Received(sender, message))

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.StartWorker():
                self.to_start.append(effect.worker)
            case fx.StopWorker():
                self.to_stop.append(effect.worker)
            case fx.LoadInputs():
                self._deliver(effect.worker, effect.run)
            case fx.Send():
                self._deliver(effect.to, effect.message)

    def _deliver(self, to: str, message: m.Message) -> None:
        match message:
            case m.Bind():
                worker = self.workers[to]
                worker.function, worker.version = message.function, message.version
                self.to_bind.append(to)
            case m.Run():
                receiver = self.workers.get(to)
                if receiver is not None and receiver.connected:
                    receiver.queue.extend(message.inputs)
                    self.begun.update((grant.call, grant.index) for grant in message.inputs)
            case m.CancelInput():
                self._cancel(to, message.lease)
            case m.Drain():
                self.to_stop.append(to)
            case m.Outputs():
                for outcome in message.outputs:
                    key = (message.call, outcome.index)
                    assert self.outcomes.get(key, outcome) == outcome, f"a second outcome for {key}"
                    self.outcomes[key] = outcome
            case m.Registered():
                self.functions[message.info.name] = message.info.id

    def _cancel(self, name: str, lease: int) -> None:
        worker = self.workers.get(name)
        if worker is not None:
            kept = [grant for grant in worker.queue if grant.lease != lease]
            if len(kept) < len(worker.queue):
                worker.queue = kept
                self.results(worker, [(lease, int(InputStatus.TERMINATED), None, 0.0, False)])

    # --- what processes do ---

    def start(self, worker: str) -> None:
        """A worker process comes up and says hello."""
        self.to_start.remove(worker)
        self.workers[worker] = FakeWorker(worker)
        self.hello(worker)

    def hello(self, worker: str) -> None:
        """A worker says hello, for the first time or again."""
        fake = self.workers[worker]
        fake.connected = True
        running = [(g.lease, g.call, g.index, g.attempt) for g in fake.queue]
        self.put(e.WorkerJoined(worker, 1, PYTHON, fake.function, fake.version, running))

    def bind(self, worker: str) -> None:
        """A worker has loaded its function."""
        self.to_bind.remove(worker)
        if worker in self.workers and self.workers[worker].connected:
            self.receive(worker, m.Bound("", 0))

    def stop(self, worker: str) -> None:
        """A worker that was told to goes."""
        self.to_stop.remove(worker)
        self.exit(worker, exit_code=0)

    def finish(
        self, worker: str, status: int = SUCCESS, duration: float = 0.01, *, final: bool = False
    ) -> None:
        """A worker ends its first input."""
        fake = self.workers[worker]
        grant = fake.queue.pop(0)
        self.runs[grant.call, grant.index] += 1
        self.results(fake, [(grant.lease, status, f"{grant.call}:{grant.index}", duration, final)])

    def results(
        self, fake: FakeWorker, results: list[tuple[int, int, object, float, bool]]
    ) -> None:
        """A worker reports."""
        fake.seq += 1
        self.receive(fake.name, m.Results(fake.seq, results_of(results)))

    def exit(self, worker: str, *, exit_code: int | None = None, signal: int | None = None) -> None:
        """A worker process ends, in the middle of its first input if it has one."""
        fake = self.workers.pop(worker, None)
        if fake is not None:
            running = fake.queue[0].lease if fake.queue else 0
            self.put(e.WorkerExited(worker, exit_code, signal, running))

    def wait(self, seconds: float) -> None:
        """Let time pass; timers fire on the way."""
        self.end_burst()
        until = self.now + seconds
        while (due := self.state.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.put(e.Tick())
        self.now = until
        self.put(e.Tick())

    def settle(self, steps: int = 10_000) -> None:
        """Let healthy processes do all there is to do."""
        self.end_burst()
        for _ in range(steps):
            busy = [w for w in self.workers.values() if w.connected and w.queue]
            if self.to_start:
                self.start(self.to_start[0])
            elif self.to_stop:
                self.stop(self.to_stop[0])
            elif self.to_bind:
                self.bind(self.to_bind[0])
            elif busy:
                self.finish(busy[0].name)
            elif self.state.hub_state.calls:
                self.wait(5.0)
            else:
                return
        raise AssertionError(f"still at work: {self._describe()}")

    def _describe(self) -> str:
        hub_state = self.state.hub_state
        pools = [
            (
                p.key,
                p.settings,
                p.backlog,
                p.leased,
                p.short,
                {w.id: w.state for w in p.workers.values()},
            )
            for p in hub_state.pools.values()
        ]
        rest = (
            hub_state.blanks,
            hub_state.starting,
            hub_state.start_backoff,
            list(hub_state.short),
        )
        return f"{pools} {rest} now {self.now} workers {list(self.workers)} {self.to_bind}"

    # --- what tests ask for ---

    def register(self, *args: object, **kwargs: object) -> str:
        """Register a function; return its id."""
        made = definition(*args, **kwargs)  # type: ignore[arg-type]
        self.receive("cl-1", m.Register(1, "app", made, "ap-1", ""))
        return self.functions[made.name]

    def call(
        self,
        name: str,
        function: str,
        count: int,
        *,
        kind: str = "map",
        durable: bool = False,
        method: str = "",
        version: int = 0,
    ) -> str:
        """Begin a call with inputs 0..count-1, all at once."""
        inputs = [(index, f"{name}:{index}") for index in range(count)]
        what = (name, function, version, kind, inputs_of(inputs))
        self.receive("cl-1", m.PutCall(*what, closed=True, durable=durable, method=method))
        return name

    def up(self, count: int | None = None) -> None:
        """Bring up and load workers that were asked for."""
        for worker in list(self.to_start)[:count]:
            self.start(worker)
        for worker in list(self.to_bind):
            self.bind(worker)

    def busy(self) -> list[FakeWorker]:
        """Return the workers that have inputs."""
        return [worker for worker in self.workers.values() if worker.queue]

    def most(self, pool: Pool) -> float:
        """Return how many workers a pool may have."""
        return max(pool.settings.max_containers, pool.settings.min_containers)

    def _check_capacity(self) -> None:
        """No more is set aside than there is, and each GPU for one worker."""
        hub_state = self.state.hub_state
        needs = [w.pool.definition.resources for w in hub_state.workers.values() if w.pool]
        limits = hub_state.limits
        assert sum(need.memory or 0 for need in needs) <= (limits.memory or math.inf)
        assert sum(need.cpu or 0 for need in needs) <= limits.cpu + 1e-9
        gpus = Counter(gpu for worker in hub_state.workers.values() for gpu in worker.gpus)
        assert all(count == 1 for count in gpus.values())
        assert set(gpus) <= set(limits.gpus)

    def _check_room(self, worker: Worker) -> None:
        """No worker has more than it may run at once, but where inputs go ahead; batches are pure."""
        pool = worker.pool
        if pool is None:
            return
        assert not worker.leases or pool.prefetches or pool.room(worker) >= 0
        assert not (pool.definition.single_use and worker.inputs_run > 1)
        sizes = Counter(item.batch for item in worker.leases.values() if item.batch)
        for batch, size in sizes.items():
            methods = {i.call.method for i in worker.leases.values() if i.batch == batch}
            assert len(methods) == 1
            assert size <= pool.batches[methods.pop()].size

    def _check_sizes(self) -> None:
        """Check that resizing changes nothing where it is skipped for that reason."""
        t = self.state.hub_state

        def seen() -> object:
            pools = [
                (p.short, p.waiting_for, list(p.workers), p.shrink_due) for p in t.pools.values()
            ]
            return pools, list(t.effects), list(t.to_resize), t.supply_due, list(t._timers)

        for pool in list(t.pools.values()):
            if pool_scaling._has_right_size(t, pool):
                before = seen()
                pool_scaling._resize(t, pool)
                assert seen() == before

    def check(self) -> None:
        """Hold the tables against each other and against this simulator's own account."""
        hub_state = self.state.hub_state
        held: Counter[int] = Counter()
        for pool in hub_state.pools.values():
            assert len(pool.workers) <= self.most(pool)
            assert bool(pool.short) == (pool in hub_state.short), "it is told of new workers"
            its = [
                w for w in hub_state.workers.values() if w.pool is pool
            ]  # the draining ones, too
            assert pool.leased == sum(len(w.leases) for w in its)
            assert pool.busy == sum(w.state == "busy" for w in pool.workers.values())
            assert set(pool.idle) == {w.id for w in pool.workers.values() if w.state == "idle"}
        self._check_sizes()
        self._check_capacity()
        durable = [call for call in hub_state.calls.values() if call.durable]
        assert hub_state.durable_inputs == sum(len(call.inputs) for call in durable)
        for worker in hub_state.workers.values():
            self._check_room(worker)
            for lease, item in worker.leases.items():
                held[id(item)] += 1
                assert item.worker is worker
                assert item.lease == lease
        assert all(count == 1 for count in held.values()), "an input with two workers"
        for call in hub_state.calls.values():
            waiting = [item for item in call.inputs.values() if item.worker is None]
            assert call.leased == len(call.inputs) - len(waiting)
            assert call.done + len(call.inputs) == call.total


def function_rows(t: HubState) -> list[dict[str, Any]]:
    """Return the rows of Functions in the overview."""
    _, running = status.running_inputs(t)
    return [status.function_row(t, f, running[f.id]) for f in status.shown_functions(t)]


def call_rows(t: HubState) -> list[dict[str, Any]]:
    """Return the rows of calls in the overview."""
    running, _ = status.running_inputs(t)
    return [
        *(status.call_row(t, call, running[call]) for call in status.shown_calls(t)),
        *(status.ended_call_row(t, call, ended) for call, ended in reversed(t.history)),
    ]


def worker_rows(t: HubState) -> list[dict[str, Any]]:
    """Return the rows of workers in the overview."""
    return [status.worker_row(t, worker) for worker in t.workers.values()]
