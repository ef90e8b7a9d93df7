"""The routes with a real hub: what they answer, and what they change."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tornado.httpclient import HTTPClientError

from nbfn.client import discovery
from nbfn.config import Places
from nbfn.jupyter.server.events import SCHEMA_ID

HTML = "<img src=x onerror=alert(1)>"
PROGRAM = '''
    """The Functions that these tests call."""
    import os, time
    import nbfn

    app = nbfn.App("shapes")

    @app.function()
    def area(radius: float, unit: str = "m") -> dict:
        print("radius", radius)
        return {"area": radius * 3, "unit": unit}

    @app.function()
    def fail(number: int) -> int:
        "<script>alert(1)</script>"
        if number % 2:
            raise ValueError(f"<b>odd</b> {number}")
        return number

    @app.function()
    def slow(seconds: float) -> int:
        time.sleep(seconds)
        return os.getpid()

    @app.function()
    def odd(value: int, /, *rest: int, **named: int) -> list:
        return [value, list(rest), named]

    @app.cls()
    class Counter:
        @nbfn.method()
        def up(self, by: int = 1) -> int:
            return by
'''


async def run_program(folder: Path, *lines: str, within: float = 60.0) -> str:
    """Run a program that has the Functions, outside of this process; return what it prints."""
    path = folder / "<img src=x>shapes.py"
    path.write_text("\n".join([textwrap.dedent(PROGRAM), *lines]))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    async with asyncio.timeout(within):
        out, _ = await process.communicate()
    text = out.decode()
    assert process.returncode == 0, text
    return text


@pytest.fixture
def ask(home: Path, jp_fetch: Any, jp_serverapp: Any, jp_asyncio_loop: Any) -> Any:
    """Send a request and return (status, JSON), whatever the status is."""

    async def start() -> None:
        jp_serverapp.web_app.settings["nbfn_hub_client"].start()

    jp_asyncio_loop.run_until_complete(start())

    async def ask(method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        options: dict[str, Any] = {"params": query} if query else {}
        if method not in ("GET", "DELETE"):
            options["body"] = "" if body is None else json.dumps(body)
        try:
            reply = await jp_fetch(
                "nbfn", "api", *path.split("/"), method=method, request_timeout=60, **options
            )
        except HTTPClientError as error:
            assert error.response is not None
            reply = error.response
        return reply.code, json.loads(reply.body)

    return ask


async def until(holds: Callable[[], Any], within: float = 30.0) -> Any:
    """Return what is true, in the end, of an async function."""
    async with asyncio.timeout(within):
        while not (found := await holds()):
            await asyncio.sleep(0.05)
    return found


async def rows(ask: Any) -> dict[str, Any]:
    status, reply = await ask("GET", "overview")
    assert status == 200
    found: dict[str, Any] = reply["overview"]
    return found


async def function_id(ask: Any, name: str) -> str:
    async def there() -> str | None:
        return next((f["id"] for f in (await rows(ask))["functions"] if f["name"] == name), None)

    found: str = await until(there)
    return found


async def ended(ask: Any, call: str) -> dict[str, Any]:
    async def over() -> dict[str, Any] | None:
        status, details = await ask("GET", f"calls/{call}")
        return details if status == 200 and details["call"]["ended"] is not None else None

    found: dict[str, Any] = await until(over)
    return found


async def test_a_function_is_called_with_json_and_its_result_is_shown(
    ask: Any, tmp_path: Path
) -> None:
    await run_program(tmp_path, "app.deploy()")
    area = await function_id(ask, "area")
    status, details = await ask("GET", f"functions/{area}")
    assert status == 200
    assert [(f["name"], f["kind"], f["default"]) for f in details["fields"]] == [
        ("radius", "float", None),
        ("unit", "str", "m"),
    ]
    assert (details["kind"], details["deployed"]) == ("function", True)
    assert details["import_line"] == "area = nbfn.Function.from_name('shapes', 'area')"
    assert details["call_line"] == "area.remote(radius)"
    status, started = await ask("POST", f"functions/{area}/call", {"arguments": {"radius": 2}})
    assert status == 200
    found = await ended(ask, started["call"])
    assert found["call"]["state"] == "succeeded"
    assert found["result"] == "{'area': 6.0, 'unit': 'm'}"
    assert (found["traceback"], found["errors"], found["retriable"]) == (None, [], 0)
    assert found["kept_until"] > found["now"]

    async def printed() -> list[Any]:
        _, page = await ask("GET", "logs", call=started["call"])
        lines: list[Any] = page["lines"]
        return lines

    lines = await until(printed)
    assert [(line["message"], line["function"]) for line in lines] == [("radius 2.0\n", area)]
    counter = await function_id(ask, "Counter")
    body = {"method": "up", "arguments": {"by": 4}}
    _, started = await ask("POST", f"functions/{counter}/call", body)
    assert (await ended(ask, started["call"]))["result"] == "4"
    odd = await function_id(ask, "odd")
    given = {"value": 1, "rest": [2, 3], "named": {"x": 4}}
    _, started = await ask("POST", f"functions/{odd}/call", {"arguments": given})
    assert (await ended(ask, started["call"]))["result"] == "[1, [2, 3], {'x': 4}]"


async def test_wrong_arguments_are_refused_at_their_field(ask: Any, tmp_path: Path) -> None:
    await run_program(tmp_path, "app.deploy()")
    area = await function_id(ask, "area")
    counter = await function_id(ask, "Counter")
    for function, body, field in [
        (area, {"arguments": {}}, "radius"),
        (area, {"arguments": {"radius": "two"}}, "radius"),
        (area, {"arguments": {"radius": True}}, "radius"),
        (area, {"arguments": {"radius": 1, "unit": 3}}, "unit"),
        (area, {"arguments": {"radius": 1, HTML: 3}}, HTML),
        (area, {"arguments": {"radius": 1}, "method": "up"}, "method"),
        (counter, {"arguments": {}}, "method"),
    ]:
        status, problem = await ask("POST", f"functions/{function}/call", body)
        assert (status, problem["field"]) == (400, field), problem
    status, problem = await ask("PATCH", f"functions/{area}/autoscaler", {"min_containers": -1})
    assert (status, problem["field"]) == (400, "min_containers")


async def test_failures_are_grouped_and_run_again(ask: Any, tmp_path: Path) -> None:
    out = await run_program(
        tmp_path,
        "app.deploy()",
        "call = fail.spawn_map(range(8))",
        "print('ID', call.object_id)",
    )
    call = out.split("ID ")[1].split()[0]
    found = await ended(ask, call)
    assert (found["call"]["state"], found["retriable"]) == ("failed", 4)
    assert "<img src=x>" in found["call"]["origin"]  # text; the page escapes it
    _, details = await ask("GET", f"functions/{found['call']['function_id']}")
    assert details["doc"] == "<script>alert(1)</script>"
    [group] = found["errors"]
    assert (group["count"], group["type"], group["indexes"]) == (4, "ValueError", [1, 3, 5, 7])
    assert group["message"].startswith("<b>odd</b>")
    assert "shapes.py, line" in group["where"]
    assert "raise ValueError" in group["traceback"]
    status, page = await ask("GET", f"calls/{call}/inputs", state="failed", limit=3)
    assert [row["index"] for row in page["inputs"]] == [1, 3, 5]
    assert page["inputs"][0]["error"] == "ValueError: <b>odd</b> 1"
    status, page = await ask(
        "GET", f"calls/{call}/inputs", state="failed", limit=3, first=page["next"]
    )
    assert ([row["index"] for row in page["inputs"]], page["next"]) == ([7], None)
    assert await ask("POST", f"calls/{call}/retry") == (200, {"inputs": 4})
    again = await ended(ask, call)
    assert (again["call"]["succeeded"], again["call"]["failed"]) == (4, 4)
    status, _ = await ask("POST", f"calls/fc-{'0' * 22}/retry")
    assert status == 404


async def test_the_failures_of_a_map_that_is_not_stored_are_grouped(
    ask: Any, tmp_path: Path
) -> None:
    await run_program(
        tmp_path, "with app.run():", "    list(fail.map(range(6), return_exceptions=True))"
    )
    _, page = await ask("GET", "calls", state="failed")
    [call] = page["calls"]
    assert (call["kind"], call["durable"], call["failed"]) == ("map", False, 3)
    _, details = await ask("GET", f"calls/{call['id']}")
    [group] = details["errors"]
    assert (group["count"], group["indexes"]) == (3, [1, 3, 5])
    assert details["retriable"] == 0


async def test_the_history_is_read_in_pages_by_state_time_and_search(
    ask: Any, tmp_path: Path
) -> None:
    await run_program(
        tmp_path,
        "app.deploy()",
        "calls = [area.spawn(n) for n in range(12)] + [fail.spawn(n) for n in range(4)]",
        "for call in calls:",
        "    try: call.get()",
        "    except ValueError: pass",
        "slow.spawn(60)",
    )

    async def pages(**query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        before = ""
        while True:
            status, page = await ask("GET", "calls", limit=5, before=before, **query)
            assert status == 200
            assert len(page["calls"]) <= 5
            found += page["calls"]
            if page["next"] is None:
                return found
            before = page["next"]

    every = await pages()
    assert len(every) == len({call["id"] for call in every}) == 17
    assert [call["started"] for call in every] == sorted(
        (call["started"] for call in every), reverse=True
    )
    for call in every:
        counts = ("succeeded", "failed", "cancelled", "running", "waiting", "not_run")
        assert sum(call[name] for name in counts) == call["total"]
    assert {call["function"] for call in await pages(state="failed")} == {"fail"}
    assert len(await pages(state="failed")) == 2
    assert len(await pages(search="AREA")) == 12
    assert len(await pages(search="shapes.py")) == 17
    assert await pages(search="nothing like this") == []
    assert await pages(since=time.time() + 60) == []
    third = every[2]["started"]
    assert len(await pages(since=third)) == 3
    ended_calls = [call for call in every if call["ended"] is not None]
    assert len(ended_calls) == 16
    assert all(call["ended"] >= call["started"] for call in ended_calls)


async def test_a_function_is_stopped_and_removed(ask: Any, tmp_path: Path) -> None:
    await run_program(tmp_path, "app.deploy()", "call = slow.spawn(60)")
    slow = await function_id(ask, "slow")

    async def busy() -> bool:
        return any(f["state"] == "busy" for f in (await rows(ask))["functions"] if f["id"] == slow)

    await until(busy)
    status, done = await ask("POST", f"functions/{slow}/stop")
    assert (status, done["calls"]) == (200, 1)
    assert done["workers"] >= 1

    async def stopped() -> bool:
        found = (await rows(ask))["functions"]
        return any(f["state"] == "stopped" for f in found if f["id"] == slow)

    await until(stopped)
    assert await ask("DELETE", f"functions/{slow}") == (200, {})

    async def gone() -> bool:
        return slow not in {f["id"] for f in (await rows(ask))["functions"]}

    await until(gone)
    status, _ = await ask("GET", f"functions/{slow}/versions")
    assert status in (200, 404)
    status, _ = await ask("POST", f"functions/{slow}/stop")
    assert status == 404


async def test_an_earlier_version_is_deployed_again(ask: Any, tmp_path: Path) -> None:
    await run_program(tmp_path, "app.deploy()")
    area = await function_id(ask, "area")
    await run_program(
        tmp_path,
        "app = nbfn.App(app.name)",
        "@app.function()",
        "def area(radius: float) -> int: return 99",
        "app.deploy()",
    )
    _, found = await ask("GET", f"functions/{area}/versions")
    assert [(row["version"], row["is_current"]) for row in found["versions"]] == [
        (2, True),
        (1, False),
    ]
    assert await ask("POST", f"functions/{area}/rollback", {"version": 1}) == (200, {"version": 1})
    _, found = await ask("GET", f"functions/{area}/versions")
    assert [(row["version"], row["is_current"]) for row in found["versions"]] == [
        (2, False),
        (1, True),
    ]
    status, problem = await ask("POST", f"functions/{area}/rollback", {"version": 7})
    assert (status, "no release of v7" in problem["message"]) == (404, True)


async def test_workers_are_drained_and_stopped_and_losses_are_told(
    ask: Any, tmp_path: Path
) -> None:
    await run_program(tmp_path, "app.deploy()", "slow.spawn(60); slow.spawn(60)")

    async def busy() -> list[dict[str, Any]]:
        found = [w for w in (await rows(ask))["workers"] if w["state"] == "busy"]
        return found if len(found) == 2 else []

    first, second = await until(busy)
    assert first["host"]
    assert first["function"] == "slow"
    assert await ask("POST", f"workers/{first['id']}/drain") == (200, {})

    async def draining() -> bool:
        return any(
            w["state"] == "draining" for w in (await rows(ask))["workers"] if w["id"] == first["id"]
        )

    await until(draining)
    assert await ask("POST", f"workers/{first['id']}/stop") == (200, {})

    async def gone() -> bool:
        return first["id"] not in {w["id"] for w in (await rows(ask))["workers"]}

    await until(gone)
    os.kill(second["pid"], signal.SIGKILL)

    async def lost() -> list[dict[str, Any]]:
        status, health = await ask("GET", "hub/health")
        assert status == 200
        found: list[dict[str, Any]] = health["lost_workers"]
        return found

    [worker] = await until(lost)
    assert (worker["id"], worker["function"]) == (second["id"], "slow")
    assert "SIGKILL" in worker["reason"]
    _, health = await ask("GET", "hub/health")
    assert health["version"] == health["server_version"]
    assert health["database_bytes"] > 0
    assert health["free_bytes"] > 0
    assert health["now"] >= health["started"] > 0
    status, _ = await ask("POST", f"workers/wk-{'0' * 22}/stop")
    assert status == 404


async def test_a_function_that_cannot_be_loaded_is_a_warning(ask: Any, tmp_path: Path) -> None:
    await run_program(
        tmp_path,
        "@app.cls(min_containers=1)",
        "class Broken:",
        "    @nbfn.enter()",
        "    def load(self): os._exit(3)",
        "    @nbfn.method()",
        "    def run(self): pass",
        "app.deploy()",
    )

    async def warned() -> list[dict[str, Any]]:
        _, health = await ask("GET", "hub/health")
        found: list[dict[str, Any]] = health["warnings"]
        return found

    [warning] = await until(warned)
    assert warning["subject"] == await function_id(ask, "Broken")
    assert "Broken" in warning["message"]
    assert warning["remedy"]


async def test_logs_wait_for_a_line(ask: Any, tmp_path: Path) -> None:
    await run_program(tmp_path, "app.deploy()", "area.spawn(1).get()")
    area = await function_id(ask, "area")

    async def first() -> Any:
        # JupyterLab adds the time to each request.
        _, page = await ask("GET", "logs", function=area, tail=10, **{"1796073064966": ""})
        return page if page["lines"] else None

    page = await until(first)
    waiting = asyncio.create_task(ask("GET", "logs", function=area, after=page["last"], wait=20))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await ask("POST", f"functions/{area}/call", {"arguments": {"radius": 7}})
    _, news = await waiting
    assert [line["message"] for line in news["lines"]] == ["radius 7.0\n"]
    status, _ = await ask("GET", "logs", function="fu-' OR 1=1")
    assert status == 404


# --- a hub that is started, killed, frozen ---------------------------------------------------------


class Page:
    """What a page of JupyterLab knows by events alone."""

    def __init__(self, app: Any) -> None:
        self.events: list[dict[str, Any]] = []
        app.event_logger.add_listener(schema_id=SCHEMA_ID, listener=self._listen)

    async def _listen(self, logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        self.events.append(data)

    def check_sequence(self) -> None:
        for before, after in zip(self.events, self.events[1:], strict=False):
            assert after["previous"] == before["revision"]

    async def heard(self, connection: str, within: float = 20.0) -> dict[str, Any]:
        async def is_so() -> Any:
            return self.events and self.events[-1]["connection"] == connection

        await until(is_so, within)
        return self.events[-1]


async def test_a_hub_that_is_started_killed_and_started_again_is_told_by_events(
    ask: Any, home: Path, tmp_path: Path, jp_serverapp: Any
) -> None:
    page = Page(jp_serverapp)
    assert (await rows_or_none(ask))["connection"] == "absent"
    await run_program(tmp_path, "app.deploy()", "slow.spawn(0.1).get()")
    await page.heard("running")
    before = await rows(ask)
    pid = before["hub"]["pid"]
    os.kill(pid, signal.SIGKILL)
    lost = await page.heard("absent")
    assert lost["hub"] is None
    reply = await rows_or_none(ask)
    assert reply["connection"] == "absent"
    assert {f["name"] for f in reply["overview"]["functions"]} >= {"area", "slow"}  # the last ones
    assert await ask("POST", "hub/start") == (200, {})
    again = await page.heard("running")
    assert again["hub"]["pid"] != pid
    page.check_sequence()
    assert {f["name"] for f in (await rows(ask))["functions"]} >= {"area", "slow"}


async def rows_or_none(ask: Any) -> dict[str, Any]:
    status, reply = await ask("GET", "overview")
    assert status == 200
    found: dict[str, Any] = reply
    return found


async def test_a_frozen_hub_is_unreachable_until_it_goes_on(
    ask: Any, home: Path, tmp_path: Path, jp_serverapp: Any
) -> None:
    page = Page(jp_serverapp)
    await run_program(tmp_path, "app.deploy()")
    await page.heard("running")
    area = await function_id(ask, "area")
    pid = discovery.read_connection_file(Places.of(home))["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGSTOP)
    try:
        frozen = await page.heard("unreachable")
        assert f"process {pid}" in frozen["message"]
        reply = await rows_or_none(ask)
        assert (reply["connection"], bool(reply["overview"])) == ("unreachable", True)
        status, problem = await ask("POST", f"functions/{area}/stop")
        assert (status, bool(problem["message"])) in ((504, True), (503, True))
    finally:
        os.kill(pid, signal.SIGCONT)
    await page.heard("running")
    page.check_sequence()


# --- hostile requests ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"functions/fu-{'0' * 22}/call", b'{"arguments": {"x": 1}'),
        ("POST", f"functions/fu-{'0' * 22}/call", b"[" * 100_000),
        ("POST", f"functions/fu-{'0' * 22}/call", b'{"arguments": [1]}'),
        ("POST", f"functions/fu-{'0' * 22}/call", b'{"argument": {}}'),
        ("POST", f"functions/fu-{'0' * 22}/call", b'"\xff\xfe"'),
        ("POST", f"functions/fu-{'0' * 22}/rollback", b'{"version": 1e400}'),
        ("POST", f"functions/fu-{'0' * 22}/rollback", b'{"version": %d}' % 10**30),
        ("POST", f"functions/fu-{'0' * 22}/rollback", b'{"version": -1}'),
        ("POST", f"functions/fu-{'0' * 22}/rollback", b""),
        ("PATCH", f"functions/fu-{'0' * 22}/autoscaler", b'{"min_containers": %d}' % 10**30),
        ("PATCH", f"functions/fu-{'0' * 22}/autoscaler", b'{"scaledown_window": NaN}'),
        ("POST", f"calls/fc-{'0' * 22}/cancel", b'{"end_session": "<b>"}'),
    ],
)
async def test_bodies_that_are_not_valid_are_refused(
    jp_fetch: Any, home: Path, method: str, path: str, body: bytes
) -> None:
    with pytest.raises(HTTPClientError) as refused:
        await jp_fetch("nbfn", "api", *path.split("/"), method=method, body=body)
    assert refused.value.response is not None
    assert refused.value.code == 400
    assert json.loads(refused.value.response.body)["message"]
    assert not discovery.is_running(Places.of(home))  # no hub was asked, or started


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("calls", {"limit": 10**30}),
        ("calls", {"limit": -1}),
        ("calls", {"limit": 0}),
        ("calls", {"since": "nan"}),
        ("calls", {"since": 1e300}),
        ("calls", {"state": HTML}),
        ("calls", {"search": "x" * 1000}),
        ("calls", {"other": "1"}),
        (f"calls/fc-{'0' * 22}/inputs", {"first": 2**64}),
        ("logs", {"wait": 1e9}),
        ("logs", {"tail": 2**63}),
        ("logs", {"after": "-1"}),
    ],
)
async def test_queries_that_are_not_valid_are_refused(
    ask: Any, home: Path, path: str, query: dict[str, Any]
) -> None:
    status, problem = await ask("GET", path, **query)
    assert (status, bool(problem["message"])) == (400, True)
    assert not discovery.is_running(Places.of(home))


async def test_big_numbers_and_html_in_arguments_come_back_as_they_are(
    ask: Any, tmp_path: Path
) -> None:
    await run_program(tmp_path, "@app.function()", "def same(value): return value", "app.deploy()")
    same = await function_id(ask, "same")
    value = [HTML, 2**70, -(2**63), {"</script>": None}]
    status, started = await ask("POST", f"functions/{same}/call", {"arguments": {"value": value}})
    assert status == 200, started
    assert (await ended(ask, started["call"]))["result"] == repr(value)


async def test_a_page_of_another_origin_is_refused(
    home: Path, jp_serverapp: Any, http_server_client: Any, jp_base_url: str
) -> None:
    """A browser sends the cookie of a user who is logged in with requests of any page, but not the XSRF token."""
    path = f"{jp_base_url}nbfn/api/hub/start?{urlencode({'x': 1})}"
    headers = {"Origin": "https://evil.example", "Cookie": "username-localhost=1"}
    with pytest.raises(HTTPClientError) as refused:
        await http_server_client.fetch(path, method="POST", body="{}", headers=headers)
    assert refused.value.code in (403, 404)  # by its Origin, or without a token
    assert not discovery.is_running(Places.of(home))
