"""Any order of events whatever: no input lost, none with two workers, no pool above its max, one outcome each."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nbfn.hub.scheduler import events as e
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Resources
from nbfn.types import InputStatus
from tests.unit.hub.simulator import FAILURE, SUCCESS, Simulator, inputs_of


class AnyOrder(RuleBasedStateMachine):
    """Clients, workers and time in any order; then peace, in which everything must end."""

    def __init__(self) -> None:
        super().__init__()
        self.sim = Simulator(memory=100, gpus=("3", "5"))
        self.accepted: set[tuple[str, int]] = set()
        self.calls = 0
        self.versions = 0
        self.fs = [
            self.sim.register("f", max_containers=2, retries=1),
            self.sim.register("g", max_containers=3, min_containers=1),
            self.sim.register("at once", at_once=(3, 2), max_containers=2, retries=1),
            self.sim.register("batches", batches=(4, 1.0), at_once=(2, 2), max_containers=2),
            self.sim.register("single", options={"single_use": True}, max_containers=2),
            self.sim.register("once", options={"at_most_once": True}, max_containers=2),
            self.sim.register(
                "large", options={"resources": Resources(memory=60)}, max_containers=2
            ),
            self.sim.register(
                "gpu", options={"resources": Resources(memory=30, gpus=1)}, max_containers=3
            ),
        ]

    def _pick(self, names: list[str], data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(names)))

    @rule(which=st.integers(0, 7), count=st.integers(1, 30), durable=st.booleans())
    def begin_a_call(self, which: int, count: int, durable: bool) -> None:
        self.calls += 1
        name = self.sim.call(f"fc-{self.calls}", self.fs[which], count, durable=durable)
        self.accepted |= {(name, index) for index in range(count)}

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def tell_of_a_call_again(self, data: st.DataObject) -> None:
        name, _ = data.draw(st.sampled_from(sorted(self.accepted)))
        call = self.sim.state.hub_state.calls.get(name)
        if call is not None:
            inputs = [(i, f"{name}:{i}") for n, i in sorted(self.accepted) if n == name]
            put = e.Received(
                "cl-1",
                m.PutCall(
                    name, call.pool.record.id, 0, "map", inputs_of(inputs), True, call.durable, True
                ),
            )
            self.sim.put(put)

    @precondition(lambda self: self.sim.state.hub_state.calls)
    @rule(data=st.data(), some=st.booleans())
    def cancel(self, data: st.DataObject, some: bool) -> None:
        name = self._pick(list(self.sim.state.hub_state.calls), data)
        indices = [i for n, i in sorted(self.accepted) if n == name][::2] if some else None
        self.sim.receive("cl-1", m.Cancel(0, name, indices))

    @precondition(lambda self: self.sim.to_start)
    @rule(data=st.data())
    def start_worker(self, data: st.DataObject) -> None:
        self.sim.start(self._pick(self.sim.to_start, data))

    @precondition(lambda self: self.sim.to_start)
    @rule(data=st.data())
    def fail_to_start(self, data: st.DataObject) -> None:
        worker = self._pick(self.sim.to_start, data)
        self.sim.to_start.remove(worker)
        self.sim.put(e.WorkerNotStarted(worker, "no room"))

    @precondition(lambda self: self.sim.to_bind)
    @rule(data=st.data())
    def load_function(self, data: st.DataObject) -> None:
        self.sim.bind(self._pick(self.sim.to_bind, data))

    @precondition(lambda self: self.sim.to_stop)
    @rule(data=st.data())
    def stop_worker(self, data: st.DataObject) -> None:
        self.sim.stop(self._pick(self.sim.to_stop, data))

    @precondition(lambda self: self.sim.busy())
    @rule(data=st.data(), status=st.sampled_from([SUCCESS, SUCCESS, FAILURE]), fast=st.booleans())
    def finish_input(self, data: st.DataObject, status: int, fast: bool) -> None:
        worker = self._pick([w.name for w in self.sim.busy()], data)
        self.sim.finish(worker, status, 1e-5 if fast else 1.0)

    @precondition(lambda self: self.sim.workers)
    @rule(data=st.data(), signal=st.sampled_from([9, 11, None]))
    def kill_worker(self, data: st.DataObject, signal: int | None) -> None:
        worker = self._pick(list(self.sim.workers), data)
        self.sim.exit(worker, signal=signal, exit_code=None if signal else 3)

    @precondition(lambda self: self.sim.workers)
    @rule(data=st.data())
    def lose_worker(self, data: st.DataObject) -> None:
        fake = self.sim.workers[self._pick(list(self.sim.workers), data)]
        if fake.connected:
            fake.connected = False
            self.sim.put(e.WorkerLost(fake.name))

    @precondition(lambda self: any(not w.connected for w in self.sim.workers.values()))
    @rule(data=st.data())
    def worker_comes_back(self, data: st.DataObject) -> None:
        lost = [w.name for w in self.sim.workers.values() if not w.connected]
        self.sim.hello(self._pick(lost, data))

    @precondition(lambda self: any(len(w.queue) > 1 for w in self.sim.workers.values()))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        fake = self.sim.workers[
            self._pick([w.name for w in self.sim.workers.values() if len(w.queue) > 1], data)
        ]
        fake.queue, back = fake.queue[:1], fake.queue[1:]
        self.sim.begun.subtract((grant.call, grant.index) for grant in back)
        self.sim.receive(fake.name, m.Returned([grant.lease for grant in back]))

    @rule(which=st.integers(0, 1), least=st.integers(0, 3), most=st.integers(1, 4))
    def change_settings(self, which: int, least: int, most: int) -> None:
        # Never under what is there: a pool above a *lowered* max shrinks as its workers become idle.
        pools = [
            p for p in self.sim.state.hub_state.pools.values() if p.record.id == self.fs[which]
        ]
        most = max([most, *(len(pool.workers) for pool in pools)])
        self.sim.receive(
            "cl-1",
            m.SetAutoscaler(
                2,
                self.fs[which],
                m.PoolSettings(min_containers=min(least, most), max_containers=most),
            ),
        )

    @rule()
    def new_version(self) -> None:
        self.versions += 1
        self.sim.register("f", digest=f"again {self.versions}", max_containers=2)

    @rule()
    def several_events_come_at_once(self) -> None:
        self.sim.bursting = True

    @precondition(lambda self: self.sim.bursting)
    @rule()
    def no_more_events_come_at_once(self) -> None:
        self.sim.end_burst()

    @rule(seconds=st.sampled_from([0.05, 1.0, 6.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.sim.wait(seconds)

    @invariant()
    def nothing_begins_twice_that_must_not(self) -> None:
        calls = self.sim.state.hub_state.calls
        for (name, index), count in self.sim.begun.items():
            if name in calls and calls[name].pool.definition.at_most_once:
                assert count == 1, (name, index)

    @invariant()
    def tables_agree(self) -> None:
        self.sim.check()

    def teardown(self) -> None:
        for fake in list(self.sim.workers.values()):
            if not fake.connected:
                self.sim.exit(fake.name, signal=9)
        self.sim.settle()
        assert set(self.sim.outcomes) == self.accepted
        for (call, index), outcome in self.sim.outcomes.items():
            if outcome.status == InputStatus.SUCCESS:
                assert outcome.payload == f"{call}:{index}"


AnyOrder.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    # Without shrinking a failure is shown in seconds; add Phase.shrink to read one at leisure.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestAnyOrder = AnyOrder.TestCase
