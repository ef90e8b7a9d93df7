"""Section 4.6 and 1.7 of the contract: web endpoints, asked over HTTP as anybody would."""

from __future__ import annotations

from typing import Any

import httpx

import nbfn

app = nbfn.App("site")


@app.function()
@nbfn.fastapi_endpoint()
def greet(name: str = "world") -> dict[str, Any]:
    return {"hello": name}


def test_an_endpoint_answers_with_its_result_and_reads_its_parameters_from_the_query() -> None:
    assert greet.web_url is not None
    assert httpx.get(greet.web_url, timeout=30).json() == {"hello": "world"}
    assert httpx.get(greet.web_url, params={"name": "ada"}).json() == {"hello": "ada"}
