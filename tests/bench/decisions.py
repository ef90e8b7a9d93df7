"""The hub's mind alone: microseconds of a decision in virtual time, as workers and waiting inputs grow tenfold.

Workers are simulated: nothing is sent, nothing runs. A decision is one `State.handle`.
"""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections import deque
from collections.abc import Iterator

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler.hub_state import Limits
from nbfn.hub.scheduler.state_machine import StateMachine
from nbfn.protocol import messages as m
from nbfn.types import InputStatus
from tests.bench.clock import once
from tests.bench.options import Options
from tests.bench.table import Row, seconds, times
from tests.unit.hub.simulator import PYTHON, definition

SUCCESS = int(InputStatus.SUCCESS)
#: Mean seconds of an input: a long one is handed out alone, a short one in batches.
LONG, SHORT = 10.0, 1e-4


#: The arguments of an input, and its result.
PAYLOAD = m.Payload(b"x" * 10)


class Fleet:
    """A state machine with one function and so many workers, all idle.

    Args:
        workers: How many.
        warm: Whether they are wanted when idle; else they wait to be given up.
        others: Other functions that the hub has pools for.
    """

    def __init__(self, workers: int, *, warm: bool = True, others: int = 0) -> None:
        self._ids = 0
        self.now = 100.0
        limits = Limits(cores=workers, max_workers=workers, blank_workers=0)
        self.state = StateMachine(self._new_id, limits=limits)
        self.leases: dict[str, deque[int]] = {}
        self._seqs: dict[str, int] = {}
        self._busy: dict[str, None] = {}
        self.starting: deque[str] = deque()
        self.binding: deque[str] = deque()
        self.put(e.ClientJoined("cl-1", executable=PYTHON))
        for number in range(others):
            self._register(f"other{number}")
        self.function = self._register("f", max_containers=workers, min_containers=workers * warm)
        if not warm:
            self.call("fc-first", workers)
        self._bring_up()
        for worker in self.busy():
            self.finish(worker, LONG)
        self.names = list(self.leases)

    def _register(self, name: str, **pool: float) -> str:
        made = definition(name, **pool)  # type: ignore[arg-type]
        self.receive("cl-1", m.Register(1, "app", made, "ap-1", ""))
        return list(self.state.hub_state.registry.functions)[-1]

    def _bring_up(self) -> None:
        while self.starting or self.binding:
            if self.starting:
                self.put(e.WorkerJoined(self.starting.popleft(), 1, PYTHON))
            if self.binding:
                self.receive(self.binding.popleft(), m.Bound("", 0))

    def _new_id(self, prefix: str) -> str:
        self._ids += 1
        return f"{prefix}-{self._ids}"

    def put(self, event: e.Event, passing: float = 1e-5) -> float:
        """Hand in an event; return the seconds it took."""
        self.now += passing
        began = time.perf_counter()
        effects = self.state.handle(event, self.now)
        took = time.perf_counter() - began
        for effect in effects:
            if isinstance(effect, fx.StartWorker):
                self.starting.append(effect.worker)
            elif isinstance(effect, fx.Send) and isinstance(effect.message, m.Run):
                self.leases[effect.to].extend(leased.lease for leased in effect.message.inputs)
                self._busy[effect.to] = None
            elif isinstance(effect, fx.Send) and isinstance(effect.message, m.Bind):
                self.leases[effect.to] = deque()
                self.binding.append(effect.to)
        return took

    def receive(self, sender: str, message: m.Message) -> float:
        """Hand in a message; return the seconds it took."""
        return self.put(e.Received(sender, message))

    def busy(self) -> list[str]:
        """Return the workers that have inputs."""
        return list(self._busy)

    def call(self, name: str, inputs: int) -> float:
        """Begin a call."""
        new = tuple(m.NewInput(index, PAYLOAD) for index in range(inputs))
        kind = "map" if inputs > 1 else "remote"
        return self.receive("cl-1", m.PutCall(name, self.function, 0, kind, new, closed=True))

    def finish(self, worker: str, duration: float, most: int = 256) -> tuple[float, int]:
        """Have a worker report what it has; return the seconds that took, and of how many inputs."""
        leases = self.leases[worker]
        done = [leases.popleft() for _ in range(min(most, len(leases)))]
        if not leases:
            self._busy.pop(worker, None)
        self._seqs[worker] = seq = self._seqs.get(worker, 0) + 1
        results = tuple(m.Result(lease, SUCCESS, PAYLOAD, duration) for lease in done)
        return self.receive(worker, m.Results(seq, results)), len(done)


def measure(options: Options) -> Iterator[Row]:
    """Yield how the cost of a decision grows with workers, functions, calls and inputs."""
    few, many = options.count(1000, 100), options.count(10_000, 1000)
    short, long = options.count(10_000, 5000), options.count(1_000_000, 50_000)
    small, large = Fleet(few), Fleet(many)

    def grown(what: str, of: str, costs: tuple[float, float], sizes: tuple[int, int]) -> Row:
        return _grown(f"hub: {what}, {sizes[0]:,} → {sizes[1]:,} {of}", costs, sizes)

    sizes = (few, many)
    yield grown("a worker joins", "workers", (_start(few), _start(many)), sizes)
    yield grown("a remote(), all idle and wanted", "workers", (_calls(small), _calls(large)), sizes)
    spare = (_calls(Fleet(few, warm=False)), _calls(Fleet(many, warm=False)))
    yield grown("a remote(), all idle and spare", "workers", spare, sizes)
    crowded = (_calls(Fleet(100, others=few)), _calls(Fleet(100, others=many)))
    yield grown("a remote()", "functions", crowded, sizes)
    yield grown("a burst, an input each", "workers", (_burst(small), _burst(large)), sizes)
    waiting = (_singles(Fleet(100), few), _singles(Fleet(100), many))
    yield grown("remote()s at once", "calls", waiting, sizes)
    results = (_results(small, short + 2 * few), _results(large, short + 2 * many))
    yield grown("a result and the next input", "workers", results, sizes)
    sizes = (short, long)
    results = (_results(large, 2 * many + short), _results(large, 2 * many + long))
    yield grown("a result and the next input", "inputs", results, sizes)
    batches = (_batches(Fleet(100), short), _batches(Fleet(100), long))
    yield grown("an input in a batch, 100 workers", "inputs", batches, sizes)


def _grown(what: str, costs: tuple[float, float], sizes: tuple[int, int]) -> Row:
    """Return a row: the cost at both sizes, against the growth of a logarithm, doubled for caches and noise."""
    growth, allowed = costs[1] / costs[0], 2 * math.log(sizes[1]) / math.log(sizes[0])
    shown = " → ".join(seconds(cost) for cost in costs)
    return Row(
        what, shown, "", times(growth), f"grows ≤ {times(allowed)} (log n)", growth <= allowed
    )


def _start(workers: int) -> float:
    gc.collect()
    return once(lambda: Fleet(workers)) / workers


def _calls(fleet: Fleet, count: int = 200) -> float:
    """Return the seconds of one short call and its result, with nothing else to do."""
    took = []
    for number in range(count):
        began = fleet.call(f"fc-{number}", 1)
        (worker,) = fleet.busy()
        took.append(began + fleet.finish(worker, LONG)[0])
    return statistics.median(took)


def _burst(fleet: Fleet) -> float:
    """Return the seconds of an input when all idle workers get one at once, and all end; the best of a few."""
    found = []
    for number in range(3):
        spent = fleet.call(f"fc-burst-{number}", len(fleet.names))
        spent += sum(fleet.finish(worker, LONG)[0] for worker in fleet.busy())
        found.append(spent / len(fleet.names))
    return min(found)


def _singles(fleet: Fleet, count: int) -> float:
    """Return the seconds of a call among so many that wait with it."""
    spent = sum(fleet.call(f"fc-{number}", 1) for number in range(count))
    while busy := fleet.busy():
        spent += sum(fleet.finish(worker, LONG)[0] for worker in busy)
    return spent / count


def _results(fleet: Fleet, inputs: int, count: int = 1000) -> float:
    """Return the seconds of one decision while all workers are busy and more inputs wait."""
    choice = random.Random(1)
    name = f"fc-{inputs}-{fleet.now}"
    fleet.call(name, inputs)
    took = [fleet.finish(choice.choice(fleet.names), LONG)[0] for _ in range(count)]
    fleet.receive("cl-1", m.Cancel(0, name))
    for worker in fleet.busy():
        fleet.finish(worker, LONG)
    return statistics.median(took)


def _batches(fleet: Fleet, inputs: int) -> float:
    """Return the seconds that an input costs, from a call's begin until its last one is done."""
    spent = fleet.call("fc-batches", inputs)
    while busy := fleet.busy():
        spent += sum(fleet.finish(worker, SHORT)[0] for worker in busy)
    return spent / inputs
