"""Variants: Functions with the versions of another, each changed in the same way."""

from __future__ import annotations

import msgspec
import pytest

from nbfn.declarations.overrides import apply_overrides
from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.hub.scheduler.worker_shutdown import EXIT_GRACE
from nbfn.protocol import messages as m
from nbfn.protocol.messages import (
    Concurrency,
    Definition,
    Method,
    Payload,
    PoolSettings,
    Resources,
    RetryPolicy,
    Variant,
)
from tests.unit.hub.simulator import FAILURE, PYTHON, Simulator, definition, inputs_of, sends, sent

TWO = Variant(pool=PoolSettings(max_containers=2))


@pytest.fixture
def sim() -> Simulator:
    return Simulator()


def bind(sim: Simulator, function: str, variant: Variant, digest: str = "v1") -> FunctionRecord:
    effects = sim.receive("cl-1", m.BindVariant(7, function, variant, digest, "(x=1)"))
    (answer,) = sent(effects, m.Registered)
    return sim.state.hub_state.registry.functions[answer.info.id]


def refused(sim: Simulator, event: e.Event) -> str:
    return next(x.message for x in sent(sim.put(event), m.Failed, m.CallRefused))


def a_class(digest: str = "1", **changes: object) -> Definition:
    made = msgspec.structs.replace(definition("C", digest), kind="cls", methods=(Method("m"),))
    return msgspec.structs.replace(made, **changes)


def put_class(sim: Simulator, digest: str = "1", **changes: object) -> str:
    sim.receive("cl-1", m.Register(1, "app", a_class(digest, **changes), "ap-1", ""))
    return sim.functions["C"]


# --- what is laid over what ---


def test_what_is_none_stays_and_parts_are_merged_field_by_field() -> None:
    base = msgspec.structs.replace(
        definition(retries=1, min_containers=1, max_containers=9),
        resources=Resources(cpu=1.0, memory=10),
        env={"A": "1"},
    )
    variant = Variant(
        pool=PoolSettings(max_containers=2), resources=Resources(memory=20), env={"B": "2"}
    )
    made = apply_overrides(variant, base)
    assert made.pool == PoolSettings(min_containers=1, max_containers=2)
    assert made.resources == Resources(cpu=1.0, memory=20)
    assert made.env == {"B": "2"}
    assert made.retries == base.retries
    assert made.timeout == base.timeout


def test_retries_and_arguments_are_replaced_as_a_whole() -> None:
    policy = RetryPolicy(max_retries=5, backoff_coefficient=1.0)
    made = apply_overrides(Variant(retries=policy, arguments=Payload(b"x")), definition(retries=1))
    assert made.retries == policy
    assert made.arguments == Payload(b"x")


# --- pools and versions ---


def test_a_variant_has_an_id_and_a_pool_of_its_own(sim: Simulator) -> None:
    base = sim.register("f", max_containers=5)
    variant = bind(sim, base, TWO)
    assert variant.id != base
    assert variant.name == "f(x=1)"
    sim.call("fc-1", variant.id, 2)
    sim.call("fc-2", base, 1)
    pools = sim.state.hub_state.pools
    assert pools[variant.id, 1].settings.max_containers == 2
    assert pools[base, 1].settings.max_containers == 5
    assert pools[variant.id, 1].backlog + pools[variant.id, 1].leased == 2
    sim.settle()
    sim.check()
    assert len(sim.outcomes) == 3


def test_the_same_digest_is_the_same_variant(sim: Simulator) -> None:
    base = sim.register("f")
    first, again = bind(sim, base, TWO), bind(sim, base, TWO)
    assert first is again
    assert bind(sim, base, TWO, "v2") is not first
    assert sum(isinstance(x, fx.SaveVariant) for x in sim.told) == 2


def test_a_new_version_of_the_base_is_one_of_its_variants(sim: Simulator) -> None:
    base = sim.register("f", "1", max_containers=5)
    variant = bind(sim, base, TWO)
    sim.call("fc-1", variant.id, 1)
    sim.register("f", "2", max_containers=7, timeout=9.0)
    assert (variant.latest, sorted(variant.versions)) == (2, [1, 2])
    assert variant.versions[2].timeout == 9.0
    assert variant.versions[2].pool.max_containers == 2
    assert sim.state.hub_state.pools[variant.id, 1].retired
    sim.call("fc-2", variant.id, 1)
    sim.settle()
    assert (variant.id, 1) not in sim.state.hub_state.pools
    assert (variant.id, 2) in sim.state.hub_state.pools
    assert len(sim.outcomes) == 2


def test_what_is_kept_warm_for_a_variant_leaves_its_base_alone(sim: Simulator) -> None:
    base = sim.register("f")
    variant = bind(sim, base, Variant())
    sim.receive("cl-1", m.SetAutoscaler(2, variant.id, m.PoolSettings(min_containers=2)))
    hub_state = sim.state.hub_state
    assert hub_state.pools[variant.id, 1].settings.min_containers == 2
    assert hub_state.pools[base, 1].settings.min_containers == 0
    sim.register("f", "2")
    assert variant.overrides == {}


def test_a_variant_of_a_warm_function_is_warm_from_the_start_and_in_each_version(
    sim: Simulator,
) -> None:
    variant = bind(sim, sim.register("f", min_containers=1), TWO)
    sim.up()
    assert len(sim.state.hub_state.pools[variant.id, 1].workers) == 1
    sim.register("f", "2", min_containers=1)
    sim.wait(200)
    sim.up()
    assert len(sim.state.hub_state.pools[variant.id, 2].workers) == 1


def test_a_class_that_takes_arguments_has_no_worker_without(sim: Simulator) -> None:
    base = put_class(sim, takes_arguments=True, pool=PoolSettings(min_containers=1))
    assert not sim.state.hub_state.pools[base, 1].workers
    variant = bind(sim, base, Variant(arguments=Payload(b"x")))
    sim.up()
    assert sim.state.hub_state.pools[variant.id, 1].settings.min_containers == 1
    assert len(sim.state.hub_state.pools[variant.id, 1].workers) == 1


def test_variants_go_and_come_back_with_their_owner(sim: Simulator) -> None:
    base = sim.register("f")
    variant = bind(sim, base, Variant())
    sim.receive("cl-1", m.SetAutoscaler(2, variant.id, m.PoolSettings(min_containers=1)))
    sim.up()
    pools = sim.state.hub_state.pools
    assert len(pools[variant.id, 1].workers) == 1
    sim.put(e.ClientLost("cl-1"))
    sim.wait(31)
    assert (variant.id, 1) not in pools
    sim.put(e.ClientJoined("cl-1", executable=PYTHON))
    sim.up()
    assert len(pools[variant.id, 1].workers) == 1


def test_generator_inputs_are_not_retried(sim: Simulator) -> None:
    function = sim.register("f", retries=3)
    sim.call("fc-1", function, 1, kind="generator")
    sim.up()
    (worker,) = sim.busy()
    sim.finish(worker.name, FAILURE)
    assert sim.outcomes["fc-1", 0].status == FAILURE


# --- what is refused ---


def test_a_variant_of_what_is_not_there_or_is_a_variant_is_refused(sim: Simulator) -> None:
    assert "No function" in refused(sim, e.Received("cl-1", m.BindVariant(1, "fu-none", TWO, "v")))
    variant = bind(sim, sim.register("f"), TWO)
    assert "is already a variant" in refused(
        sim, e.Received("cl-1", m.BindVariant(1, variant.id, TWO, "v"))
    )


def test_a_variant_that_makes_no_sense_is_refused_and_not_kept(sim: Simulator) -> None:
    base = sim.register("f", min_containers=3, max_containers=5)
    said = refused(sim, e.Received("cl-1", m.BindVariant(1, base, TWO, "v1")))
    assert "min_containers (3)" in said
    assert not sim.state.hub_state.registry.functions[base].variants
    assert list(sim.state.hub_state.registry.functions) == [base]


def test_variants_go_with_their_base(sim: Simulator) -> None:
    base = sim.register("f")
    bind(sim, base, TWO)
    registry = sim.state.hub_state.registry
    registry.forget(registry.functions[base])
    assert registry.functions == {}


# --- methods ---


def call(sim: Simulator, function: str, method: str) -> e.Received:
    return e.Received(
        "cl-1",
        m.PutCall("fc-9", function, 0, "remote", inputs_of([(0, "x")]), closed=True, method=method),
    )


def test_a_call_names_a_method_of_a_class_and_none_of_a_function(sim: Simulator) -> None:
    cls, function = put_class(sim), sim.register("f")
    assert "no method 'n' (there are: m)" in refused(sim, call(sim, cls, "n"))
    assert "is a class" in refused(sim, call(sim, cls, ""))
    assert "is a function" in refused(sim, call(sim, function, "m"))
    sim.put(call(sim, cls, "m"))
    sim.settle()
    assert sim.runs == {("fc-9", 0): 1}


def test_a_name_may_become_a_class_and_keeps_its_id(sim: Simulator) -> None:
    before = sim.register("C")
    assert put_class(sim, "2") == before
    assert "is a class" in refused(sim, call(sim, before, ""))


def test_workers_with_exit_hooks_have_longer_to_end(sim: Simulator) -> None:
    base = put_class(sim, exit_hooks=True, pool=PoolSettings(scaledown_window=1.0))
    sim.put(call(sim, base, "m"))
    sim.up()
    (worker,) = sim.busy()
    sim.finish(worker.name)
    sim.wait(2.0)
    stops = sends(sim.told, m.Drain)
    assert [x.to for x in stops] == [worker.name]

    def killed() -> bool:
        return fx.StopWorker(worker.name, 5.0) in sim.told

    sim.wait(EXIT_GRACE - 3.0)
    assert not killed()
    sim.wait(3.0)
    assert killed()


@pytest.mark.parametrize(
    ("base", "variant", "said"),
    [
        ({"at_most_once": True}, Variant(retries=RetryPolicy(1)), "at most once"),
        ({"is_generator": True}, Variant(retries=RetryPolicy(1)), "'f' yields"),
        ({"single_use": True}, Variant(concurrency=Concurrency(5)), "fresh worker"),
    ],
)
def test_what_contradicts_its_function_is_refused(
    sim: Simulator, base: dict[str, object], variant: Variant, said: str
) -> None:
    f = sim.register(options=base)
    assert said in refused(sim, e.Received("cl-1", m.BindVariant(7, f, variant, "v1", "(x=1)")))
