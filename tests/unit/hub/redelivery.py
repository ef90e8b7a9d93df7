"""A simulator in which words come twice, late or to a hub that is new: what a network, a stopped process and a
`kill -9` of the hub do to them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

import msgspec

from nbfn.hub.call_store import TO_REPLAY
from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler.models import Pool
from nbfn.hub.scheduler.state_machine import StateMachine
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import InputCounts
from tests.unit.hub.simulator import PYTHON, FakeWorker, Simulator, inputs_of, results_of


class RedeliverySimulator(Simulator):
    """A `Simulator` whose client and workers keep what is not confirmed and say it again, and that has a disk."""

    def __init__(self, **limits: float) -> None:
        self.epoch = 1
        self.disk: dict[str, dict[int, object]] = {}  # durable calls: their inputs without outcome
        self.saved: dict[str, tuple[fx.SaveCall, int, int]] = {}  # ... with total and done
        self.failures: dict[str, dict[int, int]] = {}  # ... and how often these had failed
        self.given: dict[str, m.PutCall] = {}  # what the client called
        self.unaccepted: set[str] = set()  # spawned, and not told yet that it is safe
        self.finished: dict[
            str, list[tuple[int, int, object, float, bool]]
        ] = {}  # by worker, unconfirmed
        self.said: list[e.Event] = []  # words that a network may say again
        self.ran: dict[int, m.LeasedInput] = {}  # what workers ran to its end, by lease
        self.written_off: set[int] = set()  # leases whose results count for nothing, or may not
        self.lost: Counter[tuple[str, int]] = Counter()  # ... how many, by input; runs granted anew
        self.deaf = False  # the client hears nothing: its connection is down
        super().__init__(**limits)

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.SaveCall():
                new = {one.index: one.payload for one in effect.inputs}
                self.disk.setdefault(effect.call, {}).update(new)
                _, total, done = self.saved.get(effect.call, (effect, 0, 0))
                self.saved[effect.call] = (effect, total + len(effect.inputs), done)
            case fx.SaveFailures():
                self.failures.setdefault(effect.call, {})[effect.index] = effect.failures
            case fx.SaveOutcomes():
                saved, total, done = self.saved[effect.call]
                for outcome in effect.outcomes:
                    self.disk[effect.call].pop(outcome.index, None)
                    self.outcomes.setdefault((effect.call, outcome.index), outcome)
                self.saved[effect.call] = (saved, total, done + len(effect.outcomes))
                return
            case fx.SaveRetry():
                saved, total, done = self.saved[effect.call]
                saved = dataclasses.replace(saved, version=effect.version)
                self.saved[effect.call] = (saved, total, done - len(effect.indices))
                for index in effect.indices:
                    self.disk[effect.call][index] = f"{effect.call}:{index}"
                    del self.outcomes[effect.call, index]
                    self.failures.get(effect.call, {}).pop(index, None)
                    self.lost[effect.call, index] += 2  # runs, with the retry of its Function's own
        super()._perform(effect)

    def _deliver(self, to: str, message: m.Message) -> None:
        match message:
            case m.Accepted() if not self.deaf:
                self.unaccepted.discard(message.call)
            case m.Outputs() if self.deaf:
                return
            case m.Confirm():
                self._confirm(to)
            case m.Run():
                for grant in message.inputs:
                    self._write_off_elsewhere(grant)
                super()._deliver(to, message)
                self._take_once(to)
                return
        super()._deliver(to, message)

    def _confirm(self, worker: str) -> None:
        fake = self.workers.get(worker)
        if fake is not None and fake.connected:
            self.finished.pop(worker, None)

    def _write_off(self, grant: m.LeasedInput) -> None:
        if grant.lease not in self.written_off:
            self.written_off.add(grant.lease)
            self.lost[grant.call, grant.index] += 1

    def _write_off_elsewhere(self, grant: m.LeasedInput) -> None:
        """An input is handed out although another worker, which the hub gave up, may run it or has its result."""
        for fake in self.workers.values():
            for other in (*fake.queue, *self._unconfirmed(fake.name)):
                if (other.call, other.index) == (grant.call, grant.index):
                    self._write_off(other)

    def _unconfirmed(self, worker: str) -> list[m.LeasedInput]:
        """Return what a worker ran to its end and would tell of again."""
        return [self.ran[lease] for lease, *_ in self.finished.get(worker, ()) if lease in self.ran]

    def _take_once(self, worker: str) -> None:
        """Do as the worker's line does: an input that comes twice is run once."""
        fake = self.workers.get(worker)
        if fake is not None:
            leases = [grant.lease for grant in fake.queue]
            assert len(leases) == len(set(leases)), "one lease for two inputs"
            done = {lease for lease, *_ in self.finished.get(worker, ())}
            assert not done & set(leases), "a lease was given out again"

    def results(
        self, fake: FakeWorker, results: list[tuple[int, int, object, float, bool]]
    ) -> None:
        """See `Simulator.results`; kept, and lost on the way when the connection is down."""
        self.finished.setdefault(fake.name, []).extend(results)
        fake.seq += 1
        if fake.connected:
            event = e.Received(fake.name, m.Results(fake.seq, results_of(results)))
            self.said.append(event)
            self.put(event)

    def hello(self, worker: str) -> None:
        """See `Simulator.hello`; says again what is not confirmed."""
        fake = self.workers[worker]
        fake.connected = True
        kept = self.finished.get(worker, [])
        grants = [*fake.queue, *self._unconfirmed(worker)]
        running = [(g.lease, g.call, g.index, g.attempt) for g in grants]
        event = e.WorkerJoined(worker, 1, PYTHON, fake.function, fake.version, running)
        self.put(event)
        if kept and worker in self.workers:
            self.receive(worker, m.Results(fake.seq, results_of(list(kept))))

    def finish(self, worker: str, status: int = 0, duration: float = 0.01) -> None:
        """See `Simulator.finish`."""
        grant = self.workers[worker].queue[0]
        self.ran[grant.lease] = grant
        super().finish(worker, status or 1, duration)

    def exit(self, worker: str, *, exit_code: int | None = None, signal: int | None = None) -> None:
        """See `Simulator.exit`; the results that it had not told of, or not for certain, go with it."""
        for grant in self._unconfirmed(worker):
            self._write_off(grant)
        self.finished.pop(worker, None)
        super().exit(worker, exit_code=exit_code, signal=signal)

    def restart(self) -> None:
        """The hub is killed; a new one reads the disk. Nobody has said hello to it yet."""
        self.bursting = False
        ids = self.state.hub_state.new_id
        registry = self.state.hub_state.registry
        self.epoch += 1
        self._write_off_what_only_the_hub_knew()
        self.state = StateMachine(ids, epoch=self.epoch, limits=self.state.hub_state.limits)
        for record in registry.functions.values():
            self.state.hub_state.registry.restore(record)
        for call, inputs in self.disk.items():
            if not inputs:
                self.state.hub_state.note_ended(call)
        self.to_start.clear()
        self.to_stop.clear()
        self.deaf = True
        for fake in self.workers.values():
            fake.connected = False
        for call, inputs in self.disk.items():
            save, total, done = self.saved[call]
            if inputs:
                self.put(
                    e.CallRestored(
                        call,
                        save.function,
                        save.version,
                        save.kind,
                        sorted(inputs.items()),
                        total,
                        InputCounts(succeeded=done),
                        failures={
                            index: failures
                            for index, failures in self.failures.get(call, {}).items()
                            if index in inputs
                        },
                    )
                )

    def _write_off_what_only_the_hub_knew(self) -> None:
        """Results that workers need not keep any longer, of calls that are not on disk, before the client has them."""
        kept = {grant.lease for worker in self.workers for grant in self._unconfirmed(worker)}
        for lease, grant in self.ran.items():
            on_disk = self.given[grant.call].durable
            if not on_disk and lease not in kept and (grant.call, grant.index) not in self.outcomes:
                self._write_off(grant)

    def failed(self) -> list[str]:
        """Return the durable calls that have ended, on disk, with inputs that failed."""
        found = {call for (call, _), o in self.outcomes.items() if o.status in TO_REPLAY}
        return sorted(call for call in found if call in self.disk and not self.disk[call])

    def retry(self, call: str) -> None:
        """The client wants a call's failed inputs run again; the disk tells which these are."""
        token = f"re-{sum(isinstance(effect, fx.SaveRetry) for effect in self.told)}"
        if fx.LoadFailures("cl-1", 7, call, token) not in self.receive(
            "cl-1", m.RetryCall(7, call, token)
        ):
            return
        save, total, done = self.saved[call]
        inputs = [
            (index, f"{call}:{index}")
            for (name, index), outcome in sorted(self.outcomes.items())
            if name == call and outcome.status in TO_REPLAY
        ]
        settled = InputCounts(succeeded=done - len(inputs))
        words = (call, save.function, save.version, save.kind, inputs, total, settled)
        self.put(e.FailuresLoaded("cl-1", 7, call, token, e.CallRestored(*words)))

    def most(self, pool: Pool) -> float:
        """See `Simulator.most`; those of an earlier hub may come when others have been started for them."""
        return super().most(pool) if self.epoch == 1 else float("inf")

    def client_back(self) -> None:
        """The client is there again, and repeats what has no outcome yet."""
        self.deaf = False
        self.put(e.ClientJoined("cl-1", executable=PYTHON))
        for call, put in self.given.items():
            if put.durable and call not in self.unaccepted:
                continue
            inputs = put.inputs
            if not put.durable:
                inputs = tuple(one for one in inputs if (call, one.index) not in self.outcomes)
            if inputs:
                self.receive("cl-1", msgspec.structs.replace(put, inputs=inputs, resent=True))

    def give(self, name: str, function: str, count: int, *, durable: bool) -> None:
        """Begin a call, and keep it until it has its outcomes."""
        inputs = [(index, f"{name}:{index}") for index in range(count)]
        put = m.PutCall(name, function, 0, "map", inputs_of(inputs), closed=True, durable=durable)
        self.given[name] = put
        if durable:
            self.unaccepted.add(name)
        if not self.deaf:
            self.receive("cl-1", put)
