"""Tests of `env` and `secrets`: the environment of a worker, and the processes that can read it.

See docs/function-api.md#environment-variables-and-secrets.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import nbfn
from nbfn import Secret
from nbfn.api.environments import create_environment
from nbfn.exception import AlreadyExistsError, InvalidError, NotFoundError
from nbfn.protocol import messages
from nbfn.runtime.sync import run

app = nbfn.App("secrets-of-the-app", secrets=[Secret.from_dict({"WHOSE": "app", "APP": "yes"})])

AT_IMPORT = os.environ.get("SET_BEFORE_CODE", "")


def reading(*names: str) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


@pytest.fixture(scope="module")
def stored() -> Iterator[Secret]:
    yield Secret.objects.create("stored", {"TOKEN": "t-1", "WHOSE": "stored"})
    Secret.objects.delete("stored", allow_missing=True)


def test_env_and_secrets_become_environment_variables(stored: Secret) -> None:
    f = app.function(name="both", env={"PLAIN": "p"}, secrets=[stored])(reading)
    assert f.remote("PLAIN", "TOKEN") == {"PLAIN": "p", "TOKEN": "t-1"}


def test_a_functions_secrets_win_over_the_apps_and_env_over_both(stored: Secret) -> None:
    f = app.function(name="second", secrets=[stored])(reading)
    assert f.remote("APP", "WHOSE") == {"APP": "yes", "WHOSE": "stored"}
    inline = Secret.from_dict({"WHOSE": "inline"})
    f = app.function(name="third", secrets=[stored, inline])(reading)
    assert f.remote("WHOSE") == {"WHOSE": "inline"}
    f = app.function(name="fourth", secrets=[inline, stored])(reading)
    assert f.remote("WHOSE") == {"WHOSE": "stored"}
    f = app.function(name="fifth", secrets=[inline, stored], env={"WHOSE": "env"})(reading)
    assert f.remote("WHOSE") == {"WHOSE": "env"}


def test_they_are_set_before_the_functions_code_is_loaded(tmp_path: Path) -> None:
    class Loaded:
        def __reduce__(self) -> tuple[object, ...]:
            return os.getenv, ("SET_BEFORE_CODE", "not set")

    loaded = Loaded()

    @app.function(env={"SET_BEFORE_CODE": "set"})
    def what() -> object:
        return loaded

    assert what.remote() == "set"


def test_one_functions_variables_do_not_leak_into_another() -> None:
    first = app.function(name="leaky", env={"MINE": "1"})(reading)
    other = app.function(name="clean")(reading)
    assert first.remote("MINE") == {"MINE": "1"}
    assert list(other.map(["MINE"] * 20)) == [{"MINE": None}] * 20


def test_a_new_value_is_a_new_version() -> None:
    f = app.function(name="valued", env={"VALUE": "1"})(reading)
    assert f.remote("VALUE") == {"VALUE": "1"}
    with pytest.warns(UserWarning, match="'valued'.* is replaced"):
        f = app.function(name="valued", env={"VALUE": "2"})(reading)
    assert f.remote("VALUE") == {"VALUE": "2"}


def test_a_missing_secret_is_not_found_when_the_function_is_registered() -> None:
    f = app.function(name="lost", secrets=[Secret.from_name("nowhere")])(reading)
    with pytest.raises(NotFoundError, match="'lost' needs secret 'nowhere'.*nbfn secret create"):
        f.hydrate()
    unlucky = nbfn.App("unlucky")
    unlucky.function(name="needy", secrets=[Secret.from_name("nowhere")])(reading)
    with pytest.raises(NotFoundError, match="'needy' needs secret 'nowhere'"):
        unlucky.deploy()
    with pytest.raises(NotFoundError):
        nbfn.Function.from_name("unlucky", "needy").hydrate()


def test_a_missing_key_is_not_found_and_named(stored: Secret) -> None:
    wanting = Secret.from_name("stored", required_keys=["TOKEN", "USER", "PASSWORD"])
    f = app.function(name="wanting", secrets=[wanting])(reading)
    with pytest.raises(NotFoundError, match="'stored' with USER, PASSWORD"):
        f.hydrate()


def test_a_secret_deleted_since_the_registration_fails_the_call_instead_of_hanging_it() -> None:
    brief = Secret.objects.create("brief", {"B": "1"})
    f = app.function(name="hurry", secrets=[brief])(reading)
    f.hydrate()
    Secret.objects.delete("brief")
    with pytest.raises(NotFoundError, match="'hurry' needs secret 'brief'"):
        f.remote("B")


def test_stored_secrets_are_made_listed_and_deleted() -> None:
    made = Secret.objects.create("one", {"A": "a", "B": "b"})
    assert repr(made) == "Secret.from_name('one')"
    assert made.info().keys == ("A", "B")
    with pytest.raises(AlreadyExistsError, match="'one'"):
        Secret.objects.create("one", {})
    assert Secret.objects.create("one", {"C": "c"}, allow_existing=True).info().keys == ("A", "B")
    assert Secret.create_deployed("one", {"D": "d"}, overwrite=True) == "one"
    assert Secret.from_name("one").info().keys == ("D",)
    assert "one" in [secret.name for secret in Secret.objects.list()]
    Secret.objects.delete("one")
    assert "one" not in [secret.name for secret in Secret.objects.list()]
    with pytest.raises(NotFoundError, match="'one'"):
        Secret.objects.delete("one")
    with pytest.raises(NotFoundError, match="nbfn secret create one"):
        Secret.from_name("one").hydrate()


def test_each_environment_has_its_own() -> None:
    with pytest.raises(NotFoundError, match="nbfn environment create staging"):
        Secret.objects.create("ours", {"A": "a"}, environment_name="staging")
    create_environment("staging")
    Secret.objects.create("ours", {"A": "a"}, environment_name="staging")
    assert [s.name for s in Secret.objects.list(environment_name="staging")] == ["ours"]
    assert "ours" not in [secret.name for secret in Secret.objects.list()]
    elsewhere = Secret.from_name("ours", environment_name="staging")
    f = app.function(name="far", secrets=[elsewhere])(reading)
    assert f.remote("A") == {"A": "a"}
    Secret.objects.delete("ours", environment_name="staging")


def test_the_environment_is_that_of_the_process_unless_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create_environment("mine")
    monkeypatch.setenv("MODAL_ENVIRONMENT", "mine")
    Secret.objects.create("here", {"A": "a"})
    assert [secret.name for secret in Secret.objects.list()] == ["here"]
    monkeypatch.delenv("MODAL_ENVIRONMENT")
    assert "here" not in [secret.name for secret in Secret.objects.list()]


@pytest.mark.parametrize(
    "values", [{"MODAL_TASK_ID": "x"}, {"NBFN_HOME": "x"}, {"": "x"}, {"A=B": "x"}, {"A": "\0"}]
)
def test_reserved_and_impossible_names_are_refused(values: dict[str, str]) -> None:
    with pytest.raises(InvalidError):
        app.function(env=values)
    with pytest.raises(InvalidError):
        Secret.from_dict(values)
    with pytest.raises(InvalidError):
        Secret.objects.create("bad", values)


def test_values_are_strings_and_none_leaves_one_out() -> None:
    with pytest.raises(InvalidError, match="\\['PORT'\\] must be a string, not int"):
        Secret.from_dict({"PORT": 80})  # type: ignore[dict-item]
    with pytest.raises(InvalidError, match="dict of strings"):
        Secret.from_dict(["PORT"])  # type: ignore[arg-type]
    assert dict(Secret.from_dict({"A": None, "B": "b"}).values) == {"B": "b"}


def test_from_local_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_ONE", "1")
    f = app.function(name="taken", secrets=[Secret.from_local_environ(["LOCAL_ONE"])])(reading)
    assert f.remote("LOCAL_ONE") == {"LOCAL_ONE": "1"}
    with pytest.raises(InvalidError, match="LOCAL_TWO is not set"):
        Secret.from_local_environ(["LOCAL_ONE", "LOCAL_TWO"])


def test_from_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# a comment\n\nA=1\nexport B = two words # said\nC='#1 $X'\nD=\"x\\ny\"  # more\nE=\nF=a#b\n"
    )
    (tmp_path / "below").mkdir()
    expected = {"A": "1", "B": "two words", "C": "#1 $X", "D": "x\ny", "E": "", "F": "a#b"}
    assert dict(Secret.from_dotenv(tmp_path / "below").values) == expected
    assert dict(Secret.from_dotenv(tmp_path / ".env").values) == expected
    with pytest.raises(NotFoundError, match=r"'nothing.env'"):
        Secret.from_dotenv(tmp_path, filename="nothing.env")
    (tmp_path / "bad.env").write_text("A=1\nwhat is this\n")
    with pytest.raises(InvalidError, match="Line 2"):
        Secret.from_dotenv(tmp_path / "bad.env")


def test_no_repr_shows_a_value() -> None:
    shown = repr(Secret.from_dict({"TOKEN": "hush"})) + repr(Secret.from_name("x"))
    assert "hush" not in shown
    assert "TOKEN" in shown


def test_values_do_not_travel_in_pickles_of_code_that_refers_to_them() -> None:
    secret = Secret.from_dict({"TOKEN": "hush"})
    hushed = app.function(name="hushed")(reading).with_options(secrets=[secret], env={"E": "hush"})

    @app.function()
    def refers() -> tuple[str, str, dict[str, str | None]]:
        return repr(secret), str(app.name), hushed.remote("TOKEN", "E")

    expected = (
        "Secret.from_dict({'TOKEN': ...})",
        "secrets-of-the-app",
        {"TOKEN": "hush", "E": "hush"},
    )
    assert refers.remote() == expected
    there = run(refers._ref.resolve()).client
    told = run(there.request(lambda n: messages.GetDefinition(n, refers.object_id)))
    assert told.definition.name == "refers"
    assert b"hush" not in msgspec.json.encode(told).replace(b"hushed", b"")
    assert b"hush" not in told.definition.payload.data.replace(b"hushed", b"")


def test_one_that_came_without_its_values_cannot_be_used() -> None:
    came = pickle.loads(pickle.dumps(Secret.from_dict({"TOKEN": "hush"})))
    with pytest.raises(InvalidError, match="without its values"):
        app.function(name="came", secrets=[came])(reading).hydrate()
    named = pickle.loads(pickle.dumps(Secret.from_name("x", required_keys=["A"])))
    assert (named.name, named.required_keys) == ("x", ("A",))


def test_a_secret_has_no_constructor() -> None:
    with pytest.raises(InvalidError, match="from_dict"):
        Secret({"A": "b"})


def test_a_worker_says_where_it_is_and_user_variables_cannot_say_otherwise() -> None:
    f = app.function(name="where")(reading)
    found = f.remote("MODAL_TASK_ID", "MODAL_IS_REMOTE", "MODAL_ENVIRONMENT", "MODAL_REGION")
    assert (found.pop("MODAL_TASK_ID") or "").startswith("wk-")
    assert found == {
        "MODAL_IS_REMOTE": "1",
        "MODAL_ENVIRONMENT": "main",
        "MODAL_REGION": "local",
    }


def test_what_is_set_in_os_environ_here_does_not_reach_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONLY_HERE", "1")
    f = app.function(name="there")(reading)
    assert f.remote("ONLY_HERE") == {"ONLY_HERE": None}
