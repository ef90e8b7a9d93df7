"""Secrets in the state machine: kept by name, resolved where a worker becomes a Function, never said."""

from __future__ import annotations

import msgspec

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Secret
from tests.unit.hub.simulator import Simulator, definition, sends, sent


def put(
    sim: Simulator, name: str = "s", *, overwrite: bool = False, where: str = "", **values: str
) -> list[fx.Effect]:
    return sim.receive("cl-1", m.PutSecret(1, name, values, where, overwrite))


def register(
    sim: Simulator, *secrets: Secret, env: dict[str, str] | None = None
) -> list[fx.Effect]:
    made = msgspec.structs.replace(definition(), secrets=secrets, env=env or {})
    return sim.receive("cl-1", m.Register(1, "app", made, "", ""))


def refused(effects: list[fx.Effect]) -> list[str]:
    return [effect.code for effect in sent(effects, m.Failed)]


def test_a_name_is_taken_until_it_is_overwritten_or_deleted() -> None:
    sim = Simulator()
    assert refused(put(sim, A="1")) == []
    assert refused(put(sim, A="2")) == ["already_exists"]
    assert refused(put(sim, overwrite=True, A="2")) == []
    assert refused(sim.receive("cl-1", m.DeleteSecret(1, "s"))) == []
    assert refused(sim.receive("cl-1", m.DeleteSecret(1, "s"))) == ["not_found"]


def test_it_is_on_disk_before_it_is_said_to_be() -> None:
    effects = put(Simulator(), A="1")
    (saved,) = (effect for effect in effects if isinstance(effect, fx.SaveSecret))
    (answer,) = sends(effects, m.Done)
    assert saved.values == {"A": "1"}
    assert answer.after_commit


def test_a_worker_gets_each_variable_from_the_last_that_has_it() -> None:
    sim = Simulator()
    put(sim, A="stored", B="stored", C="stored")
    register(sim, Secret("s"), Secret(values={"B": "inline", "C": "inline"}), env={"C": "env"})
    sim.call("fc-1", sim.functions["f"], 1)
    sim.start(sim.to_start[0])
    (bound,) = sent(sim.told, m.Bind)
    assert bound.variables == {"A": "stored", "B": "inline", "C": "env"}
    assert bound.environment_name == "main"


def test_a_secret_of_another_environment_is_another_one() -> None:
    sim = Simulator()
    assert refused(put(sim, where="staging", A="1")) == ["not_found"]
    sim.receive("cl-1", m.ChangeEnvironment(1, "", "staging"))
    put(sim, where="staging", A="1")
    assert refused(register(sim, Secret("s"))) == ["not_found"]
    assert refused(register(sim, Secret("s", "staging", ("A",)))) == []
    assert refused(register(sim, Secret("s", "staging", ("B",)))) == ["not_found"]


def test_a_warm_pool_whose_secret_is_gone_waits_for_it_and_calls_fail_meanwhile() -> None:
    sim = Simulator()
    put(sim, A="1")
    warm = msgspec.structs.replace(definition(min_containers=1), secrets=(Secret("s"),))
    sim.receive("cl-1", m.Register(1, "app", warm, "", ""))
    sim.up()
    sim.receive("cl-1", m.DeleteSecret(1, "s"))
    (worker,) = (one for one in sim.workers.values() if one.function)
    sim.exit(worker.name, signal=9)
    for _ in range(10):
        sim.up()
        sim.wait(2.0)
    assert not any(one.function for one in sim.workers.values())
    assert len(sim.workers) <= 3  # blank ones, not ever more of them
    sim.call("fc-1", sim.functions["f"], 2)
    assert [outcome.fault.code for outcome in sim.outcomes.values() if outcome.fault] == [
        "not_found"
    ] * 2
    put(sim, A="2")
    assert sim.to_bind


def test_an_environments_secrets_go_where_it_goes() -> None:
    sim = Simulator()
    sim.receive("cl-1", m.ChangeEnvironment(1, "", "staging"))
    put(sim, where="staging", A="1")
    sim.receive("cl-1", m.ChangeEnvironment(1, "staging", "testing"))
    assert list(sim.state.hub_state.secrets) == [("testing", "s")]
    effects = sim.receive("cl-1", m.ChangeEnvironment(1, "testing", ""))
    assert sim.state.hub_state.secrets == {}
    assert any(isinstance(one, fx.SaveSecret) and one.values is None for one in effects)


def test_nothing_that_is_printed_or_listed_holds_a_value() -> None:
    sim = Simulator()
    printed = repr(put(sim, A="hush")) + repr(sim.receive("cl-1", m.ListSecrets(1)))
    printed += repr(e.Received("cl-1", m.PutSecret(1, "s", {"A": "hush"})))
    printed += repr(register(sim, Secret("s"), Secret(values={"B": "hush"}), env={"C": "hush"}))
    sim.call("fc-1", sim.functions["f"], 1)
    sim.start(sim.to_start[0])
    printed += repr(sim.told) + repr(sim.state.hub_state.secrets)
    assert "Bind(" in printed
    at = printed.find("hush")
    assert at < 0, printed[at - 200 : at + 50]
