"""Tests that deploying or registering code that workers cannot load fails (docs/function-api.md#deployments)."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import nbfn
from nbfn.exception import DeserializationError, ExecutionError, SerializationError
from tests.conftest import wait_until


class Broken:
    def __init__(self) -> None:
        self.x = 1

    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("cannot come back")


class OnlyHere:
    """An object that can be unpickled in the process that made it, but not in a worker."""

    def __init__(self) -> None:
        self.x = 1

    def __setstate__(self, state: Any) -> None:
        if not nbfn.is_local():
            raise RuntimeError("not here")


# --- captured values -----------------------------------------------------------------------------


def test_a_captured_value_that_cannot_be_unpickled_is_named_at_registration() -> None:
    app, settings = nbfn.App("captures"), {"model": [Broken()]}

    @app.function()
    def uses() -> Any:
        return settings

    said = (
        r"'uses' uses settings\['model'\]\[0\] → .*Broken, which can be pickled but not unpickled.*"
        "RuntimeError: cannot come back"
    )
    for register in (app.deploy, uses.hydrate, uses.remote, lambda: app.run().__enter__()):
        with pytest.raises(SerializationError, match=said):
            register()


def test_one_that_fails_only_in_a_worker_says_where_at_the_first_call() -> None:
    app, value = nbfn.App("fails-there"), OnlyHere()

    @app.function()
    def uses_it() -> Any:
        return value

    with pytest.raises(DeserializationError) as caught:
        uses_it.remote()
    assert str(caught.value).startswith("'uses_it' cannot be loaded. ")
    assert "RuntimeError: not here (in OnlyHere.__setstate__)" in str(caught.value)
    call = uses_it.spawn()
    with pytest.raises(DeserializationError):
        call.get()

    def logged(logs: Any) -> str:
        return "".join(entry.message for entry in logs.tail())

    wait_until(lambda: "'uses_it' could not be loaded:\nTraceback" in logged(app.logs))
    wait_until(lambda: "could not be loaded, so this call failed" in logged(call.logs))


# --- web endpoints -------------------------------------------------------------------------------


def an_app(name: str, *, works: bool) -> nbfn.App:
    app = nbfn.App(name)

    @app.function()
    @nbfn.asgi_app()
    def site() -> Any:
        if not works:
            raise KeyError("no settings")
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        return Starlette(routes=[Route("/", lambda request: PlainTextResponse("works"))])

    return app


def test_an_endpoint_that_cannot_be_loaded_is_not_deployed_and_the_one_before_stays() -> None:
    good = an_app("site", works=True).deploy()
    url = good.registered_functions["site"].get_web_url()
    assert url is not None
    with pytest.raises(
        ExecutionError,
        match=r"'site' cannot be loaded in a worker: KeyError: 'no settings'. Nothing was deployed.",
    ) as caught:
        an_app("site", works=False).deploy()
    shown = "".join(traceback.format_exception(caught.value))
    assert 'raise KeyError("no settings")' in shown
    assert httpx.get(url, timeout=30).text == "works"


def test_an_endpoint_is_loaded_once_for_its_check_and_its_first_request(tmp_path: Path) -> None:
    loads = tmp_path / "loads"
    loads.touch()

    def deployed(text: str) -> list[str]:
        app = nbfn.App("loaded-once")

        def site(name: str) -> Any:
            def make() -> Any:
                with loads.open("a") as file:
                    file.write(f"{name} ")

                async def answer(scope: Any, receive: Any, send: Any) -> None:
                    await send({"type": "http.response.start", "status": 200, "headers": []})
                    await send({"type": "http.response.body", "body": text.encode()})

                return answer

            return make

        for name in ("one", "two"):
            app.function(name=name, serialized=True)(nbfn.asgi_app()(site(name)))
        app.deploy()
        return [str(app.registered_functions[name].get_web_url()) for name in ("one", "two")]

    for text in ("first", "second"):
        loads.write_text("")
        urls = deployed(text)
        assert [httpx.get(url, timeout=30).text for url in urls] == [text, text]
        assert sorted(loads.read_text().split()) == ["one", "two"]
    assert deployed("second") == urls  # unchanged: existing workers check it
    assert sorted(loads.read_text().split()) == ["one", "two"]


def test_a_captured_value_that_only_a_worker_finds_is_named_there() -> None:
    app, settings = nbfn.App("found-by-a-worker"), SimpleNamespace(held=Broken())

    @app.function()
    @nbfn.fastapi_endpoint()
    def page() -> Any:
        return settings

    @app.function()
    def plain() -> Any:
        return settings

    said = "captures settings → types.SimpleNamespace, which cannot be unpickled: make it inside"
    with pytest.raises(ExecutionError, match=f"'page' {said}"):
        app.deploy()
    with pytest.raises(DeserializationError) as caught:
        plain.remote()
    assert any(f"'plain' {said}" in note for note in caught.value.__notes__)


def test_a_run_whose_endpoint_cannot_be_loaded_does_not_begin() -> None:
    app = an_app("site-run", works=False)
    with (
        pytest.raises(ExecutionError, match="'site' cannot be loaded in a worker: KeyError"),
        app.run(),
    ):
        pytest.fail("it began")
    assert app.app_id is None


def test_an_enter_hook_that_raises_is_told_for_a_class_with_endpoints() -> None:
    app = nbfn.App("class-site")

    @app.cls()
    class Site:
        @nbfn.enter()
        def load(self) -> None:
            raise RuntimeError("no weights")

        @nbfn.fastapi_endpoint()
        def page(self) -> int:
            return 1

    with pytest.raises(ExecutionError, match="'Site' cannot be loaded.*RuntimeError: no weights"):
        app.deploy()


def test_what_needs_parameters_or_a_port_is_loaded_by_its_first_request() -> None:
    app = nbfn.App("not-loaded")

    @app.cls()
    class Sized:
        size: int = nbfn.parameter()

        @nbfn.enter()
        def load(self) -> None:
            raise RuntimeError("not before a request")

        @nbfn.fastapi_endpoint()
        def page(self) -> int:
            return 1

    @app.function()
    @nbfn.web_server(8765)
    def server() -> None:
        raise RuntimeError("not before a request")

    app.deploy()
    assert {"Sized", "server"} <= set(app.registered_classes) | set(app.registered_functions)
    nbfn.App.lookup("not-loaded")


def test_the_command_line_shows_the_traceback_and_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text(
        "import nbfn\napp = nbfn.App('cli-site')\n@app.function()\n@nbfn.wsgi_app()\ndef site():\n"
        "    raise KeyError('no settings')\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "nbfn", "deploy", "site.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[-1] == (
        "nbfn: Web endpoint 'site' cannot be loaded in a worker: KeyError: 'no settings'. Nothing was deployed."
    )
    assert [line for line in lines if line.lstrip().startswith("File ")] == [
        f'  File "{tmp_path}/site.py", line 6, in site'
    ]
