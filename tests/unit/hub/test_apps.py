"""An App's life, without any process: what its names mean, who may call it, when it ends."""

from __future__ import annotations

import pytest

from nbfn.hub.machine import effects as fx
from nbfn.hub.machine import events as e
from nbfn.hub.machine import overview, scale
from nbfn.hub.machine.departures import EXIT_GRACE
from nbfn.hub.machine.records import HISTORY_KEPT, AppRecord
from nbfn.hub.machine.registry import STOPPED_KEPT
from nbfn.wire import messages as m
from tests.unit.hub.world import SUCCESS, World, definition, inputs_of


class Apps(World):
    """A world that deploys."""

    def stage(self, name: str = "f", digest: str = "1", **pool: float) -> tuple[str, int]:
        """Tell the hub of a version; return its name and number."""
        made = definition(name, digest, **pool)
        event = e.Received("cl-1", m.Register(1, "demo", made, "", "", staged=True))
        (answer,) = (x for x in self.put(event) if isinstance(x, fx.Answer))
        return name, answer.value[1]

    def deploy(self, *staged: tuple[str, int], **options: object) -> AppRecord:
        """Deploy versions; return the App."""
        message = m.Deploy(2, "demo", dict(staged), "", **options)  # type: ignore[arg-type]
        return self.answered(e.Received("cl-1", message))

    def answered(self, event: e.Event) -> AppRecord:
        """Hand in an event; return the App of the answer, or raise what is refused."""
        for effect in self.put(event):
            if isinstance(effect, fx.Refuse):
                raise LookupError(effect.message)
            if isinstance(effect, fx.Answer):
                app: AppRecord = effect.value[0] if effect.value else None
        return app

    def refused(self, function: str, version: int = 0) -> str:
        """Call a Function; return why it cannot be, or "" if it can."""
        call = f"fc-{len(self.told)}"
        event = e.Received(
            "cl-1", m.PutCall(call, function, version, "remote", inputs_of([(0, "x")]), closed=True)
        )
        said = [x.message for x in self.put(event) if isinstance(x, fx.RefuseCall)]
        return said[0] if said else ""

    def state_of(self, app: AppRecord) -> str:
        return overview.state_of(self.state.tables, app)


@pytest.fixture
def world() -> Apps:
    return Apps()


def test_what_is_staged_is_not_there_before_it_is_deployed(world: Apps) -> None:
    one = world.stage()
    assert world.refused(world.functions["f"]) != ""
    world.deploy(one)
    assert world.refused(world.functions["f"]) == ""


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
@pytest.mark.parametrize("before", [False, True])
def test_the_worker_that_tried_a_staged_version_serves_its_first_call(
    world: Apps, *, before: bool, strategy: str
) -> None:
    if before:
        world.deploy(world.stage())
    staged = world.stage(digest="2")
    world.call("fc-load", world.functions["f"], 1, version=staged[1])
    world.settle()
    loaded = {worker.name for worker in world.workers.values() if worker.function}
    world.deploy(staged, strategy=strategy)
    world.call("fc-new", world.functions["f"], 1)
    world.up()
    assert {worker.name for worker in world.busy()} == loaded


def test_a_staged_version_that_is_not_deployed_keeps_no_worker(world: Apps) -> None:
    world.deploy(world.stage())
    staged = world.stage(digest="2", min_containers=2, scaledown_window=1000.0)
    world.call("fc-load", world.functions["f"], 1, version=staged[1])
    world.settle()
    key = (world.functions["f"], staged[1])
    assert len(world.state.tables.pools[key].workers) == 1
    world.wait(scale.DEFAULT_WINDOW)
    world.settle()
    assert key not in world.state.tables.pools


def test_a_deployment_changes_all_names_at_once(world: Apps) -> None:
    app = world.deploy(world.stage("f"), world.stage("g"))
    new = world.stage("f", "2")
    assert world.state.tables.registry.functions[world.functions["f"]].latest == 1
    world.deploy(new)
    registry = world.state.tables.registry
    assert registry.functions[world.functions["f"]].latest == 2
    assert "'g' is not in app" in str(registry.find("demo", "g"))
    assert "not in app 'demo' any more" in world.refused(world.functions["g"])
    assert world.refused(world.functions["g"], 1) == ""  # who names the version means it
    assert [d.functions for d in app.deployments.values()] == [{"f": 1, "g": 1}, {"f": 2}]


def test_the_same_again_is_no_deployment(world: Apps) -> None:
    app = world.deploy(world.stage())
    (answer,) = (
        x
        for x in world.receive("cl-1", m.Deploy(3, "demo", dict([world.stage()]), ""))
        if isinstance(x, fx.Answer) and x.what == "app"
    )
    assert answer.value == (app, False)
    assert app.version == 1


def test_a_partial_deployment_leaves_the_rest(world: Apps) -> None:
    world.deploy(world.stage("f"))
    app = world.deploy(world.stage("g"), partial=True)
    assert app.deployments[2].functions == {"f": 1, "g": 1}


def test_a_version_that_was_never_told_is_refused_and_nothing_changes(world: Apps) -> None:
    app = world.deploy(world.stage())
    with pytest.raises(LookupError, match="has no version 9"):
        world.deploy(("f", 9))
    assert app.version == 1


def test_a_rollback_brings_back_older_versions_and_their_pool(world: Apps) -> None:
    app = world.deploy(world.stage(min_containers=1))
    world.deploy(world.stage(digest="2"))
    world.settle()
    old = world.state.tables.pools.get((world.functions["f"], 1))
    assert old is None or old.retired
    world.answered(e.Received("cl-1", m.Rollback(4, app.id, 0)))
    pool = world.state.tables.pools[world.functions["f"], 1]
    assert (app.version, pool.retired, pool.settings.min_containers) == (3, False, 1)
    with pytest.raises(LookupError, match="no version 7"):
        world.answered(e.Received("cl-1", m.Rollback(4, app.id, 7)))


def test_the_history_is_bounded(world: Apps) -> None:
    for number in range(HISTORY_KEPT + 5):
        app = world.deploy(world.stage(digest=str(number)))
    assert len(app.deployments) == HISTORY_KEPT
    assert min(app.deployments) == 6


def test_rolling_lets_running_inputs_finish_on_their_version(world: Apps) -> None:
    world.deploy(world.stage())
    world.call("fc-old", world.functions["f"], 1)
    world.up()
    (worker,) = world.busy()
    world.deploy(world.stage(digest="2"))
    assert worker.name not in world.to_stop
    world.call("fc-new", world.functions["f"], 1)
    world.up()
    assert {w.version for w in world.busy()} == {1, 2}
    world.settle()
    assert {call for call, _ in world.outcomes} == {"fc-old", "fc-new"}


def test_recreating_drains_every_worker_of_the_app_at_once(world: Apps) -> None:
    app = world.deploy(world.stage(min_containers=1), world.stage("g", min_containers=1))
    world.up()
    theirs = {w.id for w in world.state.tables.workers.values() if w.pool is not None}
    assert len(theirs) == 2
    world.deploy(
        world.stage("f", "1", min_containers=1), world.stage("g", "2"), strategy="recreate"
    )
    assert theirs <= set(world.to_stop)
    assert app.version == 2


def test_a_full_deployment_drops_what_was_overridden_and_a_partial_one_does_not(
    world: Apps,
) -> None:
    world.deploy(world.stage("f"), world.stage("g"))
    record = world.state.tables.registry.functions[world.functions["f"]]
    world.receive("cl-1", m.SetAutoscaler(3, record.id, m.PoolSettings(min_containers=1)))
    world.deploy(world.stage("g", "2"), partial=True)
    assert record.overrides == {"min_containers": 1}
    world.deploy(world.stage("f"), world.stage("g", "2"))
    assert record.overrides == {}
    assert world.state.tables.pools[record.id, 1].settings.min_containers == 0


def test_stopping_an_app_ends_its_calls_and_frees_its_name(world: Apps) -> None:
    app = world.deploy(world.stage())
    function = world.functions["f"]
    world.call("fc-1", function, 3)
    world.up()
    world.receive("cl-1", m.StopApp(5, app.id))
    world.settle()
    assert {o.status == SUCCESS for o in world.outcomes.values()} == {False}
    assert world.state_of(app) == "stopped"
    assert "was stopped" in world.refused(function)
    again = world.deploy(world.stage())
    assert again.id != app.id


def test_an_app_with_calls_under_way_is_stopping(world: Apps) -> None:
    app = world.deploy(world.stage())
    world.call("fc-1", world.functions["f"], 1)
    world.up()
    (worker,) = world.busy()
    worker.connected = False  # it does not hear of the cancellation
    worker.queue, held = [], worker.queue
    world.receive("cl-1", m.StopApp(5, app.id))
    assert world.state_of(app) == "stopping"
    worker.queue = held
    world.exit(worker.name, exit_code=1)
    assert world.state_of(app) == "stopped"


def run(world: Apps, *, detached: bool = False) -> AppRecord:
    """Begin an ephemeral App with one Function, ``f``."""
    app = world.answered(e.Received("cl-1", m.RunApp(1, "ap-run", "demo", "", detached)))
    world.receive("cl-1", m.Register(1, "demo", definition(), "ap-run", ""))
    return app


def test_a_run_ends_with_its_client_after_the_grace(world: Apps) -> None:
    app = run(world)
    world.call("fc-waited-for", world.functions["f"], 1)
    world.call("fc-spawned", world.functions["f"], 1, durable=True)
    world.put(e.ClientLost("cl-1"))
    world.wait(29.0)
    assert world.state_of(app) == "ephemeral"
    world.wait(2.0)
    assert world.state_of(app) == "stopping"
    assert list(world.state.tables.calls) == ["fc-spawned"]
    world.settle()
    assert world.state_of(app) == "stopped"


def test_a_run_ends_at_once_when_its_client_is_closed(world: Apps) -> None:
    app = run(world)
    world.call("fc-1", world.functions["f"], 1, durable=True)
    world.up()
    world.receive("cl-1", m.ClientLeaves())
    world.put(e.ClientLost("cl-1"))
    assert world.state_of(app) == "stopping"
    world.settle()
    assert world.runs["fc-1", 0] == 1
    assert world.state_of(app) == "stopped"


def test_a_process_that_registers_with_another_client_keeps_its_app(world: Apps) -> None:
    app = run(world)
    world.receive("cl-1", m.ClientLeaves())
    world.put(e.ClientJoined("cl-2"))
    world.receive("cl-2", m.Register(1, "demo", definition(), "ap-run", ""))
    world.put(e.ClientLost("cl-1"))
    world.wait(60)
    assert world.state_of(app) == "ephemeral"
    world.receive("cl-2", m.ClientLeaves())
    assert world.state_of(app) == "stopped"


def test_workers_of_a_pool_that_ends_do_not_take_the_next_pool_of_the_version_along(
    world: Apps,
) -> None:
    run(world)
    world.call("fc-1", world.functions["f"], 1)
    world.settle()
    (old,) = [worker.name for worker in world.workers.values() if worker.function]
    world.receive("cl-1", m.ClientLeaves())
    world.put(e.ClientJoined("cl-2"))
    world.receive("cl-2", m.Register(1, "demo", definition(), "ap-run", ""))
    (pool,) = world.state.tables.pools.values()
    assert old in world.to_stop
    world.stop(old)
    assert list(world.state.tables.pools.values()) == [pool]


def test_a_detached_run_goes_on_when_its_client_is_closed(world: Apps) -> None:
    app = run(world, detached=True)
    world.receive("cl-1", m.ClientLeaves())
    assert world.state_of(app) == "ephemeral (detached)"


def test_a_client_that_is_back_in_time_keeps_its_run(world: Apps) -> None:
    app = run(world)
    world.put(e.ClientLost("cl-1"))
    world.wait(10.0)
    world.put(e.ClientJoined("cl-1"))
    world.wait(60.0)
    assert world.state_of(app) == "ephemeral"


def test_a_detached_run_outlives_its_client_with_its_calls(world: Apps) -> None:
    app = run(world, detached=True)
    world.call("fc-1", world.functions["f"], 1)
    world.put(e.ClientLost("cl-1"))
    world.wait(40.0)
    assert world.state_of(app) == "ephemeral (detached)"
    assert "fc-1" in world.state.tables.calls


def test_what_a_client_lets_go_of_in_a_detached_run_goes_on_with_the_inputs_that_are_here(
    world: Apps,
) -> None:
    run(world, detached=True)
    two = [(index, f"fc-1:{index}") for index in range(2)]
    world.receive(
        "cl-1", m.PutCall("fc-1", world.functions["f"], 0, "map", inputs_of(two), closed=False)
    )
    world.receive("cl-1", m.Release("fc-1"))
    call = world.state.tables.calls["fc-1"]
    assert (call.closed, call.cancelled, len(call.inputs)) == (True, False, 2)
    world.settle()
    assert "fc-1" not in world.state.tables.calls


def test_what_a_process_registered_ends_with_it_but_its_spawned_calls_do_not(world: Apps) -> None:
    function = world.register()
    app = world.state.tables.registry.apps["ap-1"]
    world.call("fc-1", function, 1, durable=True)
    world.put(e.ClientLost("cl-1"))
    world.wait(40.0)
    assert world.state_of(app) == "stopping"
    world.put(e.ClientJoined("cl-1"))  # a laptop that slept
    assert world.state_of(app) == "ephemeral"
    assert world.refused(function) == ""


def test_the_apps_of_clients_that_do_not_come_back_after_a_restart_end(world: Apps) -> None:
    app = run(world)
    again = Apps()
    again.state.tables.registry.restore_app(app)
    again.put(e.AppsRestored())
    again.state.tables.clients.clear()
    again.wait(31.0)
    assert again.state_of(app) == "stopped"


def test_a_stopped_run_takes_no_more_functions(world: Apps) -> None:
    app = run(world)
    world.receive("cl-1", m.StopApp(5, app.id))
    with pytest.raises(LookupError, match="was stopped"):
        world.answered(e.Received("cl-1", m.Register(6, "demo", definition("g"), app.id, "")))


def test_nobody_takes_over_somebody_elses_app(world: Apps) -> None:
    deployed = world.deploy(world.stage())
    for app_id in (deployed.id, run(world).id):
        with pytest.raises(LookupError, match="somebody else's"):
            world.answered(e.Received("cl-2", m.RunApp(1, app_id, "", "", False)))
    assert (deployed.scoped, world.state_of(deployed)) == (False, "deployed")


def test_stopped_apps_are_forgotten_in_the_end(world: Apps) -> None:
    for number in range(STOPPED_KEPT + 3):
        app = world.answered(e.Received("cl-1", m.RunApp(1, f"ap-{number:04d}", "", "", False)))
        world.receive("cl-1", m.StopApp(2, app.id))
    assert len(world.state.tables.registry.apps) == STOPPED_KEPT
    assert sum(isinstance(x, fx.ForgetApp) for x in world.told) == 3


def test_an_unknown_environment_is_refused_and_a_deleted_one_stops_its_apps(world: Apps) -> None:
    with pytest.raises(LookupError, match="no environment 'lab'"):
        world.answered(e.Received("cl-1", m.Deploy(1, "demo", {}, "lab")))
    world.receive("cl-1", m.ChangeEnvironment(2, "", "lab"))
    app = world.answered(e.Received("cl-1", m.Deploy(3, "demo", {}, "lab")))
    world.receive("cl-1", m.ChangeEnvironment(4, "lab", "lab2"))
    assert (app.environment_name, app.final) == ("lab2", False)
    world.receive("cl-1", m.ChangeEnvironment(5, "lab2", ""))
    assert app.final
    (refusal,) = (
        x
        for x in world.receive("cl-1", m.ChangeEnvironment(6, "main", ""))
        if isinstance(x, fx.Refuse)
    )
    assert refusal.code == "invalid"


def test_a_worker_that_is_not_wanted_goes_and_its_input_runs_elsewhere(world: Apps) -> None:
    world.deploy(world.stage())
    world.call("fc-1", world.functions["f"], 1)
    world.up()
    (worker,) = world.busy()
    world.receive("cl-1", m.StopWorker(7, worker.name, graceful=False))
    assert worker.name in world.to_stop
    world.to_stop.clear()
    world.exit(worker.name, signal=9)
    world.settle()
    assert world.outcomes["fc-1", 0].status == SUCCESS


# --- following what workers write ------------------------------------------------------------------


def outputs(effects: list[fx.Effect]) -> list[tuple[str, str, bytes]]:
    """Return to whom, and how, something is sent that an App's worker wrote."""
    sent: list[tuple[str, str, bytes]] = []
    for x in effects:
        if isinstance(x, fx.DeliverAppOutput):
            sent.append((f"follower {x.client}", x.channel, x.data))
        elif isinstance(x, fx.DeliverEmission):
            sent.append((f"caller {x.client}", x.channel, x.data))
    return sent


def test_who_follows_an_app_is_sent_what_does_not_reach_it_anyhow(world: Apps) -> None:
    app = run(world)
    world.put(e.ClientJoined("cl-2"))
    for client in ("cl-1", "cl-2"):
        world.receive(client, m.FollowApp(1, app.id))
    world.call("fc-1", world.functions["f"], 1, kind="remote")
    world.up()
    (worker,) = world.busy()
    lease = next(iter(worker.queue)).lease

    def wrote(channel: str) -> list[tuple[str, str, bytes]]:
        return outputs(world.receive(worker.name, m.Emitted(lease, channel, b"x")))

    assert wrote("stdout") == [("follower cl-2", "stdout", b"x"), ("caller cl-1", "stdout", b"x")]
    # What a nested call wrote was sent to followers as that call's.
    assert wrote("nested-stdout") == [("caller cl-1", "stdout", b"x")]
    assert sorted(wrote("failure")) == [
        ("follower cl-1", "stderr", b"x"),
        ("follower cl-2", "stderr", b"x"),
    ]
    world.put(e.ClientLost("cl-2"))
    assert wrote("failure") == [("follower cl-1", "stderr", b"x")]


def test_what_a_spawned_call_writes_is_its_makers_output_as_long_as_that_runs(world: Apps) -> None:
    app = run(world)
    world.receive("cl-1", m.FollowApp(1, app.id))
    world.call("fc-1", world.functions["f"], 1, kind="remote")
    world.up()
    (maker,) = world.busy()
    world.put(e.ClientJoined("cl-w", worker=maker.name))
    what = ("fc-2", world.functions["f"], 0, "spawn", inputs_of([(0, "fc-2:0")]))
    world.receive("cl-w", m.PutCall(*what, durable=True, parent="fc-1:0"))
    world.up()
    (worker,) = (one for one in world.busy() if one is not maker)
    wrote = e.Received(worker.name, m.Emitted(next(iter(worker.queue)).lease, "stdout", b"x"))
    assert outputs(world.put(wrote)) == [("caller cl-1", "stdout", b"x")]
    world.finish(maker.name)
    assert outputs(world.put(wrote)) == [("follower cl-1", "stdout", b"x")]


def spawned(world: Apps, by: str, client: str) -> str:
    """Have a call spawn another, and a worker run that; return the worker."""
    name = f"{by.partition(':')[0]}-s"
    before = {worker.name for worker in world.busy()}
    what = (name, world.functions["f"], 0, "spawn", inputs_of([(0, name)]))
    world.receive(client, m.PutCall(*what, durable=True, parent=by))
    world.up()
    (worker,) = (one for one in world.busy() if one.name not in before)
    world.put(e.ClientJoined(f"cl-{worker.name}", worker=worker.name))
    return worker.name


def test_what_spawned_calls_of_spawned_calls_write_is_shown_once_to_who_waits() -> None:
    world = Apps(cores=4)
    run(world)
    world.call("fc-1", world.functions["f"], 1, kind="remote")
    world.up()
    (maker,) = world.busy()
    world.put(e.ClientJoined("cl-w", worker=maker.name))
    second = spawned(world, "fc-1:0", "cl-w")
    third = spawned(world, "fc-1-s:0", f"cl-{second}")
    (grant,) = world.workers[third].queue
    wrote = e.Received(third, m.Emitted(grant.lease, "stdout", b"x"))
    assert outputs(world.put(wrote)) == [("caller cl-1", "stdout", b"x")]
    world.receive("cl-1", m.Watch(1, grant.call, 0, 0))
    assert outputs(world.put(wrote)) == [("caller cl-1", "stdout", b"x")]


def test_an_app_that_is_not_there_cannot_be_followed(world: Apps) -> None:
    with pytest.raises(LookupError, match="No app has the id 'ap-none'"):
        world.answered(e.Received("cl-1", m.FollowApp(1, "ap-none")))


@pytest.mark.parametrize(("follows", "ends"), [(True, True), (True, False), (False, True)])
def test_a_run_ends_for_its_client_when_exit_hooks_have_run_that_it_is_shown(
    world: Apps, follows: bool, ends: bool
) -> None:
    app = world.answered(e.Received("cl-1", m.RunApp(1, "ap-run", "demo", "", False)))
    made = definition(options={"exit_hooks": True})
    world.receive("cl-1", m.Register(1, "demo", made, "ap-run", ""))
    if follows:
        world.receive("cl-1", m.FollowApp(1, app.id))
    world.call("fc-1", world.functions["f"], 1)
    world.up()
    world.finish(world.busy()[0].name)

    def answered() -> bool:
        return any(isinstance(x, fx.Answer) and x.request == 7 for x in world.told)

    world.receive("cl-1", m.StopApp(7, app.id, scope=True))
    assert answered() != follows
    if ends:
        world.stop(world.to_stop[0])
    else:
        world.wait(EXIT_GRACE + 30.0)
    assert answered()
    assert not world.state.tables.ends
