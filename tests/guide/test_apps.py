"""Tests of deployed Functions that other notebooks call by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nbfn
from nbfn.exception import ExecutionError, InvalidError, NotFoundError, VersionError

app = nbfn.App("demo")


@app.function()
def cube(x: int) -> int:
    return x**3


@app.function()
def mean(*xs: float) -> float:
    return sum(xs) / len(xs)


@pytest.fixture(scope="module", autouse=True)
def deployed(hub_home: object) -> None:
    app.deploy()


def test_a_deployed_function_is_found_by_name() -> None:
    found = nbfn.Function.from_name("demo", "cube")
    assert found.remote(3) == 27
    assert list(found.map([1, 2])) == [1, 8]
    assert found.spawn(2).get() == 8


def test_from_another_process() -> None:
    code = "import nbfn; print(nbfn.Function.from_name('demo', 'cube').remote(4))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "64\n"


def test_from_name_asks_nothing_before_it_is_used() -> None:
    unknown = nbfn.Function.from_name("demo", "cuba")
    assert repr(unknown) == "Function.from_name('demo', 'cuba')"
    with pytest.raises(NotFoundError, match=r"'cuba' is not in app 'demo'.*cube.*mean"):
        unknown.remote(1)
    with pytest.raises(NotFoundError, match="No app 'dmeo' is deployed"):
        nbfn.Function.from_name("dmeo", "cube").remote(1)
    with pytest.raises(NotFoundError):
        nbfn.Function.lookup("demo", "cuba")


def test_hydrate_gives_the_id() -> None:
    assert nbfn.Function.from_name("demo", "cube").hydrate().object_id == cube.object_id
    with pytest.raises(AttributeError, match="hydrate"):
        _ = nbfn.Function.from_name("demo", "cube").object_id


def test_what_is_elsewhere_cannot_run_here() -> None:
    found = nbfn.Function.from_name("demo", "cube")
    with pytest.raises(ExecutionError, match="no definition in this process"):
        found.local(1)
    with pytest.raises(ExecutionError):
        found.get_raw_f()
    assert cube.get_raw_f()(2) == 8


def test_a_redeployed_function_is_the_new_one_for_who_has_a_handle() -> None:
    again = nbfn.App("again")
    handle = nbfn.Function.from_name("again", "value")

    def version(number: int) -> None:
        app = nbfn.App("again")

        @app.function()
        def value() -> int:
            return number

        app.deploy()

    version(1)
    assert handle.remote() == 1
    version(2)
    assert handle.remote() == 2
    assert nbfn.Function.from_name("again", "value", version=1).remote() == 1
    assert again.name == "again"


def test_what_is_not_deployed_is_private() -> None:
    private = nbfn.App("private")

    @private.function()
    def secret() -> int:
        return 1

    assert secret.remote() == 1
    with pytest.raises(NotFoundError):
        nbfn.Function.from_name("private", "secret").remote()


def test_a_function_travels_as_its_id() -> None:
    @nbfn.App().function()
    def apply(f: object, x: int) -> int:
        return f.remote(x)  # type: ignore[attr-defined, no-any-return]

    assert apply.remote(cube, 2) == 8


def test_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    import msgspec

    from nbfn.client.registration import remote_ref

    here = remote_ref.this_environment()
    monkeypatch.setattr(
        remote_ref, "this_environment", lambda: msgspec.structs.replace(here, python="3.99")
    )
    with pytest.raises(VersionError, match=r"runs under Python 3\.\d+, this is Python 3\.99"):
        nbfn.Function.from_name("demo", "cube").remote(1)


def test_an_app_needs_a_name_to_be_deployed() -> None:
    with pytest.raises(InvalidError, match="needs a name"):
        nbfn.App().deploy()
