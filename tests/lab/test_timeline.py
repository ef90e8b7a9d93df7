"""The routes of the timeline: what is passed to the hub, the JSON of its answer, and what is refused."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from tornado.httpclient import HTTPClientError

from nbfn.jupyter.server import schema
from nbfn.protocol import messages as m

from .conftest import FakeClient, FakeHub

LANE = m.LaneRow(
    3, "wk-1", "host", 7, "fu-1", "<b>f</b>", "app", 1.0, 2.0, 3.0, 4.0, 0.0, True, False, "", 0
)
CALL = m.CallLabelRow(1, "fc-1", "fu-1", "<b>f</b>", "app", 1, "map")
SPANS = m.SpanColumns((1.0,), (2.0,), (3.0,), (2.5,), (0,), (1,), (3,), (1,), (1,), (2,))
SUMMARY = m.TimelineSummary(
    *(1.0, 5.0, 1, 3.0, 0.0, 1.0, 0.5, 0.5, 1, 1, 0, 3.0, 3.0, 1.0, 1.0),
    (m.SlowInput(1, 0, 1, 3, 2.0, 3.0, 2),),
    *(3, 0.0),
)
ANSWER = m.Timeline(
    *(0, 7, 9.0, 1, 1, False, 0, (LANE,), (CALL,), SPANS, m.SpanColumns(), None, SUMMARY),
)


class _Blocking:
    def __init__(self, answer: Any) -> None:
        self.asked: list[Any] = []
        self._answer = answer

    async def aio(self, *args: Any) -> Any:
        self.asked.append(args)
        return self._answer


@pytest.fixture
def timeline(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> _Blocking:
    """What clients of the hub are asked for."""
    fake = _Blocking(ANSWER)
    monkeypatch.setattr(FakeClient, "timeline", fake, raising=False)
    return fake


async def get(jp_fetch: Any, query: str, path: str = "timeline") -> tuple[int, Any]:
    params = dict(part.split("=") for part in query.split("&")) if query else {}
    try:
        reply = await jp_fetch("nbfn", "api", *path.split("/"), params=params)
    except HTTPClientError as error:
        assert error.response is not None
        reply = error.response
    return reply.code, json.loads(reply.body)


async def test_the_query_is_passed_on(timeline: _Blocking, jp_fetch: Any) -> None:
    query = "1700000000000=&call=fc-1&since=1.5&until=9&after=4&columns=800&most=100&summary=true"
    status, _ = await get(jp_fetch, query)
    assert status == 200
    [(asked,)] = timeline.asked
    assert asked == m.GetTimeline(0, "fc-1", "", "", 1.5, 9.0, 4, 800, 100, True)


async def test_the_answer_is_what_the_schema_says(timeline: _Blocking, jp_fetch: Any) -> None:
    _, reply = await get(jp_fetch, "")
    page = msgspec.convert(reply, schema.TimelinePage)
    assert page.lanes[0].worker == "wk-1"
    assert page.calls[0].name == "<b>f</b>"  # text; the page escapes it
    assert page.spans.outcome == (2,)
    assert page.spans.started == (2.0,)
    assert page.running.started == ()
    assert page.bins is None
    assert page.summary is not None
    assert page.summary.slowest[0].seconds == 3.0
    assert set(reply) == set(schema.TimelinePage.__struct_fields__)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("since=-1", 400),
        ("since=nan", 400),
        ("since=inf", 400),
        ("after=1e400", 400),
        ("after=" + "9" * 40, 400),
        ("columns=x", 400),
        ("summary=perhaps", 400),
        ("colour=red", 400),
        ("call=" + quote("<script>"), 404),
        ("worker=" + "w" * 1000, 404),
    ],
)
async def test_bad_queries_are_refused(
    timeline: _Blocking, jp_fetch: Any, query: str, status: int
) -> None:
    params = dict([query.split("=", 1)])
    try:
        reply = await jp_fetch("nbfn", "api", "timeline", params=params)
    except HTTPClientError as error:
        assert error.response is not None
        reply = error.response
    assert reply.code == status
    assert "message" in json.loads(reply.body)
    assert timeline.asked == []


@pytest.mark.parametrize("path", ["timeline", "timeline/failure"])
async def test_a_token_is_needed(timeline: _Blocking, jp_fetch: Any, path: str) -> None:
    with pytest.raises(HTTPClientError) as refused:
        await jp_fetch("nbfn", "api", *path.split("/"), headers={"Authorization": "token x"})
    assert refused.value.code == 403
    assert timeline.asked == []


async def test_the_traceback_of_an_attempt(
    hub: FakeHub, jp_fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = _Blocking("ValueError: <b>no</b>")
    monkeypatch.setattr(FakeClient, "failure_text", fake, raising=False)
    found = await get(jp_fetch, "call=fc-1&index=3&attempt=2", "timeline/failure")
    assert found == (200, {"traceback": "ValueError: <b>no</b>"})
    assert fake.asked == [("fc-1", 3, 2)]
    status, _ = await get(jp_fetch, "call=fc-1", "timeline/failure")
    assert status == 400


async def test_without_a_hub_it_says_so(timeline: _Blocking, hub: FakeHub, jp_fetch: Any) -> None:
    hub.is_running = False
    status, reply = await get(jp_fetch, "")
    assert (status, reply) == (503, {"message": "nbfn is not running."})
