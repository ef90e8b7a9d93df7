"""Secrets in the state machine: kept by name, resolved where a worker becomes a Function, never said."""

from __future__ import annotations

import msgspec

from nbfn.hub.machine import effects as fx
from nbfn.hub.machine import events as e
from nbfn.wire import messages as m
from nbfn.wire.messages import Secret
from tests.unit.hub.world import World, definition


def put(
    world: World, name: str = "s", *, overwrite: bool = False, where: str = "", **values: str
) -> list[fx.Effect]:
    return world.receive("cl-1", m.PutSecret(1, name, values, where, overwrite))


def register(world: World, *secrets: Secret, env: dict[str, str] | None = None) -> list[fx.Effect]:
    made = msgspec.structs.replace(definition(), secrets=secrets, env=env or {})
    return world.receive("cl-1", m.Register(1, "app", made, "", ""))


def refused(effects: list[fx.Effect]) -> list[str]:
    return [effect.code for effect in effects if isinstance(effect, fx.Refuse)]


def test_a_name_is_taken_until_it_is_overwritten_or_deleted() -> None:
    world = World()
    assert refused(put(world, A="1")) == []
    assert refused(put(world, A="2")) == ["already_exists"]
    assert refused(put(world, overwrite=True, A="2")) == []
    assert refused(world.receive("cl-1", m.DeleteSecret(1, "s"))) == []
    assert refused(world.receive("cl-1", m.DeleteSecret(1, "s"))) == ["not_found"]


def test_it_is_on_disk_before_it_is_said_to_be() -> None:
    effects = put(World(), A="1")
    (saved,) = (effect for effect in effects if isinstance(effect, fx.SaveSecret))
    (answer,) = (effect for effect in effects if isinstance(effect, fx.Answer))
    assert saved.values == {"A": "1"}
    assert answer.after_commit


def test_a_worker_gets_each_variable_from_the_last_that_has_it() -> None:
    world = World()
    put(world, A="stored", B="stored", C="stored")
    register(world, Secret("s"), Secret(values={"B": "inline", "C": "inline"}), env={"C": "env"})
    world.call("fc-1", world.functions["f"], 1)
    world.start(world.to_start[0])
    (bound,) = (effect for effect in world.told if isinstance(effect, fx.BindWorker))
    assert bound.variables == {"A": "stored", "B": "inline", "C": "env"}
    assert bound.environment_name == "main"


def test_a_secret_of_another_environment_is_another_one() -> None:
    world = World()
    assert refused(put(world, where="staging", A="1")) == ["not_found"]
    world.receive("cl-1", m.ChangeEnvironment(1, "", "staging"))
    put(world, where="staging", A="1")
    assert refused(register(world, Secret("s"))) == ["not_found"]
    assert refused(register(world, Secret("s", "staging", ("A",)))) == []
    assert refused(register(world, Secret("s", "staging", ("B",)))) == ["not_found"]


def test_a_warm_pool_whose_secret_is_gone_waits_for_it_and_calls_fail_meanwhile() -> None:
    world = World()
    put(world, A="1")
    warm = msgspec.structs.replace(definition(min_containers=1), secrets=(Secret("s"),))
    world.receive("cl-1", m.Register(1, "app", warm, "", ""))
    world.up()
    world.receive("cl-1", m.DeleteSecret(1, "s"))
    (worker,) = (one for one in world.workers.values() if one.function)
    world.exit(worker.name, signal=9)
    for _ in range(10):
        world.up()
        world.wait(2.0)
    assert not any(one.function for one in world.workers.values())
    assert len(world.workers) <= 3  # blank ones, not ever more of them
    world.call("fc-1", world.functions["f"], 2)
    assert [outcome.fault[0] for outcome in world.outcomes.values() if outcome.fault] == [
        "not_found"
    ] * 2
    put(world, A="2")
    assert world.to_bind


def test_an_environments_secrets_go_where_it_goes() -> None:
    world = World()
    world.receive("cl-1", m.ChangeEnvironment(1, "", "staging"))
    put(world, where="staging", A="1")
    world.receive("cl-1", m.ChangeEnvironment(1, "staging", "testing"))
    assert list(world.state.tables.secrets) == [("testing", "s")]
    effects = world.receive("cl-1", m.ChangeEnvironment(1, "testing", ""))
    assert world.state.tables.secrets == {}
    assert any(isinstance(one, fx.SaveSecret) and one.values is None for one in effects)


def test_nothing_that_is_printed_or_listed_holds_a_value() -> None:
    world = World()
    printed = repr(put(world, A="hush")) + repr(world.receive("cl-1", m.ListSecrets(1)))
    printed += repr(e.Received("cl-1", m.PutSecret(1, "s", {"A": "hush"})))
    printed += repr(register(world, Secret("s"), Secret(values={"B": "hush"}), env={"C": "hush"}))
    world.call("fc-1", world.functions["f"], 1)
    world.start(world.to_start[0])
    printed += repr(world.told) + repr(world.state.tables.secrets)
    assert "BindWorker" in printed
    at = printed.find("hush")
    assert at < 0, printed[at - 200 : at + 50]
