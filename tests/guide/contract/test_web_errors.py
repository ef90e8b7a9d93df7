"""Tests of errors and refused requests of web endpoints (docs/function-api.md#web-endpoints)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import nbfn
from nbfn.exception import InvalidError
from tests.conftest import wait_until
from tests.guide.contract.endpoints import COLD, Model, app, greet, site, url_of

# --- errors --------------------------------------------------------------------------------------


def test_an_endpoint_that_raises_is_a_500_without_its_traceback() -> None:
    @app.function()
    @nbfn.fastapi_endpoint()
    def fails() -> None:
        raise ValueError("on purpose")

    answer = httpx.get(url_of(fails), timeout=COLD)
    assert answer.status_code == 500
    assert "on purpose" not in answer.text


def test_an_endpoint_that_exits_is_a_500_and_its_worker_goes_on() -> None:
    @app.function()
    @nbfn.fastapi_endpoint()
    def leaves(how: str) -> int:
        if how == "exit":
            sys.exit(3)
        if how == "interrupt":
            raise KeyboardInterrupt
        return os.getpid()

    url = url_of(leaves)
    pid = httpx.get(url, params={"how": ""}, timeout=COLD).json()
    for how in ("exit", "interrupt"):
        assert httpx.get(url, params={"how": how}, timeout=COLD).status_code == 500
        assert httpx.get(url, params={"how": ""}, timeout=COLD).json() == pid


def test_a_worker_that_dies_is_a_502() -> None:
    @app.function()
    @nbfn.fastapi_endpoint()
    async def dies() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    answer = httpx.get(url_of(dies), timeout=COLD)
    assert answer.status_code == 502


def test_an_endpoint_that_takes_too_long_is_a_504() -> None:
    @app.function(timeout=0.3, startup_timeout=30)
    @nbfn.fastapi_endpoint()
    async def slow() -> None:
        await asyncio.Event().wait()

    assert httpx.get(url_of(slow), timeout=COLD).status_code == 504


def work_on(path: Path, stuck: bool) -> None:
    """Note who is at work, and go on for ever; ``stuck``: where nothing is heard of what Python raises."""
    with (path / "pids").open("a") as pids:
        pids.write(f"{os.getpid()}\n")
    (path / "runs").touch()
    try:
        while not (stuck and time.sleep(300)):
            time.sleep(0.005)
    finally:
        (path / "runs").unlink()


@app.function(timeout=0.7, startup_timeout=30)
@nbfn.fastapi_endpoint()
def plain_handler(path: Path, stuck: bool) -> None:
    work_on(path, stuck)


@app.function(timeout=0.7, startup_timeout=30)
@nbfn.wsgi_app()
def plain_site() -> Any:
    from urllib.parse import parse_qsl

    def answer(environ: Any, start_response: Any) -> Iterator[bytes]:
        asked = dict(parse_qsl(environ["QUERY_STRING"]))
        work_on(Path(asked["path"]), asked["stuck"] == "true")
        yield b""

    return answer


@pytest.mark.parametrize("handler", [plain_handler, plain_site])
def test_a_plain_handler_is_interrupted_at_its_timeout_or_its_worker_ends(
    handler: Any, tmp_path: Path
) -> None:
    def ask(*, stuck: bool) -> int:
        asked = {"path": str(tmp_path), "stuck": "true" if stuck else "false"}
        assert httpx.get(url_of(handler), params=asked, timeout=COLD).status_code == 504
        return int((tmp_path / "pids").read_text().splitlines()[-1])

    first = ask(stuck=False)
    assert not (tmp_path / "runs").exists()
    assert ask(stuck=True) == first
    wait_until(lambda: not Path(f"/proc/{first}").exists())
    assert ask(stuck=False) != first


def test_an_unknown_label_is_a_404() -> None:
    url = url_of(greet).replace("site-greet-dev", "nothing")
    assert httpx.get(url, timeout=COLD).status_code == 404


def test_a_response_that_breaks_off_is_told_by_the_connection() -> None:
    @app.function()
    @nbfn.asgi_app()
    def breaks() -> Any:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ValueError("on purpose")

        return application

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url_of(breaks), timeout=COLD)


# --- calls other than by URL ---------------------------------------------------------------------


CALLS: list[tuple[str, Callable[[Any], Any]]] = [
    ("remote", lambda f: f.remote()),
    ("spawn", lambda f: f.spawn()),
    ("map", lambda f: list(f.map([1]))),
    ("starmap", lambda f: list(f.starmap([(1,)]))),
    ("for_each", lambda f: f.for_each([1])),
    ("remote_gen", lambda f: list(f.remote_gen())),
]


@pytest.mark.parametrize(("way", "call"), CALLS)
def test_a_web_function_cannot_be_invoked_otherwise(way: str, call: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        call(greet)
    said = str(refused.value)
    assert f".{way}(" in said
    assert url_of(greet) in said
    assert ".local(" in said


def test_local_calls_the_handler() -> None:
    assert greet.local(name="here") == {"hello": "here"}


def test_local_returns_the_app() -> None:
    from starlette.applications import Starlette

    assert isinstance(site.local(), Starlette)


# --- decoration ----------------------------------------------------------------------------------


def nullary() -> Any: ...


DECORATORS = [nbfn.fastapi_endpoint, nbfn.web_endpoint, nbfn.asgi_app, nbfn.wsgi_app]


@pytest.mark.parametrize("decorator", DECORATORS)
def test_parentheses_are_needed(decorator: Any) -> None:
    with pytest.raises(InvalidError, match="parentheses"):
        decorator(nullary)


def test_a_web_server_needs_its_port() -> None:
    decorator: Any = nbfn.web_server
    with pytest.raises(InvalidError, match="port"):
        decorator(nullary)
    for port in (0, 65536, "8000", 80.5, True):
        with pytest.raises(InvalidError, match="port"):
            decorator(port)
    with pytest.raises(InvalidError, match="startup_timeout"):
        decorator(8000, startup_timeout=0)


@pytest.mark.parametrize("decorator", [*DECORATORS, lambda *a: nbfn.web_server(8000, *a)])
def test_options_are_keywords(decorator: Any) -> None:
    with pytest.raises(InvalidError, match="keywords"):
        decorator("GET")


@pytest.mark.parametrize("decorator", [*DECORATORS, lambda: nbfn.web_server(8000)])
def test_the_order_of_the_decorators_matters(decorator: Any) -> None:
    function = nbfn.App().function()(nullary)
    with pytest.raises(InvalidError, match=r"[Ss]wap"):
        decorator()(function)


@pytest.mark.parametrize("decorator", [*DECORATORS, lambda: nbfn.web_server(8000)])
def test_a_class_is_not_an_endpoint_but_its_methods_may_be(decorator: Any) -> None:
    with pytest.raises(InvalidError, match="method of the class"):

        @decorator()
        class Site: ...


@pytest.mark.parametrize("decorator", [nbfn.asgi_app, nbfn.wsgi_app, lambda: nbfn.web_server(80)])
def test_the_function_that_makes_an_app_takes_nothing_and_is_sync(decorator: Any) -> None:
    def needs(x: int) -> Any: ...
    def optional(x: int = 1) -> Any: ...
    async def asynchronous() -> Any: ...
    def yields() -> Any:
        yield

    with pytest.raises(InvalidError, match="'x'"):
        decorator()(needs)
    with pytest.raises(InvalidError, match="async"):
        decorator()(asynchronous)
    with pytest.raises(InvalidError, match="yields"):
        decorator()(yields)
    decorator()(optional)


def test_a_generator_is_no_endpoint_and_the_error_says_what_to_return() -> None:
    with pytest.raises(InvalidError, match="StreamingResponse"):

        @nbfn.fastapi_endpoint()
        def numbers() -> Iterator[int]:
            yield 1


@pytest.mark.parametrize("label", ["", "Upper", "a b", "-a", "x" * 64, 7, "ü"])
def test_a_label_is_part_of_a_url(label: Any) -> None:
    with pytest.raises(InvalidError, match="label"):
        nbfn.fastapi_endpoint(label=label)


def test_wrong_options_are_refused() -> None:
    wrong: Any = {"method": "get"}, {"docs": 1}, {"requires_proxy_auth": "yes"}
    for options in wrong:
        with pytest.raises(InvalidError, match=next(iter(options))):
            nbfn.fastapi_endpoint(**options)


def test_retries_are_refused() -> None:
    with pytest.raises(InvalidError, match="retries"):
        nbfn.App().function(retries=1)(nbfn.fastapi_endpoint()(nullary))


def test_batches_and_schedules_are_refused() -> None:
    with pytest.raises(InvalidError, match="batched"):
        nbfn.App().function()(
            nbfn.batched(max_batch_size=2, wait_ms=1)(nbfn.fastapi_endpoint()(nullary))
        )
    with pytest.raises(InvalidError, match="scheduled"):
        nbfn.App().function(schedule=nbfn.Period(days=1))(nbfn.fastapi_endpoint()(nullary))


def test_custom_domains_say_that_they_have_no_effect() -> None:
    with pytest.warns(UserWarning, match="custom_domains"):
        nbfn.fastapi_endpoint(custom_domains=["example.org"])


def test_a_web_endpoint_has_no_variants_since_it_has_one_url() -> None:
    with pytest.raises(InvalidError, match="'greet' is a web endpoint and has no variants"):
        greet.with_options(timeout=5)
    with pytest.raises(InvalidError, match="'greet' is a web endpoint and has no variants"):
        greet.with_concurrency(max_inputs=2)
    variant = Model.with_options(timeout=5)(name="a")
    assert variant.pid.remote() != Model(name="a").pid.remote()
    with pytest.raises(
        InvalidError, match=r"'Model\.predict' is a web endpoint and has no variants"
    ):
        variant.predict.get_web_url()


@pytest.mark.parametrize("decorator", [*DECORATORS, lambda: nbfn.web_server(8000)])
def test_a_method_is_called_or_answers_http_but_not_both(decorator: Any) -> None:
    class Site:
        def page(self) -> Any: ...

    page = Site.page
    with pytest.raises(InvalidError, match=r"'page' has both @nbfn\.method\(\) and a web endpoint"):
        nbfn.method()(decorator()(page))
    with pytest.raises(InvalidError, match=r"'page' has both @nbfn\.method\(\) and a web endpoint"):
        decorator()(nbfn.method()(page))


def test_more_options_of_wrong_types_are_refused() -> None:
    wrong: Any = 3
    for decorator in (*DECORATORS, lambda **options: nbfn.web_server(8000, **options)):
        with pytest.raises(InvalidError, match="custom_domains"):
            decorator(custom_domains=wrong)
    with pytest.raises(InvalidError, match="startup_timeout"):
        nbfn.web_server(8000, startup_timeout=float("nan"))
