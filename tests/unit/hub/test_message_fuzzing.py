"""Messages that make no sense: a peer may send anything, the hub stays up and its tables stay consistent
(docs/guarantees.md, S4, S9, S17).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events
from nbfn.hub.scheduler.models import Input, Pool
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from nbfn.protocol.codec import BadFrame
from tests.unit.hub.random_messages import message
from tests.unit.hub.simulator import PYTHON, Simulator, inputs_of, sends

#: Not events of the state machine: the broker answers these itself.
_ASKED = {
    m.StopHub,
    m.WatchOverview,
    m.GetOverview,
    m.GetCalls,
    m.GetInputs,
    m.GetHealth,
    m.GetStats,
    m.Lookup,
    m.LookupEndpoint,
    m.LookupId,
    m.GetDefinition,
    m.GetApps,
    m.GetEnvironments,
    m.GetHistory,
    m.GetLogs,
    m.GetTimeline,
    m.GetFailure,
    m.Attach,
    m.ConsoleOpened,
    m.Sync,
}


class _FuzzedSimulator(Simulator):
    """A simulator in which a worker is at work, always the same one, and peers say anything."""

    def __init__(self) -> None:
        super().__init__()
        function = self.register("f")
        for name, count, durable in (("fc-1", 5, False), ("fc-2", 2, True)):
            inputs = inputs_of((index, m.Payload(b"x")) for index in range(count))
            self.receive("cl-1", m.PutCall(name, function, 0, "map", inputs, durable=durable))
        self.up()

    def most(self, pool: Pool) -> float:
        """See `Simulator.most`; workers that nobody started may say hello."""
        return math.inf

    def take(self, event: events.Event) -> None:
        """Have the state machine take an event, and look whether all that it knows fits together."""
        effects = self.state.process(event, self.now)
        if not self.bursting:
            effects += self.state.scale_pools()
        for effect in effects:
            if isinstance(effect, fx.Send):
                _assert_readable(effect.message)
        self.check()
        hub_state = self.state.hub_state
        queued = {id(item) for pool in hub_state.pools.values() for item in _queued(pool)}
        waiting = {id(item) for items in hub_state.unclaimed.values() for item in items}
        for call in hub_state.calls.values():
            assert call.retrying >= 0
            unseen = [
                index
                for index, item in call.inputs.items()
                if item.worker is None and id(item) not in queued | waiting
            ]
            assert len(unseen) <= call.retrying, f"nobody will ever run {call.id} {unseen}"
        assert all(hub_state.calls.get(call.id) is call for call in hub_state.held)
        assert all(
            hub_state.workers.get(c.worker.id) is c.worker for c in hub_state.claims.values()
        )
        for pool in hub_state.pools.values():
            for turns in (pool.pending, *pool.batches.values()):
                assert set(turns.held) <= set(hub_state.held)
        claimed = Counter(c.worker.id for c in hub_state.claims.values() if c.result is None)
        for worker in hub_state.workers.values():
            assert worker.claimed == claimed[worker.id]
        assert {claim.lease for claim in hub_state.claims.values()} == set(hub_state.claimed)

    def take_results(self) -> None:
        """Have the client take all results: calls that are held go on."""
        for call in list(self.state.hub_state.held):
            assert self.state.hub_state.calls[call.id] is call
            _read(m.ResultsTaken(call.id, call.unconsumed), codec.TO_HUB)
            self.take(events.Received(call.client, m.ResultsTaken(call.id, call.unconsumed)))
        assert not self.state.hub_state.held


def _read(message: m.Message, decoder: msgspec.msgpack.Decoder[m.Message]) -> m.Message:
    """Return a message as its receiver reads it."""
    decoded = codec.decode(codec.encode(message), decoder)
    assert not isinstance(decoded, BadFrame), f"{decoded.reason}: {message}"
    return decoded


def _assert_readable(message: m.Message) -> None:
    """Check that whoever is sent a message can read it."""
    _read(message, codec.TO_CLIENT if isinstance(message, m.TO_CLIENT) else codec.TO_WORKER)


def _queued(pool: Pool) -> Iterator[Input]:
    yield from pool.solo
    for turns in (pool.pending, *pool.batches.values()):
        for call in (*turns.calls, *turns.held):
            yield from call.queue


_WORKERS = sorted(_FuzzedSimulator().workers)
_anything = message(*[kind for kind in (*m.FROM_CLIENT, *m.FROM_WORKER) if kind not in _ASKED])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    said=st.lists(
        st.tuples(
            st.sampled_from(["cl-1", "cl-1", "cl-2", "wk-new", *_WORKERS]), _anything, st.booleans()
        ),
        max_size=15,
    )
)
def test_any_words_in_any_order_leave_the_hub_up_and_its_tables_consistent(
    said: list[tuple[str, m.Message, bool]],
) -> None:
    sim = _FuzzedSimulator()
    for peer, one, sim.bursting in said:
        decoded = _read(one, codec.TO_HUB)
        hello = isinstance(decoded, m.ClientHello | m.WorkerHello)
        sim.take(events.joined(decoded) if hello else events.Received(peer, decoded))
        sim.now += 0.3
    sim.bursting = False
    for _ in range(5):
        sim.now += 20.0
        sim.take(events.Tick())
    sim.take_results()


def test_a_worker_that_was_not_started_here_holds_only_gpus_that_are_free() -> None:
    sim = Simulator(gpus=["0", "1"])
    function = sim.register("f")
    for name, claimed in (("wk-a", ["0", "0", "9"]), ("wk-b", ["0", "1"])):
        sim.put(events.WorkerJoined(name, 1, PYTHON, function, 1, gpus=claimed))
    held = {worker.id: worker.gpus for worker in sim.state.hub_state.workers.values()}
    assert (held["wk-a"], held["wk-b"]) == (("0",), ("1",))


def test_only_the_client_that_made_a_call_can_add_inputs_to_it_or_close_it() -> None:
    sim = Simulator()
    function = sim.register("f")
    sim.put(events.ClientJoined("cl-2"))
    first = m.PutCall("fc-1", function, 0, "map", inputs_of([(0, "fc-1:0")]), closed=False)
    sim.receive("cl-1", first)
    told = sim.receive("cl-2", msgspec.structs.replace(first, closed=True))
    (refused,) = sends(told, m.CallRefused)
    assert refused.to == "cl-2"
    sim.receive("cl-2", m.PutInputs("fc-1", inputs_of([(1, "not mine")]), closed=True))
    sim.receive("cl-1", m.PutInputs("fc-1", inputs_of([(1, "fc-1:1")]), closed=True))
    sim.up()
    sim.settle()
    assert sim.runs["fc-1", 0] == sim.runs["fc-1", 1] == 1
    assert sim.outcomes["fc-1", 1].payload == "fc-1:1"
