"""Tests of Apps: running, deploying, rolling back and stopping them (docs/function-api.md#apps)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbfn
from nbfn.api import environments
from nbfn.client.client import Client
from nbfn.client.discovery import is_running, read_connection_file
from nbfn.config import Places
from nbfn.exception import ConflictError, InvalidError, NotFoundError, RemoteError
from nbfn.runtime.sync import run
from tests.conftest import wait_until


def state_of(app_id: str) -> str:
    return next(row.state for row in Client.attach().apps() if row.id == app_id)


def an_app(name: str | None, value: int, *more: str) -> nbfn.App:
    """Return an App with a function ``value`` that returns a number, and others that return their names."""
    app = nbfn.App(name)

    @app.function(name="value")
    def value_() -> int:
        return value

    for one in more:
        app.function(name=one)(lambda one=one: one)
    return app


# --- app.run -------------------------------------------------------------------------------------


def test_run_gives_the_app_and_each_run_has_an_id_of_its_own() -> None:
    app = nbfn.App("runs")

    @app.function()
    def double(x: int) -> int:
        return 2 * x

    ids = []
    for _ in range(2):
        assert app.app_id is None
        with app.run() as running:
            assert running is app
            assert app.app_id is not None
            assert app.app_id.startswith("ap-")
            assert double.is_hydrated
            assert double.remote(2) == 4
            assert state_of(app.app_id) == "ephemeral"
            ids.append(app.app_id)
        assert not double.is_hydrated
        wait_until(lambda: state_of(ids[-1]) == "stopped")
    assert len(set(ids)) == 2


@pytest.mark.asyncio
async def test_run_is_an_async_context_manager_too() -> None:
    app = nbfn.App("async-runs")

    @app.function()
    async def double(x: int) -> int:
        return 2 * x

    async with app.run() as running:
        assert await double.remote.aio(2) == 4
        assert running.app_id == app.app_id
    assert not double.is_hydrated


def test_a_call_after_a_run_is_made_in_the_process_lived_app() -> None:
    app = nbfn.App("after")

    @app.function()
    def double(x: int) -> int:
        return 2 * x

    with app.run():
        inside = app.app_id
    assert double.remote(4) == 8
    assert app.app_id not in (None, inside)


def test_functions_of_a_run_may_call_each_other_in_a_circle() -> None:
    app = nbfn.App("circle")

    @app.function()
    def even(n: int) -> bool:
        return n == 0 or odd.remote(n - 1)  # type: ignore[no-any-return]

    @app.function()
    def odd(n: int) -> bool:
        return n != 0 and even.remote(n - 1)  # type: ignore[no-any-return]

    with app.run():
        assert even.remote(2) is True


def test_a_run_in_an_environment_that_is_not_there_leaves_the_app_where_it_was() -> None:
    own = an_app("stays", 8)
    with pytest.raises(NotFoundError), own.run(environment_name="nowhere"):
        pass
    assert own.registered_functions["value"].remote() == 8


def test_a_run_inside_a_run_of_the_same_app_is_refused() -> None:
    app = nbfn.App("nested")
    with app.run(), pytest.raises(InvalidError, match="running already"), app.run():
        pass
    with app.run():  # one after the other is fine
        pass


def test_an_exception_in_the_block_comes_out_after_the_app_was_stopped() -> None:
    app = nbfn.App("fails")
    ids = []

    def run() -> None:
        with app.run():
            ids.append(app.app_id)
            raise KeyError("mine")

    with pytest.raises(KeyError):
        run()
    assert app.app_id is None
    assert state_of(str(ids[0])) == "stopped"


def test_a_keyboard_interrupt_in_the_block_stops_the_app_and_is_swallowed() -> None:
    app = nbfn.App("interrupted")
    with app.run():
        app_id = app.app_id
        raise KeyboardInterrupt
    assert state_of(str(app_id)) == "stopped"


def test_the_end_of_a_run_terminates_running_inputs_but_those_spawned(tmp_path: Path) -> None:
    app = nbfn.App("terminates")

    @app.function()
    def wait_for(path: Path, began: Path) -> str:
        began.touch()
        while not (path.exists() and path.read_text()):
            time.sleep(0.005)
        return path.read_text()

    errors: list[BaseException] = []

    def wait() -> None:
        try:
            wait_for.remote(tmp_path / "never", tmp_path / "began")
        except RemoteError as error:
            errors.append(error)

    with app.run():
        call = wait_for.spawn(tmp_path / "go", tmp_path / "spawned")
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_until((tmp_path / "began").exists)
        wait_until((tmp_path / "spawned").exists)
    waiting.join(20)
    assert "cancelled" in str(errors[0])
    (tmp_path / "go").write_text("went on")
    assert call.get(timeout=20) == "went on"


def test_a_detached_app_goes_on_until_it_is_stopped(tmp_path: Path) -> None:
    app = nbfn.App("detached")

    @app.function()
    def wait_for(path: Path) -> str:
        while not (path.exists() and path.read_text()):
            time.sleep(0.005)
        return path.read_text()

    with app.run(detach=True):
        app_id = str(app.app_id)
        call = wait_for.spawn(tmp_path / "go")
    assert state_of(app_id) == "ephemeral (detached)"
    (tmp_path / "go").write_text("went on")
    assert call.get(timeout=20) == "went on"
    Client.attach().stop_app(app_id)
    assert state_of(app_id) == "stopped"


def test_an_ephemeral_app_is_not_found_by_its_name() -> None:
    app = an_app("ephemeral-only", 1)
    with app.run(), pytest.raises(NotFoundError, match="No app 'ephemeral-only' is deployed"):
        nbfn.Function.from_name("ephemeral-only", "value").remote()


PROGRAM = """
import nbfn, sys
app = nbfn.App("orphan")
@app.function()
def f(): pass
with app.run():
    print(app.app_id, flush=True)
    sys.stdin.read()
"""


def test_the_hub_stops_the_app_of_a_client_that_was_killed(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("NBFN_CLIENT_GRACE", "0.5")
    client = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    app_id = client.stdout.readline().strip()
    assert state_of(app_id) == "ephemeral"
    client.send_signal(signal.SIGKILL)
    client.communicate()
    wait_until(lambda: state_of(app_id) == "stopped")


def test_functions_that_were_only_called_end_with_their_process_and_spawned_calls_do_not(
    home: Path, tmp_path: Path
) -> None:
    program = """
import os, time
import nbfn

app = nbfn.App("only-called")

@app.function(min_containers=1)
def waits_for(gate):
    while gate and not os.path.exists(gate): time.sleep(0.02)
    return "done"

waits_for.remote("")
print(waits_for.spawn(os.path.abspath("gate")).object_id)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    def state() -> str:
        return next(row.state for row in Client.attach().apps() if row.name == "only-called")

    wait_until(lambda: state() == "stopping")
    (tmp_path / "gate").touch()
    assert nbfn.FunctionCall.from_id(ran.stdout.strip()).get(timeout=30) == "done"
    wait_until(lambda: state() == "stopped")
    wait_until(lambda: not [w for w in Client.attach().overview().workers if w.function])


def test_a_process_that_closes_its_client_has_its_functions_again_with_the_next_one(
    home: Path,
) -> None:
    app = nbfn.App("closed-and-back")

    @app.function(min_containers=1)
    def one() -> int:
        return 1

    def state() -> str:
        return next(row.state for row in Client.attach().apps() if row.name == "closed-and-back")

    for _ in range(8):
        assert one.remote() == 1
        assert state() == "ephemeral"
        Client.attach().close()
        wait_until(lambda: state() == "stopped")
    assert one.remote() == 1
    one.keep_warm(2)
    wait_until(lambda: len([w for w in Client.attach().overview().workers if w.function]) == 2)


def test_interactive_needs_output() -> None:
    app = nbfn.App("interactive")
    with pytest.raises(InvalidError, match="enable_output"), app.run(interactive=True):
        pass
    with nbfn.enable_output(), app.run(interactive=True):
        assert app.is_interactive
    assert not app.is_interactive


def test_progress_is_printed_only_with_output_enabled(capsys: pytest.CaptureFixture[str]) -> None:
    app = nbfn.App("output")

    @app.function()
    def shout() -> None:
        print("from afar")

    with app.run():
        pass
    assert capsys.readouterr().out == ""
    with nbfn.enable_output(), app.run():
        shout.remote()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(".")[0] for line in lines] == [
        "✓ Initialized",
        "✓ Created objects",
        "from afar",
        "✓ App completed",
    ]


# --- app.deploy ----------------------------------------------------------------------------------


def test_deploy_keeps_the_ids_and_raises_the_version() -> None:
    first = an_app("ids", 1)
    assert first.deploy() is first
    function_id = first.registered_functions["value"].object_id
    second = an_app("ids", 2).deploy()
    assert second.app_id == first.app_id
    assert second.registered_functions["value"].object_id == function_id
    history = Client.attach().app_history(str(first.app_id))
    assert [row.version for row in history] == [2, 1]
    assert nbfn.Function.from_name("ids", "value").remote() == 2


def test_handles_stay_hydrated_after_deploy() -> None:
    app = an_app("stays", 5).deploy()
    value = app.registered_functions["value"]
    assert value.is_hydrated
    assert value.remote() == 5


def test_a_function_removed_from_the_source_is_not_found_any_more_by_handles_either() -> None:
    an_app("removes", 1, "gone").deploy()
    handle = nbfn.Function.from_name("removes", "gone")
    assert handle.remote() == "gone"
    an_app("removes", 1).deploy()
    with pytest.raises(NotFoundError, match="'gone' is not in app 'removes'"):
        handle.remote()
    with pytest.raises(NotFoundError):
        nbfn.Function.from_name("removes", "gone").hydrate()
    an_app("removes", 1, "gone").deploy()  # and back, under the same id
    assert handle.remote() == "gone"


def test_an_unchanged_app_is_not_deployed_again(capsys: pytest.CaptureFixture[str]) -> None:
    app = an_app("same", 1).deploy()
    with nbfn.enable_output():
        an_app("same", 1).deploy()
    assert "deployment skipped" in capsys.readouterr().out
    assert len(Client.attach().app_history(str(app.app_id))) == 1


def test_deploy_needs_a_name_and_takes_another() -> None:
    with pytest.raises(InvalidError, match="needs a name"):
        nbfn.App().deploy()
    an_app(None, 3).deploy(name="other-name")
    assert nbfn.Function.from_name("other-name", "value").remote() == 3


def test_deploy_resets_what_was_overridden() -> None:
    app = an_app("overrides", 1, "other").deploy()
    value = app.registered_functions["value"]
    assert value.update_autoscaler(min_containers=1).min_containers == 1
    an_app("overrides", 1).deploy()
    assert value.update_autoscaler(buffer_containers=0).min_containers == 0


def test_a_rolling_deployment_lets_running_inputs_finish_on_their_version(tmp_path: Path) -> None:
    def deployed(text: str, strategy: str = "rolling") -> nbfn.Function[..., str]:
        app = nbfn.App("rolling")

        @app.function()
        def work(path: Path, began: Path) -> str:
            began.touch()
            while not path.exists():
                time.sleep(0.005)
            return text

        app.deploy(strategy=strategy)
        return work

    deployed("old")
    handle = nbfn.Function.from_name("rolling", "work")
    call = handle.spawn(tmp_path / "go", tmp_path / "began")
    wait_until((tmp_path / "began").exists)
    deployed("new")
    later = handle.spawn(tmp_path / "go", tmp_path / "later")
    (tmp_path / "go").touch()
    assert (call.get(timeout=20), later.get(timeout=20)) == ("old", "new")


def test_a_recreating_deployment_ends_all_workers_of_before() -> None:
    def deployed(number: int) -> None:
        app = nbfn.App("recreates")
        app.function(name="pid", min_containers=1)(os.getpid)
        app.function(name="number")(lambda: number)
        app.deploy(strategy="recreate")

    deployed(1)
    pid = nbfn.Function.from_name("recreates", "pid")
    before = pid.remote()
    deployed(2)  # the function `pid` is the same, its worker is not
    assert pid.remote() != before
    with pytest.raises(InvalidError, match="'rolling' or 'recreate'"):
        nbfn.App("recreates").deploy(strategy="sideways")


def test_a_deployment_that_fails_on_the_way_changes_nothing() -> None:
    app = an_app("whole", 1, "also").deploy()
    broken = an_app("whole", 2, "also")
    lock = threading.Lock()
    broken.function(name="locked")(lambda: lock)
    with pytest.raises(nbfn.exception.SerializationError):
        broken.deploy()
    assert nbfn.Function.from_name("whole", "value").remote() == 1
    assert len(Client.attach().app_history(str(app.app_id))) == 1


def test_the_history_says_who_deployed_what_and_when() -> None:
    began = time.time()
    app = an_app("told", 1).deploy(tag="first")
    (row,) = Client.attach().app_history(str(app.app_id))
    assert (row.version, row.tag, row.client) == (1, "first", nbfn.__version__)
    assert row.by
    assert began - 1 <= row.at <= time.time() + 1


def test_a_rollback_is_a_new_version_with_the_older_definitions() -> None:
    for number in (1, 2, 3):
        app = an_app("back", number).deploy()
    handle = nbfn.Function.from_name("back", "value")
    assert handle.remote() == 3
    found = Client.attach().rollback_app(str(app.app_id))
    assert (found.version, handle.remote()) == (4, 2)
    assert Client.attach().rollback_app(str(app.app_id), 1).version == 5
    assert handle.remote() == 1
    with pytest.raises(NotFoundError, match="no version 77"):
        Client.attach().rollback_app(str(app.app_id), 77)


def test_from_name_with_a_version_stays_with_that_deployment() -> None:
    an_app("pins", 1, "other").deploy()
    an_app("pins", 1).deploy()  # 2: value is the same, `other` is gone
    an_app("pins", 3).deploy()
    assert [nbfn.Function.from_name("pins", "value", version=n).remote() for n in (1, 2, 3)] == [
        1,
        1,
        3,
    ]
    assert nbfn.Function.from_name("pins", "other", version=1).remote() == "other"
    with pytest.raises(NotFoundError, match=r"Version 2 of app 'pins' .* had no function 'other'"):
        nbfn.Function.from_name("pins", "other", version=2).remote()
    with pytest.raises(NotFoundError, match="Version 9 of app 'pins' is not kept"):
        nbfn.Function.from_name("pins", "value", version=9).hydrate()


def test_a_pinned_version_holds_for_calls_within_the_app() -> None:
    def deployed(number: int) -> None:
        app = nbfn.App("pins-through")

        @app.function()
        def inner() -> int:
            return number

        @app.function()
        def outer() -> int:
            return inner.remote()

        @app.function()
        def spread() -> list[int]:
            return [inner.remote()]

        app.deploy()

    deployed(1)
    deployed(2)
    outer = nbfn.Function.from_name("pins-through", "outer", version=1)
    assert outer.remote() == 1
    assert nbfn.Function.from_name("pins-through", "outer").remote() == 2
    assert list(nbfn.Function.from_name("pins-through", "spread", version=1).starmap([()])) == [[1]]


def test_a_stopped_app_frees_its_name_and_handles_find_its_successor() -> None:
    app = an_app("stops", 1).deploy()
    handle = nbfn.Function.from_name("stops", "value")
    assert handle.remote() == 1
    Client.attach().stop_app(str(app.app_id))
    assert state_of(str(app.app_id)) == "stopped"
    with pytest.raises(NotFoundError, match="No app 'stops' is deployed"):
        handle.remote()
    again = an_app("stops", 2).deploy()
    assert again.app_id != app.app_id
    assert handle.remote() == 2


def test_stopped_apps_are_not_in_the_overview() -> None:
    app = an_app("shown", 1).deploy()
    assert "shown" in {row.app for row in Client.attach().overview().functions}
    Client.attach().stop_app(str(app.app_id))
    assert "shown" not in {row.app for row in Client.attach().overview().functions}


def test_what_was_deployed_is_there_after_the_hub_was_restarted(home: Path) -> None:
    for number in (1, 2):
        app = an_app("kept", number).deploy(tag=f"t{number}")
    environments.create_environment("kept-env")
    os.kill(int(str(read_connection_file(Places.of())["pid"])), signal.SIGKILL)
    wait_until(lambda: not is_running(Places.of()))
    assert nbfn.Function.from_name("kept", "value").remote() == 2
    assert [row.tag for row in Client.attach().app_history(str(app.app_id))] == ["t2", "t1"]
    assert nbfn.Function.from_name("kept", "value", version=1).remote() == 1
    assert "kept-env" in {row.name for row in environments.list_environments()}


def test_a_run_of_a_deployed_app_leaves_the_deployment_alone() -> None:
    app = an_app("both", 1).deploy()
    value = app.registered_functions["value"]
    deployed = (app.app_id, value.object_id)
    with app.run():
        assert app.app_id != deployed[0]
        assert value.object_id != deployed[1]
    assert (app.app_id, value.object_id) == deployed
    assert value.remote() == 1


# --- the App itself ------------------------------------------------------------------------------


def test_the_constructor_checks_the_name() -> None:
    with pytest.raises(InvalidError, match="must be a string"):
        nbfn.App(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="not a name"):
        nbfn.App("no spaces")


def test_an_app_is_no_dictionary_and_has_no_dynamic_attributes() -> None:
    app = an_app("plain", 1)
    with pytest.raises(TypeError):
        app["value"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        _ = app.value  # type: ignore[attr-defined]


def test_what_is_registered_can_be_listed_and_the_image_set() -> None:
    app = an_app("listed", 1, "other")

    @app.local_entrypoint()
    def main() -> None: ...

    assert set(app.registered_functions) == {"other", "value"}
    assert app.registered_entrypoints == {"main": main}
    assert app.registered_web_endpoints == []
    assert (app.name, app.description) == ("listed", "listed")
    app.image = "an image"
    assert app.image == "an image"


def test_a_local_entrypoint_is_called_like_a_function() -> None:
    app = nbfn.App()

    @app.local_entrypoint()
    def main(x: int = 2) -> int:
        return x + 1

    assert (main(), main(4)) == (3, 5)
    with pytest.raises(InvalidError, match="parentheses"):
        app.local_entrypoint(lambda: None)
    with pytest.raises(InvalidError, match="already"):
        app.local_entrypoint(name="main")(lambda: None)


def test_include_takes_over_functions_and_tags() -> None:
    inner = an_app("inner", 7)
    outer = nbfn.App("outer", tags={"team": "a"})
    inner._tags = {"team": "b", "kind": "inner"}
    assert outer.include(inner) is outer
    outer.deploy()
    assert nbfn.Function.from_name("outer", "value").remote() == 7
    assert outer.get_tags() == {"team": "a", "kind": "inner"}


def test_tags_are_kept_at_the_hub() -> None:
    app = an_app("tagged", 1)
    app.set_tags({"team": "a"})
    app.deploy()
    assert nbfn.App.lookup("tagged").get_tags() == {"team": "a"}
    app.set_tags({"team": "b"})
    assert nbfn.App.lookup("tagged").get_tags() == {"team": "b"}
    with pytest.raises(InvalidError):
        app.set_tags({"team": 3})  # type: ignore[dict-item]


def test_a_remote_cell_leaves_the_functions_and_tags_of_its_app() -> None:
    app = an_app("celled", 1)
    app.set_tags({"team": "a"})
    app.deploy()
    cell = nbfn.App("celled")
    cell.function(name="added")(lambda: "added")
    run(cell._deploy(partial=True))  # what the magic does
    assert nbfn.Function.from_name("celled", "value").remote() == 1
    assert nbfn.Function.from_name("celled", "added").remote() == "added"
    assert nbfn.App.lookup("celled").get_tags() == {"team": "a"}


def test_lookup_finds_a_deployed_app_or_makes_one() -> None:
    with pytest.raises(NotFoundError, match="No app 'looked-up' is deployed"):
        nbfn.App.lookup("looked-up")
    made = nbfn.App.lookup("looked-up", create_if_missing=True)
    assert made.app_id == nbfn.App.lookup("looked-up").app_id


# --- environments --------------------------------------------------------------------------------


@pytest.fixture
def staging() -> Iterator[str]:
    environments.create_environment("staging")
    yield "staging"
    environments.delete_environment("staging")


def test_environments_are_separate_namespaces(
    staging: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_app("spaced", 1).deploy()
    an_app("spaced", 2).deploy(environment_name=staging)
    found = nbfn.Function.from_name
    assert found("spaced", "value").remote() == 1
    assert found("spaced", "value", environment_name=staging).remote() == 2
    for variable in ("MODAL_ENVIRONMENT", "NBFN_ENVIRONMENT"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, staging)
            assert found("spaced", "value").remote() == 2
            assert found("spaced", "value", environment_name="main").remote() == 1


def test_a_worker_is_in_the_environment_of_its_app(staging: str) -> None:
    an_app("inside", 1).deploy()
    an_app("inside", 2).deploy(environment_name=staging)
    app = nbfn.App("caller")

    @app.function()
    def ask() -> tuple[int, str]:
        value = nbfn.Function.from_name("inside", "value").remote()
        return value, os.environ["MODAL_ENVIRONMENT"]

    with app.run(environment_name=staging):
        assert ask.remote() == (2, "staging")
    with app.run():
        assert ask.remote() == (1, "main")


def test_a_bad_environment_name_is_an_error_at_first_use_that_lists_what_there_is() -> None:
    handle = nbfn.Function.from_name("any", "value", environment_name="nowhere")
    with pytest.raises(NotFoundError, match=r"no environment 'nowhere' \(there are: main"):
        handle.remote()
    with pytest.raises(NotFoundError, match="nowhere"):
        an_app("any", 1).deploy(environment_name="nowhere")


def test_environments_are_created_renamed_and_deleted_with_what_is_in_them() -> None:
    environments.create_environment("one")
    with pytest.raises(ConflictError):
        environments.create_environment("one")
    app = an_app("moved", 4).deploy(environment_name="one")
    environments.update_environment("one", new_name="two")
    assert nbfn.Function.from_name("moved", "value", environment_name="two").remote() == 4
    names = {row.name for row in environments.list_environments()}
    assert "two" in names
    assert "one" not in names
    environments.delete_environment("two")
    with pytest.raises(NotFoundError):
        nbfn.Function.from_name("moved", "value", environment_name="two").remote()
    with pytest.raises(InvalidError, match="always exists"):
        environments.delete_environment("main")
    assert app.app_id
