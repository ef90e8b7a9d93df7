"""The levels of a caller's loggers reach the workers that run its inputs."""

from __future__ import annotations

from nbfn.protocol import messages as m
from tests.unit.hub.simulator import inputs_of, sent

from .simulator import Simulator


def test_inputs_come_with_the_levels_of_their_calls_that_have_some() -> None:
    sim = Simulator()
    f = sim.register(max_containers=1)
    sim.up()
    sim.receive(
        "cl-1",
        m.PutCall("fc-1", f, 0, "map", inputs_of([(0, "a"), (1, "b")]), True, levels=b"info"),
    )
    sim.call("fc-2", f, 1)
    sim.up()
    while sim.busy():
        sim.finish(sim.busy()[0].name)
    told = {
        grant.call: run.levels.get(grant.call)
        for run in sent(sim.told, m.Run)
        for grant in run.inputs
    }
    assert told == {"fc-1": b"info", "fc-2": None}
