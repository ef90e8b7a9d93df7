"""An App's life, without any process: what its names mean, who may call it, when it ends."""

from __future__ import annotations

import pytest

from nbfn.hub.scheduler import autoscaler, status
from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler.app_records import HISTORY_KEPT, AppRecord
from nbfn.hub.scheduler.registry import STOPPED_KEPT
from nbfn.hub.scheduler.worker_shutdown import EXIT_GRACE
from nbfn.protocol import messages as m
from tests.unit.hub.simulator import PYTHON, SUCCESS, Simulator, definition, inputs_of, sends, sent


class Apps(Simulator):
    """A simulator that deploys."""

    def stage(self, name: str = "f", digest: str = "1", **pool: float) -> tuple[str, int]:
        """Tell the hub of a version; return its name and number."""
        made = definition(name, digest, **pool)
        event = e.Received("cl-1", m.Register(1, "demo", made, "", "", staged=True))
        (answer,) = sent(self.put(event), m.Registered)
        return name, answer.info.version

    def deploy(self, *staged: tuple[str, int], **options: object) -> AppRecord:
        """Deploy versions; return the App."""
        message = m.Deploy(2, "demo", dict(staged), "", **options)  # type: ignore[arg-type]
        return self.answered(e.Received("cl-1", message))

    def answered(self, event: e.Event) -> AppRecord:
        """Hand in an event; return the App of the answer, or raise what is refused."""
        effects = self.put(event)
        for refusal in sent(effects, m.Failed):
            raise LookupError(refusal.message)
        app: AppRecord | None = None
        for answer in sent(effects, m.AppFound):
            app = self.state.hub_state.registry.apps[answer.app.id]
        return app  # type: ignore[return-value]

    def refused(self, function: str, version: int = 0) -> str:
        """Call a Function; return why it cannot be, or "" if it can."""
        call = f"fc-{len(self.told)}"
        event = e.Received(
            "cl-1", m.PutCall(call, function, version, "remote", inputs_of([(0, "x")]), closed=True)
        )
        said = [x.message for x in sent(self.put(event), m.CallRefused)]
        return said[0] if said else ""

    def state_of(self, app: AppRecord) -> str:
        return status.state_of(self.state.hub_state, app)


@pytest.fixture
def sim() -> Apps:
    return Apps()


def test_what_is_staged_is_not_there_before_it_is_deployed(sim: Apps) -> None:
    one = sim.stage()
    assert sim.refused(sim.functions["f"]) != ""
    sim.deploy(one)
    assert sim.refused(sim.functions["f"]) == ""


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
@pytest.mark.parametrize("before", [False, True])
def test_the_worker_that_tried_a_staged_version_serves_its_first_call(
    sim: Apps, *, before: bool, strategy: str
) -> None:
    if before:
        sim.deploy(sim.stage())
    staged = sim.stage(digest="2")
    sim.call("fc-load", sim.functions["f"], 1, version=staged[1])
    sim.settle()
    loaded = {worker.name for worker in sim.workers.values() if worker.function}
    sim.deploy(staged, strategy=strategy)
    sim.call("fc-new", sim.functions["f"], 1)
    sim.up()
    assert {worker.name for worker in sim.busy()} == loaded


def test_a_staged_version_that_is_not_deployed_keeps_no_worker(sim: Apps) -> None:
    sim.deploy(sim.stage())
    staged = sim.stage(digest="2", min_containers=2, scaledown_window=1000.0)
    sim.call("fc-load", sim.functions["f"], 1, version=staged[1])
    sim.settle()
    key = (sim.functions["f"], staged[1])
    assert len(sim.state.hub_state.pools[key].workers) == 1
    sim.wait(autoscaler.DEFAULT_WINDOW)
    sim.settle()
    assert key not in sim.state.hub_state.pools


def test_a_deployment_changes_all_names_at_once(sim: Apps) -> None:
    app = sim.deploy(sim.stage("f"), sim.stage("g"))
    new = sim.stage("f", "2")
    assert sim.state.hub_state.registry.functions[sim.functions["f"]].latest == 1
    sim.deploy(new)
    registry = sim.state.hub_state.registry
    assert registry.functions[sim.functions["f"]].latest == 2
    assert "'g' is not in app" in str(registry.find("demo", "g"))
    assert "not in app 'demo' any more" in sim.refused(sim.functions["g"])
    assert sim.refused(sim.functions["g"], 1) == ""  # who names the version means it
    assert [d.functions for d in app.deployments.values()] == [{"f": 1, "g": 1}, {"f": 2}]


def test_the_same_again_is_no_deployment(sim: Apps) -> None:
    app = sim.deploy(sim.stage())
    effects = sim.receive("cl-1", m.Deploy(3, "demo", dict([sim.stage()]), ""))
    (answer,) = sent(effects, m.AppFound)
    assert (answer.app.id, answer.changed) == (app.id, False)
    assert app.version == 1


def test_a_partial_deployment_leaves_the_rest(sim: Apps) -> None:
    sim.deploy(sim.stage("f"))
    app = sim.deploy(sim.stage("g"), partial=True)
    assert app.deployments[2].functions == {"f": 1, "g": 1}


def test_a_version_that_was_never_told_is_refused_and_nothing_changes(sim: Apps) -> None:
    app = sim.deploy(sim.stage())
    with pytest.raises(LookupError, match="has no version 9"):
        sim.deploy(("f", 9))
    assert app.version == 1


def test_a_rollback_brings_back_older_versions_and_their_pool(sim: Apps) -> None:
    app = sim.deploy(sim.stage(min_containers=1))
    sim.deploy(sim.stage(digest="2"))
    sim.settle()
    old = sim.state.hub_state.pools.get((sim.functions["f"], 1))
    assert old is None or old.retired
    sim.answered(e.Received("cl-1", m.Rollback(4, app.id, 0)))
    pool = sim.state.hub_state.pools[sim.functions["f"], 1]
    assert (app.version, pool.retired, pool.settings.min_containers) == (3, False, 1)
    with pytest.raises(LookupError, match="no version 7"):
        sim.answered(e.Received("cl-1", m.Rollback(4, app.id, 7)))


def test_the_history_is_bounded(sim: Apps) -> None:
    for number in range(HISTORY_KEPT + 5):
        app = sim.deploy(sim.stage(digest=str(number)))
    assert len(app.deployments) == HISTORY_KEPT
    assert min(app.deployments) == 6


def test_rolling_lets_running_inputs_finish_on_their_version(sim: Apps) -> None:
    sim.deploy(sim.stage())
    sim.call("fc-old", sim.functions["f"], 1)
    sim.up()
    (worker,) = sim.busy()
    sim.deploy(sim.stage(digest="2"))
    assert worker.name not in sim.to_stop
    sim.call("fc-new", sim.functions["f"], 1)
    sim.up()
    assert {w.version for w in sim.busy()} == {1, 2}
    sim.settle()
    assert {call for call, _ in sim.outcomes} == {"fc-old", "fc-new"}


def test_recreating_drains_every_worker_of_the_app_at_once(sim: Apps) -> None:
    app = sim.deploy(sim.stage(min_containers=1), sim.stage("g", min_containers=1))
    sim.up()
    theirs = {w.id for w in sim.state.hub_state.workers.values() if w.pool is not None}
    assert len(theirs) == 2
    sim.deploy(sim.stage("f", "1", min_containers=1), sim.stage("g", "2"), strategy="recreate")
    assert theirs <= set(sim.to_stop)
    assert app.version == 2


def test_a_full_deployment_drops_what_was_overridden_and_a_partial_one_does_not(
    sim: Apps,
) -> None:
    sim.deploy(sim.stage("f"), sim.stage("g"))
    record = sim.state.hub_state.registry.functions[sim.functions["f"]]
    sim.receive("cl-1", m.SetAutoscaler(3, record.id, m.PoolSettings(min_containers=1)))
    sim.deploy(sim.stage("g", "2"), partial=True)
    assert record.overrides == {"min_containers": 1}
    sim.deploy(sim.stage("f"), sim.stage("g", "2"))
    assert record.overrides == {}
    assert sim.state.hub_state.pools[record.id, 1].settings.min_containers == 0


def test_settings_that_do_not_go_together_are_refused_and_change_nothing(sim: Apps) -> None:
    sim.deploy(sim.stage("f"))
    record = sim.state.hub_state.registry.functions[sim.functions["f"]]
    sim.receive("cl-1", m.SetAutoscaler(3, record.id, m.PoolSettings(max_containers=2)))
    for settings, says in (
        (m.PoolSettings(min_containers=3), "min_containers (3) is above max_containers (2)."),
        (m.PoolSettings(max_containers=0), "max_containers is 0; it must be a whole number"),
        (m.PoolSettings(scaledown_window=0), "scaledown_window is 0"),
    ):
        effects = sim.receive("cl-1", m.SetAutoscaler(4, record.id, settings))
        (refused,) = sent(effects, m.Failed)
        assert refused.message.startswith(f"The pool of 'f' cannot have these settings: {says}")
    assert record.overrides == {"max_containers": 2}


def test_stopping_an_app_ends_its_calls_and_frees_its_name(sim: Apps) -> None:
    app = sim.deploy(sim.stage())
    function = sim.functions["f"]
    sim.call("fc-1", function, 3)
    sim.up()
    sim.receive("cl-1", m.StopApp(5, app.id))
    sim.settle()
    assert {o.status == SUCCESS for o in sim.outcomes.values()} == {False}
    assert sim.state_of(app) == "stopped"
    assert "was stopped" in sim.refused(function)
    again = sim.deploy(sim.stage())
    assert again.id != app.id


def test_an_app_with_calls_under_way_is_stopping(sim: Apps) -> None:
    app = sim.deploy(sim.stage())
    sim.call("fc-1", sim.functions["f"], 1)
    sim.up()
    (worker,) = sim.busy()
    worker.connected = False  # it does not hear of the cancellation
    worker.queue, held = [], worker.queue
    sim.receive("cl-1", m.StopApp(5, app.id))
    assert sim.state_of(app) == "stopping"
    worker.queue = held
    sim.exit(worker.name, exit_code=1)
    assert sim.state_of(app) == "stopped"


def run(sim: Apps, *, detached: bool = False) -> AppRecord:
    """Begin an ephemeral App with one Function, ``f``."""
    app = sim.answered(e.Received("cl-1", m.RunApp(1, "ap-run", "demo", "", detached)))
    sim.receive("cl-1", m.Register(1, "demo", definition(), "ap-run", ""))
    return app


def test_a_run_ends_with_its_client_after_the_grace(sim: Apps) -> None:
    app = run(sim)
    sim.call("fc-waited-for", sim.functions["f"], 1)
    sim.call("fc-spawned", sim.functions["f"], 1, durable=True)
    sim.put(e.ClientLost("cl-1"))
    sim.wait(29.0)
    assert sim.state_of(app) == "ephemeral"
    sim.wait(2.0)
    assert sim.state_of(app) == "stopping"
    assert list(sim.state.hub_state.calls) == ["fc-spawned"]
    sim.settle()
    assert sim.state_of(app) == "stopped"


def test_an_app_that_runs_again_while_its_last_workers_end_gets_new_ones(sim: Apps) -> None:
    run(sim)
    sim.call("fc-1", sim.functions["f"], 1)
    sim.settle()
    (idle,) = (worker.name for worker in sim.workers.values() if worker.function)
    sim.receive("cl-1", m.ClientLeaves())
    sim.put(e.ClientLost("cl-1"))
    sim.put(e.ClientJoined("cl-1", executable=PYTHON))
    for worker in list(sim.workers):
        if worker != idle:
            sim.exit(worker, exit_code=0)
    sim.bursting = True
    sim.exit(idle, exit_code=0)  # its pool was dropped; the one that is made next has the same key
    run(sim)
    sim.call("fc-2", sim.functions["f"], 1)
    sim.end_burst()
    sim.check()
    sim.settle()
    assert sim.outcomes["fc-2", 0].status == SUCCESS


def test_a_run_ends_at_once_when_its_client_is_closed(sim: Apps) -> None:
    app = run(sim)
    sim.call("fc-1", sim.functions["f"], 1, durable=True)
    sim.up()
    sim.receive("cl-1", m.ClientLeaves())
    sim.put(e.ClientLost("cl-1"))
    assert sim.state_of(app) == "stopping"
    sim.settle()
    assert sim.runs["fc-1", 0] == 1
    assert sim.state_of(app) == "stopped"


def test_a_process_that_registers_with_another_client_keeps_its_app(sim: Apps) -> None:
    app = run(sim)
    sim.receive("cl-1", m.ClientLeaves())
    sim.put(e.ClientJoined("cl-2"))
    sim.receive("cl-2", m.Register(1, "demo", definition(), "ap-run", ""))
    sim.put(e.ClientLost("cl-1"))
    sim.wait(60)
    assert sim.state_of(app) == "ephemeral"
    sim.receive("cl-2", m.ClientLeaves())
    assert sim.state_of(app) == "stopped"


def test_workers_of_a_pool_that_ends_do_not_take_the_next_pool_of_the_version_along(
    sim: Apps,
) -> None:
    run(sim)
    sim.call("fc-1", sim.functions["f"], 1)
    sim.settle()
    (old,) = [worker.name for worker in sim.workers.values() if worker.function]
    sim.receive("cl-1", m.ClientLeaves())
    sim.put(e.ClientJoined("cl-2"))
    sim.receive("cl-2", m.Register(1, "demo", definition(), "ap-run", ""))
    (pool,) = sim.state.hub_state.pools.values()
    assert old in sim.to_stop
    sim.stop(old)
    assert list(sim.state.hub_state.pools.values()) == [pool]


def test_a_detached_run_goes_on_when_its_client_is_closed(sim: Apps) -> None:
    app = run(sim, detached=True)
    sim.receive("cl-1", m.ClientLeaves())
    assert sim.state_of(app) == "ephemeral (detached)"


def test_a_client_that_is_back_in_time_keeps_its_run(sim: Apps) -> None:
    app = run(sim)
    sim.put(e.ClientLost("cl-1"))
    sim.wait(10.0)
    sim.put(e.ClientJoined("cl-1"))
    sim.wait(60.0)
    assert sim.state_of(app) == "ephemeral"


def test_a_detached_run_outlives_its_client_with_its_calls(sim: Apps) -> None:
    app = run(sim, detached=True)
    sim.call("fc-1", sim.functions["f"], 1)
    sim.put(e.ClientLost("cl-1"))
    sim.wait(40.0)
    assert sim.state_of(app) == "ephemeral (detached)"
    assert "fc-1" in sim.state.hub_state.calls


def test_what_a_client_lets_go_of_in_a_detached_run_goes_on_with_the_inputs_that_are_here(
    sim: Apps,
) -> None:
    run(sim, detached=True)
    two = [(index, f"fc-1:{index}") for index in range(2)]
    sim.receive(
        "cl-1", m.PutCall("fc-1", sim.functions["f"], 0, "map", inputs_of(two), closed=False)
    )
    sim.receive("cl-1", m.Release("fc-1"))
    call = sim.state.hub_state.calls["fc-1"]
    assert (call.closed, call.cancelled, len(call.inputs)) == (True, False, 2)
    sim.settle()
    assert "fc-1" not in sim.state.hub_state.calls


def test_what_a_process_registered_ends_with_it_but_its_spawned_calls_do_not(sim: Apps) -> None:
    function = sim.register()
    app = sim.state.hub_state.registry.apps["ap-1"]
    sim.call("fc-1", function, 1, durable=True)
    sim.put(e.ClientLost("cl-1"))
    sim.wait(40.0)
    assert sim.state_of(app) == "stopping"
    sim.put(e.ClientJoined("cl-1"))  # a laptop that slept
    assert sim.state_of(app) == "ephemeral"
    assert sim.refused(function) == ""


def test_the_apps_of_clients_that_do_not_come_back_after_a_restart_end(sim: Apps) -> None:
    app = run(sim)
    again = Apps()
    again.state.hub_state.registry.restore_app(app)
    again.put(e.AppsRestored())
    again.state.hub_state.clients.clear()
    again.wait(31.0)
    assert again.state_of(app) == "stopped"


def test_a_stopped_run_takes_no_more_functions(sim: Apps) -> None:
    app = run(sim)
    sim.receive("cl-1", m.StopApp(5, app.id))
    with pytest.raises(LookupError, match="was stopped"):
        sim.answered(e.Received("cl-1", m.Register(6, "demo", definition("g"), app.id, "")))


def test_nobody_takes_over_somebody_elses_app(sim: Apps) -> None:
    deployed = sim.deploy(sim.stage())
    for app_id in (deployed.id, run(sim).id):
        with pytest.raises(LookupError, match="belongs to another client"):
            sim.answered(e.Received("cl-2", m.RunApp(1, app_id, "", "", False)))
    assert (deployed.scoped, sim.state_of(deployed)) == (False, "deployed")


def test_stopped_apps_are_forgotten_in_the_end(sim: Apps) -> None:
    for number in range(STOPPED_KEPT + 3):
        app = sim.answered(e.Received("cl-1", m.RunApp(1, f"ap-{number:04d}", "", "", False)))
        sim.receive("cl-1", m.StopApp(2, app.id))
    assert len(sim.state.hub_state.registry.apps) == STOPPED_KEPT
    assert sum(isinstance(x, fx.ForgetApp) for x in sim.told) == 3


def test_an_unknown_environment_is_refused_and_a_deleted_one_stops_its_apps(sim: Apps) -> None:
    with pytest.raises(LookupError, match="no environment 'lab'"):
        sim.answered(e.Received("cl-1", m.Deploy(1, "demo", {}, "lab")))
    sim.receive("cl-1", m.ChangeEnvironment(2, "", "lab"))
    app = sim.answered(e.Received("cl-1", m.Deploy(3, "demo", {}, "lab")))
    sim.receive("cl-1", m.ChangeEnvironment(4, "lab", "lab2"))
    assert (app.environment_name, app.final) == ("lab2", False)
    sim.receive("cl-1", m.ChangeEnvironment(5, "lab2", ""))
    assert app.final
    (refusal,) = sent(sim.receive("cl-1", m.ChangeEnvironment(6, "main", "")), m.Failed)
    assert refusal.code == "invalid"


def test_a_worker_that_is_not_wanted_goes_and_its_input_runs_elsewhere(sim: Apps) -> None:
    sim.deploy(sim.stage())
    sim.call("fc-1", sim.functions["f"], 1)
    sim.up()
    (worker,) = sim.busy()
    sim.receive("cl-1", m.StopWorker(7, worker.name, graceful=False))
    assert worker.name in sim.to_stop
    sim.to_stop.clear()
    sim.exit(worker.name, signal=9)
    sim.settle()
    assert sim.outcomes["fc-1", 0].status == SUCCESS


# --- following what workers write ------------------------------------------------------------------


def outputs(effects: list[fx.Effect]) -> list[tuple[str, str, bytes]]:
    """Return to whom, and how, something is sent that an App's worker wrote."""
    found: list[tuple[str, str, bytes]] = []
    for x in sends(effects, m.AppOutput, m.Emission):
        if isinstance(x.message, m.AppOutput):
            found.append((f"follower {x.to}", x.message.channel, x.message.data))
        elif isinstance(x.message, m.Emission):
            found.append((f"caller {x.to}", x.message.channel, x.message.data))
    return found


def test_who_follows_an_app_is_sent_what_does_not_reach_it_anyhow(sim: Apps) -> None:
    app = run(sim)
    sim.put(e.ClientJoined("cl-2"))
    for client in ("cl-1", "cl-2"):
        sim.receive(client, m.FollowApp(1, app.id))
    sim.call("fc-1", sim.functions["f"], 1, kind="remote")
    sim.up()
    (worker,) = sim.busy()
    lease = next(iter(worker.queue)).lease

    def wrote(channel: str) -> list[tuple[str, str, bytes]]:
        return outputs(sim.receive(worker.name, m.Emitted(lease, channel, b"x")))

    assert wrote("stdout") == [("follower cl-2", "stdout", b"x"), ("caller cl-1", "stdout", b"x")]
    # What a nested call wrote was sent to followers as that call's.
    assert wrote("nested-stdout") == [("caller cl-1", "stdout", b"x")]
    assert sorted(wrote("failure")) == [
        ("follower cl-1", "stderr", b"x"),
        ("follower cl-2", "stderr", b"x"),
    ]
    sim.put(e.ClientLost("cl-2"))
    assert wrote("failure") == [("follower cl-1", "stderr", b"x")]


def test_what_a_spawned_call_writes_is_its_makers_output_as_long_as_that_runs(sim: Apps) -> None:
    app = run(sim)
    sim.receive("cl-1", m.FollowApp(1, app.id))
    sim.call("fc-1", sim.functions["f"], 1, kind="remote")
    sim.up()
    (maker,) = sim.busy()
    sim.put(e.ClientJoined("cl-w", worker=maker.name))
    what = ("fc-2", sim.functions["f"], 0, "spawn", inputs_of([(0, "fc-2:0")]))
    sim.receive("cl-w", m.PutCall(*what, durable=True, parent="fc-1:0"))
    sim.up()
    (worker,) = (one for one in sim.busy() if one is not maker)
    wrote = e.Received(worker.name, m.Emitted(next(iter(worker.queue)).lease, "stdout", b"x"))
    assert outputs(sim.put(wrote)) == [("caller cl-1", "stdout", b"x")]
    sim.finish(maker.name)
    assert outputs(sim.put(wrote)) == [("follower cl-1", "stdout", b"x")]


def spawned(sim: Apps, by: str, client: str) -> str:
    """Have a call spawn another, and a worker run that; return the worker."""
    name = f"{by.partition(':')[0]}-s"
    before = {worker.name for worker in sim.busy()}
    what = (name, sim.functions["f"], 0, "spawn", inputs_of([(0, name)]))
    sim.receive(client, m.PutCall(*what, durable=True, parent=by))
    sim.up()
    (worker,) = (one for one in sim.busy() if one.name not in before)
    sim.put(e.ClientJoined(f"cl-{worker.name}", worker=worker.name))
    return worker.name


def test_what_spawned_calls_of_spawned_calls_write_is_shown_once_to_who_waits() -> None:
    sim = Apps(cores=4)
    run(sim)
    sim.call("fc-1", sim.functions["f"], 1, kind="remote")
    sim.up()
    (maker,) = sim.busy()
    sim.put(e.ClientJoined("cl-w", worker=maker.name))
    second = spawned(sim, "fc-1:0", "cl-w")
    third = spawned(sim, "fc-1-s:0", f"cl-{second}")
    (grant,) = sim.workers[third].queue
    wrote = e.Received(third, m.Emitted(grant.lease, "stdout", b"x"))
    assert outputs(sim.put(wrote)) == [("caller cl-1", "stdout", b"x")]
    sim.receive("cl-1", m.Watch(1, grant.call, 0, 0))
    assert outputs(sim.put(wrote)) == [("caller cl-1", "stdout", b"x")]


def test_an_app_that_is_not_there_cannot_be_followed(sim: Apps) -> None:
    with pytest.raises(LookupError, match="No app has the id 'ap-none'"):
        sim.answered(e.Received("cl-1", m.FollowApp(1, "ap-none")))


@pytest.mark.parametrize(("follows", "ends"), [(True, True), (True, False), (False, True)])
def test_a_run_ends_for_its_client_when_exit_hooks_have_run_that_it_is_shown(
    sim: Apps, follows: bool, ends: bool
) -> None:
    app = sim.answered(e.Received("cl-1", m.RunApp(1, "ap-run", "demo", "", False)))
    made = definition(options={"exit_hooks": True})
    sim.receive("cl-1", m.Register(1, "demo", made, "ap-run", ""))
    if follows:
        sim.receive("cl-1", m.FollowApp(1, app.id))
    sim.call("fc-1", sim.functions["f"], 1)
    sim.up()
    sim.finish(sim.busy()[0].name)

    def answered() -> bool:
        return any(x.request == 7 for x in sent(sim.told, m.Done))

    sim.receive("cl-1", m.StopApp(7, app.id, scope=True))
    assert answered() != follows
    if ends:
        sim.stop(sim.to_stop[0])
    else:
        sim.wait(EXIT_GRACE + 30.0)
    assert answered()
    assert not sim.state.hub_state.pending_stops
