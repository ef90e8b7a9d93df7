"""Tests of web endpoints with requests over HTTP (docs/function-api.md#web-endpoints)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pydantic
import pytest

import nbfn
from nbfn.config import Places
from nbfn.exception import ConflictError, InvalidError, NotFoundError
from tests.guide.contract.endpoints import COLD, Model, app, greet, url_of

# --- fastapi_endpoint ----------------------------------------------------------------------------


def test_an_endpoint_answers_with_its_result_and_reads_its_parameters_from_the_query() -> None:
    assert httpx.get(url_of(greet), timeout=COLD).json() == {"hello": "world"}
    assert httpx.get(url_of(greet), params={"name": "ada"}).json() == {"hello": "ada"}


def test_a_wrong_parameter_is_told_as_fastapi_tells_it() -> None:
    @app.function()
    @nbfn.fastapi_endpoint()
    def square(x: int) -> int:
        return x * x

    assert httpx.get(url_of(square), params={"x": "3"}, timeout=COLD).text == "9"
    assert httpx.get(url_of(square), params={"x": "three"}).status_code == 422


def test_a_post_reads_its_body() -> None:
    @app.function()
    @nbfn.fastapi_endpoint(method="POST")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    assert httpx.post(url_of(total), json=[1, 2, 3], timeout=COLD).json() == 6


class Item(pydantic.BaseModel):
    name: str
    price: float = 1.0


def test_a_model_of_the_notebooks_own_is_read_from_the_body() -> None:
    @app.function()
    @nbfn.fastapi_endpoint(method="POST")
    def price(item: Item) -> Item:  # annotations are strings here
        item.price *= 2
        return item

    answer = httpx.post(url_of(price), json={"name": "pen", "price": 2}, timeout=COLD)
    assert answer.json() == {"name": "pen", "price": 4.0}


def test_another_method_than_its_own_is_405() -> None:
    assert httpx.post(url_of(greet), timeout=COLD).status_code == 405


def test_cors_is_permissive() -> None:
    answer = httpx.get(url_of(greet), headers={"Origin": "https://example.org"}, timeout=COLD)
    assert answer.headers["access-control-allow-origin"] in ("*", "https://example.org")


def test_there_are_no_docs_unless_asked_for() -> None:
    @app.function()
    @nbfn.fastapi_endpoint(docs=True)
    def documented(x: int) -> int:
        return x

    assert httpx.get(url_of(greet) + "/docs", timeout=COLD).status_code == 404
    docs = httpx.get(url_of(documented) + "/docs", timeout=COLD)
    assert docs.status_code == 200
    assert "'/openapi.json'" in docs.text  # at the root of its origin
    schema = httpx.get(url_of(documented) + "/openapi.json").json()
    assert "/" in schema["paths"]
    assert "servers" not in schema


def test_web_endpoint_is_the_older_name() -> None:
    @app.function()
    @nbfn.web_endpoint(method="PUT", label="old-name")
    def old() -> str:
        return "old"

    assert url_of(old).endswith("/old-name-dev")
    assert httpx.put(url_of(old), timeout=COLD).json() == "old"


def test_a_response_is_sent_as_it_is() -> None:
    @app.function()
    @nbfn.fastapi_endpoint()
    def teapot() -> Any:
        from fastapi.responses import PlainTextResponse

        return PlainTextResponse("short and stout", status_code=418, headers={"x-handle": "1"})

    answer = httpx.get(url_of(teapot), timeout=COLD)
    assert (answer.status_code, answer.text) == (418, "short and stout")
    assert answer.headers["x-handle"] == "1"


# --- methods -------------------------------------------------------------------------------------


def test_a_method_is_an_endpoint_with_a_url_of_its_own() -> None:
    model = Model(name="a")
    assert url_of(model.predict).endswith("/site-model-predict-dev")
    assert url_of(model.page).endswith("/models-page-dev")
    assert model.pid.get_web_url() is None


def test_a_classs_parameters_are_read_from_the_query() -> None:
    url = url_of(Model(name="a").predict)
    asked: dict[str, Any] = {"name": "a", "x": 3}
    assert httpx.get(url, params=asked, timeout=COLD).json()["model"] == "a:1:False"
    asked |= {"size": 7, "loud": "true"}
    assert httpx.get(url, params=asked, timeout=COLD).json()["model"] == "a:7:True"
    page = url_of(Model(name="a").page)
    assert httpx.get(page, params={"name": "a"}, timeout=COLD).text == "a:1:False"


def test_an_object_has_its_workers_whoever_asks() -> None:
    asked: dict[str, Any] = {"name": "shared", "x": 3}
    there = httpx.get(url_of(Model(name="shared").predict), params=asked, timeout=COLD).json()
    assert there["pid"] == Model(name="shared").pid.remote()


@pytest.mark.parametrize(
    ("query", "said"),
    [({}, "'name'"), ({"name": "a", "size": "big"}, "big"), ({"name": "a", "loud": "x"}, "'x'")],
)
def test_a_parameter_that_is_missing_or_wrong_is_a_422(query: dict[str, str], said: str) -> None:
    answer = httpx.get(url_of(Model(name="a").predict), params={"x": "1"} | query, timeout=COLD)
    assert answer.status_code == 422
    assert said in answer.text


def test_a_web_method_cannot_be_invoked_otherwise_but_runs_locally() -> None:
    model = Model(name="here")
    with pytest.raises(InvalidError, match=r"\.remote\(.*models-page-dev|site-model-predict"):
        model.predict.remote(1)
    assert model.predict.local(1)["model"] == "here:1:False"


def test_registered_web_endpoints_names_methods_with_their_class() -> None:
    assert {"greet", "site", "Model.predict", "Model.page"} <= set(app.registered_web_endpoints)
    assert "Model.pid" not in app.registered_web_endpoints


# --- URLs ----------------------------------------------------------------------------------------


def test_a_url_names_app_and_function_and_an_ephemeral_app_says_dev() -> None:
    assert url_of(greet).endswith("/site-greet-dev")
    assert url_of(greet).startswith("http://127.0.0.1:")
    assert greet.web_url == greet.get_web_url()


def test_the_overview_has_the_url() -> None:
    url = url_of(greet)
    rows = {row.name: row for row in nbfn.Client.attach().overview().functions}
    assert rows["greet"].web_url == url


def test_get_web_url_has_an_aio_form() -> None:
    assert asyncio.run(greet.get_web_url.aio()) == greet.web_url


def test_the_url_of_a_function_that_is_no_web_endpoint_is_none() -> None:
    @app.function()
    def plain() -> int:
        return 1

    assert plain.web_url is None
    assert plain.get_web_url() is None


def test_a_deployed_endpoint_is_found_by_name_with_its_url() -> None:
    deployed = nbfn.App("Shop_2")

    @deployed.function()
    @nbfn.fastapi_endpoint()
    def Price_Of(item: str) -> str:
        return item.upper()

    deployed.deploy()
    found = nbfn.Function.from_name("Shop_2", "Price_Of")
    assert url_of(found).endswith("/shop-2-price-of")
    assert url_of(found) == url_of(Price_Of)
    assert httpx.get(url_of(found), params={"item": "pen"}, timeout=COLD).json() == "PEN"
    with pytest.raises(NotFoundError):
        nbfn.Function.from_name("Shop_2", "nothing").get_web_url()
    with pytest.raises(InvalidError, match="'Price_Of' is a web endpoint and has no variants"):
        found.with_options(timeout=5).get_web_url()


def test_a_label_belongs_to_one_endpoint() -> None:
    for name in ("first-shop", "second-shop"):
        shop = nbfn.App(name)

        @shop.function()
        @nbfn.fastapi_endpoint(label="the-shop")
        def shop_window() -> str:
            return "window"

        if name == "first-shop":
            shop.deploy()
            shop.deploy()  # deploying again is not a collision
        else:
            with pytest.raises(ConflictError, match=r"'the-shop'.*'second-shop'.*'first-shop'"):
                shop.deploy()


def saying(of: nbfn.App, word: str) -> Any:
    def say() -> str:
        return word

    return of.function(name="say")(nbfn.fastapi_endpoint()(say))


def test_an_app_that_is_made_anew_takes_its_labels_over() -> None:
    for word in ("one", "two"):
        say = saying(nbfn.App("again"), word)
        assert httpx.get(url_of(say), timeout=COLD).json() == word


def test_a_redefined_endpoint_answers_with_its_new_code() -> None:
    redefining = nbfn.App("redefining")
    assert httpx.get(url_of(saying(redefining, "old")), timeout=COLD).json() == "old"
    with pytest.warns(UserWarning, match="replaced"):
        new = saying(redefining, "new")
    assert httpx.get(url_of(new), timeout=COLD).json() == "new"


def test_registered_web_endpoints_names_them() -> None:
    some = nbfn.App("some")

    @some.function()
    @nbfn.asgi_app()
    def page() -> Any: ...

    @some.function()
    def plain() -> None: ...

    assert some.registered_web_endpoints == ["page"]


# --- access --------------------------------------------------------------------------------------


@app.function()
@nbfn.fastapi_endpoint(requires_proxy_auth=True)
def guarded() -> str:
    return "inside"


def test_proxy_auth_lets_in_who_has_both_headers() -> None:
    import json

    url = url_of(guarded)
    kept = json.loads(Places.of().web_file.read_text())
    right = {"Modal-Key": kept["proxy_key"], "Modal-Secret": kept["proxy_secret"]}
    assert httpx.get(url, headers=right, timeout=COLD).json() == "inside"
    for wrong in ({}, {"Modal-Key": kept["proxy_key"]}, right | {"Modal-Secret": "ws-guess"}):
        answer = httpx.get(url, headers=wrong)
        assert answer.status_code == 401
        assert "Modal-Key" in answer.text
