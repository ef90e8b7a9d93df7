"""Words that come twice, late or to a new hub change nothing: one outcome each, nothing lost, and nothing runs
again without a reason (docs/guarantees.md, P2, P3, P4, P10, F13, F15, F20, F30).
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nbfn.hub.scheduler import events as e
from nbfn.protocol import messages as m
from nbfn.protocol.messages import PoolSettings, Variant
from nbfn.types import InputStatus
from tests.unit.hub.redelivery import RedeliverySimulator
from tests.unit.hub.simulator import FAILURE, SUCCESS


class RedeliveryFuzzing(RuleBasedStateMachine):
    """A network, a disk and three processes that break, in any order; then peace."""

    def __init__(self) -> None:
        super().__init__()
        self.sim = RedeliverySimulator()
        self.accepted: set[tuple[str, int]] = set()
        self.calls = 0
        self.fs = [
            self.sim.register("f", max_containers=2, retries=1),
            self.sim.register("g", max_containers=3, min_containers=1),
        ]
        changes = Variant(pool=PoolSettings(max_containers=1))
        self.sim.receive("cl-1", m.BindVariant(1, self.fs[0], changes, "v", "(x=1)"))
        self.fs.append(self.sim.functions["f(x=1)"])

    def _pick(self, names: list[str], data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(names)))

    @rule(which=st.integers(0, 2), count=st.integers(1, 12), durable=st.booleans())
    def begin_a_call(self, which: int, count: int, durable: bool) -> None:
        self.calls += 1
        name = f"fc-{self.calls}"
        self.accepted |= {(name, index) for index in range(count)}
        self.sim.give(name, self.fs[which], count, durable=durable)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def the_word_that_a_spawn_is_safe_is_lost(self, data: st.DataObject) -> None:
        spawned = [name for name, put in self.sim.given.items() if put.durable]
        if spawned:
            self.sim.unaccepted.add(self._pick(spawned, data))

    @rule(steps=st.integers(1, 12), status=st.sampled_from([SUCCESS, SUCCESS, FAILURE]))
    def work_goes_on(self, steps: int, status: int) -> None:
        sim = self.sim
        for _ in range(steps):
            busy = [w for w in sim.workers.values() if w.connected and w.queue]
            if sim.to_start:
                sim.start(sim.to_start[0])
            elif sim.to_bind:
                sim.bind(sim.to_bind[0])
            elif busy:
                sim.finish(busy[0].name, status)

    @precondition(lambda self: self.sim.failed())
    @rule(data=st.data())
    def retry_a_call(self, data: st.DataObject) -> None:
        self.sim.retry(self._pick(self.sim.failed(), data))

    @rule()
    def kill_the_hub(self) -> None:
        self.sim.restart()

    @rule()
    def cut_the_client_off(self) -> None:
        self.sim.deaf = True

    @rule()
    def the_client_is_back(self) -> None:
        self.sim.client_back()

    @precondition(lambda self: self.sim.workers)
    @rule(data=st.data())
    def cut_a_worker_off(self, data: st.DataObject) -> None:
        fake = self.sim.workers[self._pick(list(self.sim.workers), data)]
        if fake.connected:
            fake.connected = False
            self.sim.put(e.WorkerLost(fake.name))

    @precondition(lambda self: self.sim.workers)
    @rule(data=st.data())
    def the_end_of_a_worker_s_connection_is_not_noticed(self, data: st.DataObject) -> None:
        self.sim.workers[self._pick(list(self.sim.workers), data)].connected = False

    @precondition(lambda self: any(not w.connected for w in self.sim.workers.values()))
    @rule(data=st.data())
    def a_worker_is_back(self, data: st.DataObject) -> None:
        lost = [w.name for w in self.sim.workers.values() if not w.connected]
        self.sim.hello(self._pick(lost, data))

    @precondition(lambda self: self.sim.workers)
    @rule(data=st.data(), signal=st.sampled_from([9, None]))
    def kill_a_worker(self, data: st.DataObject, signal: int | None) -> None:
        worker = self._pick(list(self.sim.workers), data)
        self.sim.exit(worker, signal=signal, exit_code=None if signal else 3)

    @precondition(lambda self: self.sim.said)
    @rule(data=st.data())
    def a_word_comes_again(self, data: st.DataObject) -> None:
        self.sim.put(data.draw(st.sampled_from(self.sim.said)))

    @precondition(lambda self: self.sim.to_start)
    @rule(data=st.data())
    def start_worker(self, data: st.DataObject) -> None:
        self.sim.start(self._pick(self.sim.to_start, data))

    @precondition(lambda self: self.sim.to_bind)
    @rule(data=st.data())
    def load_function(self, data: st.DataObject) -> None:
        self.sim.bind(self._pick(self.sim.to_bind, data))

    @precondition(lambda self: self.sim.busy())
    @rule(data=st.data(), status=st.sampled_from([SUCCESS, SUCCESS, FAILURE]), fast=st.booleans())
    def finish_input(self, data: st.DataObject, status: int, fast: bool) -> None:
        worker = self._pick([w.name for w in self.sim.busy()], data)
        self.sim.finish(worker, status, 1e-5 if fast else 1.0)

    @rule()
    def several_events_come_at_once(self) -> None:
        self.sim.bursting = True

    @precondition(lambda self: self.sim.bursting)
    @rule()
    def no_more_events_come_at_once(self) -> None:
        self.sim.end_burst()

    @rule(seconds=st.sampled_from([0.05, 0.05, 1.0, 2.0, 12.0]))
    def time_passes(self, seconds: float) -> None:
        self.sim.wait(seconds)

    @invariant()
    def tables_agree(self) -> None:
        self.sim.check()

    def teardown(self) -> None:
        sim = self.sim
        for fake in list(sim.workers.values()):
            if not fake.connected:
                sim.exit(fake.name, signal=9)
        sim.client_back()
        sim.settle()
        assert set(sim.outcomes) == self.accepted
        for (call, index), outcome in sim.outcomes.items():
            if outcome.status == InputStatus.SUCCESS:
                assert outcome.payload == f"{call}:{index}"
        for key, runs in sim.runs.items():
            # Once, once more for a failure (retries), once for each result that was lost.
            assert runs <= 2 + sim.lost[key], f"{key} ran {runs} times"


RedeliveryFuzzing.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRedeliveryFuzzing = RedeliveryFuzzing.TestCase
