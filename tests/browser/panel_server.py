"""Answers the panel's requests in place of the server extension, with rows in every state."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from playwright.sync_api import Route

from nbfn.jupyter.server import schema as s

NOTEBOOK = "/home/ada/work/churn.ipynb"
TRACEBACK = """\
Traceback (most recent call last):
  Cell In[12], line 4, in embed(text)
    raise ValueError(f"bad shape {text.shape}: <b>not</b> what the model was trained with")
ValueError: bad shape (3, 4): <b>not</b> what the model was trained with
embed ran on wk-3Qz7b, attempt 2 of 3 (fc-7f3k)"""


def now() -> float:
    return time.time()


def function(name: str, **columns: Any) -> s.FunctionRow:
    plain: dict[str, Any] = {
        "id": f"fu-{name[:22]:0<22}",
        "app": "churn",
        "app_id": "ap-1",
        "name": name,
        "version": 4,
        "kind": "function",
        "purpose": "function",
        "deployed": True,
        "owner": NOTEBOOK,
        "state": "idle",
        "backlog": 0,
        "running": 0,
        "workers": 1,
        "starting": 0,
        "min_containers": 1,
        "max_containers": 8,
        "buffer_containers": 0,
        "scaledown_window": 60.0,
        "p50": 0.52,
        "p95": 1.9,
        "waiting_for": None,
        "web_url": None,
        "failed": 0,
        "cold_starts": 0,
        "called": now() - 12,
        "schedule": "",
        "has_workers": True,
        "threads": 1,
        "threads_why": "",
    }
    return s.FunctionRow(**plain | columns)


def call(name: str, **columns: Any) -> s.CallRow:
    plain: dict[str, Any] = {
        "id": f"fc-{name[:22]:0<22}",
        "function": name,
        "function_id": f"fu-{name[:22]:0<22}",
        "app": "churn",
        "version": 4,
        "kind": "map",
        "purpose": "function",
        "state": "running",
        "total": 1000,
        "succeeded": 605,
        "failed": 7,
        "cancelled": 0,
        "running": 8,
        "waiting": 380,
        "not_run": 0,
        "more": False,
        "origin": NOTEBOOK,
        "started": now() - 43,
        "ended": None,
        "durable": True,
        "notify": False,
    }
    return s.CallRow(**plain | columns)


def ended(name: str, **columns: Any) -> s.CallRow:
    plain: dict[str, Any] = {
        "state": "succeeded",
        "kind": "remote",
        "total": 1,
        "succeeded": 1,
        "failed": 0,
        "running": 0,
        "waiting": 0,
        "started": now() - 800,
        "ended": now() - 600,
    }
    return call(name, **plain | columns)


def worker(number: int, **columns: Any) -> s.WorkerRow:
    plain: dict[str, Any] = {
        "id": f"wk-{number}Qz7b00000000000000000",
        "function": "embed",
        "function_id": f"fu-{'embed':0<22}",
        "app": "churn",
        "app_id": "ap-1",
        "state": "busy",
        "host": "ada-laptop",
        "pid": 4300 + number,
        "joined": now() - 192,
        "memory": 851_000_000,
        "gpus": (),
        "session": "",
    }
    return s.WorkerRow(**plain | columns)


FUNCTIONS = (
    function(
        "embed", state="busy", backlog=331, running=8, workers=8, starting=2, kind="generator"
    ),
    function(
        "train_the_whole_model_again",
        state="failing",
        backlog=12_000,
        workers=0,
        waiting_for="ModuleNotFoundError: No module named 'torch' (start 3 of 3)",
    ),
    function("square", app="notebook", p50=0.004, schedule="every Monday at 09:30 (Europe/Berlin)"),
    function("hello", app="notebook", state="starting", web_url="http://127.0.0.1:40001/x/hello"),
    function("Greeter", app="notebook", kind="cls", has_workers=False),
    function("resting", app="notebook", state="stopped", workers=0, min_containers=0),
    function("cell", app="notebook", purpose="script"),
    function("session", app="notebook", purpose="session"),
)
CALLS = (
    call("embed"),
    call("train_the_whole_model_again", more=True, started=now() - 4000, origin="train.py"),
    call(
        "hello", kind="remote", total=1, succeeded=0, failed=0, running=0, waiting=1, state="queued"
    ),
    call(
        "square",
        kind="spawn",
        total=1,
        succeeded=0,
        failed=0,
        running=1,
        waiting=0,
        state="detached",
    ),
    call("session", kind="generator", purpose="session", total=1, running=1, waiting=0),
    ended("resting"),
    ended("failing", state="failed", kind="map", total=300, succeeded=8, failed=1, not_run=291),
    ended("stopped", state="cancelled", kind="map", total=9, succeeded=3, cancelled=6),
    ended("partly", kind="map", total=8, succeeded=7, failed=1),
)
WORKERS = (
    worker(1),
    worker(2, state="idle", memory=23_068_672),
    worker(3, state="starting", memory=None, function=None, function_id=None),
    worker(4, state="draining", host="gpu-box", gpus=("0", "1")),
)
FIELDS = (
    s.Field(name="text", kind="str", role="keyword", default=None, choices=(), about="str"),
    s.Field(name="size", kind="int", role="keyword", default=None, choices=(), about="int"),
    s.Field(
        name="how",
        kind="choice",
        role="keyword",
        default="'fast'",
        choices=("'fast'", "'slow'"),
        about="Literal['fast', 'slow']",
    ),
    s.Field(name="shout", kind="bool", role="keyword", default="False", choices=(), about="bool"),
    s.Field(name="more", kind="expression", role="keyword", default="[]", choices=(), about="list"),
)
ERRORS = (
    s.ErrorGroup(
        count=5,
        type="ValueError",
        message="bad shape (3, 4): <b>not</b> what the model was trained with",
        where="Cell In[12] line 4",
        indexes=(3, 17, 40, 41, 99),
        traceback=TRACEBACK,
    ),
    s.ErrorGroup(count=2, type="WorkerCrashed", message="", where="", indexes=(7, 8), traceback=""),
)


class PanelServer:
    """The state that the fake server has; tests change it and let the page fetch it."""

    def __init__(self) -> None:
        self.is_down = False
        self.refusal: s.Problem | None = None
        self.connection: s.Connection = "running"
        self.message = ""
        self.has_overview = True
        self.functions: tuple[s.FunctionRow, ...] = FUNCTIONS
        self.calls: tuple[s.CallRow, ...] = CALLS
        self.workers: tuple[s.WorkerRow, ...] = WORKERS
        self.history: tuple[s.CallRow, ...] = ()
        self.result: str | None = None
        self.traceback: str | None = None
        self.requests: list[tuple[str, str, Any]] = []
        self.on_change: Callable[[], None] = lambda: None

    def answer(self, route: Route) -> None:
        """Answer one request."""
        request = route.request
        path = urlsplit(request.url).path.partition("/nbfn/api/")[2]
        if self.is_down:
            route.abort()
        elif request.method == "GET":
            self._answer(route, self._get(path, parse_qs(urlsplit(request.url).query)))
        elif self.refusal is not None:
            route.fulfill(status=400, json=msgspec.to_builtins(self.refusal))
        else:
            self.requests.append((request.method, path, json.loads(request.post_data or "null")))
            self.on_change()
            self._answer(route, self._changed(path))

    def _answer(self, route: Route, answer: Any) -> None:
        route.fulfill(json=msgspec.to_builtins(answer))

    def _get(self, path: str, query: dict[str, list[str]]) -> Any:
        if path == "overview":
            overview = self.overview() if self.has_overview else None
            return s.OverviewReply(
                connection=self.connection, message=self.message, overview=overview
            )
        if path == "calls":
            return s.CallsPage(now=now(), calls=self.history, next=None)
        if path == "hub/health":
            return self.health()
        if path == "logs":
            return s.LogsPage(lines=self.log(), last=2, more=False, ended=True)
        if path.endswith("/versions"):
            return self.versions()
        if path.startswith("calls/"):
            return self.details(path.removeprefix("calls/"))
        return self.function_details(path.removeprefix("functions/"))

    def _changed(self, path: str) -> Any:
        if path.endswith("/autoscaler"):
            return self._set_autoscaler(path.split("/")[1], self.requests[-1][2])
        if path.endswith("/call"):
            return s.CallStarted(call=f"fc-{'new':0<22}")
        return {}

    def _set_autoscaler(self, function_id: str, sent: dict[str, Any]) -> s.Autoscaler:
        self.functions = tuple(
            msgspec.structs.replace(row, **sent) if row.id == function_id else row
            for row in self.functions
        )
        row = next(row for row in self.functions if row.id == function_id)
        return msgspec.convert(row, s.Autoscaler, from_attributes=True)

    def overview(self) -> s.Overview:
        return s.Overview(
            stream="fake",
            revision=0,
            now=now(),
            hub=s.HubRow(
                pid=4242,
                version="0.1.0",
                epoch=3,
                started=now() - 3725,
                home="/home/ada/.local/share/nbfn",
                host="ada-laptop",
                cpus=8.0,
                cpus_used=3.0,
                memory=16_000_000_000,
                memory_used=4_000_000_000,
                gpus=2,
                gpus_used=2,
            ),
            unfinished=len(self.calls),
            functions=self.functions,
            calls=self.calls,
            workers=self.workers,
        )

    def details(self, call_id: str) -> s.CallDetails:
        rows = [row for row in (*self.calls, *self.history) if row.id == call_id]
        is_map = rows[0].kind == "map"
        return s.CallDetails(
            now=now(),
            call=rows[0],
            result=self.result,
            traceback=self.traceback,
            errors=ERRORS if is_map and rows[0].failed else (),
            retriable=0,
            waiting_for="max 8 reached" if rows[0].waiting else "",
            kept_until=now() + 86_400,
            is_expired=False,
        )

    def function_details(self, function_id: str) -> s.FunctionDetails:
        row = next(row for row in self.functions if row.id == function_id)
        return s.FunctionDetails(
            id=row.id,
            app=row.app,
            name=row.name,
            version=row.version,
            environment_name="main",
            deployed=True,
            kind=row.kind,
            is_generator=False,
            is_async=False,
            signature="(text: str, size: int, how: Literal['fast', 'slow'] = 'fast', shout: bool = False)",
            doc="Return one vector for a text.\n\nNot shown.",
            source="",
            filename="",
            owner=row.owner,
            made=now() - 90,
            digest="",
            python="3.11",
            executable="",
            timeout=300.0,
            max_retries=0,
            cpu=None,
            memory=None,
            gpu=None,
            fields=FIELDS,
            methods=(),
            import_line="",
            call_line="",
        )

    def versions(self) -> s.Versions:
        plain = {"deployed": now() - 9e5, "by": "ada", "nbfn": "0.1.0", "deployment": 1}
        return s.Versions(
            versions=(
                s.VersionRow(version=4, is_current=True, commit="", tag="", **plain),
                s.VersionRow(version=3, is_current=False, commit="0a1b2c3d4e5f", tag="", **plain),
                s.VersionRow(version=1, is_current=False, commit="", tag="release-2", **plain),
            )
        )

    def health(self) -> s.Health:
        return s.Health(
            version="0.1.0",
            server_version="0.1.0",
            pid=4242,
            python="3.11.7",
            host="ada-laptop",
            home="/home/ada/.local/share/nbfn",
            now=now(),
            started=now() - 3725,
            database_bytes=1_234_567,
            logs_bytes=34_567,
            free_bytes=52_000_000_000,
            lost_workers=(
                s.LostWorker(
                    id="wk-9Zz7b00000000000000000",
                    function="embed",
                    app="churn",
                    at=now() - 60,
                    reason="killed by signal 9, peak 7.9 GB",
                ),
            ),
            warnings=(
                s.HealthWarning(
                    subject="hub",
                    message="Workers of train_the_whole_model_again do not start.",
                    remedy="Install torch in its Python, then call it again.",
                ),
            ),
        )

    def log(self) -> tuple[s.LogRow, ...]:
        plain = {"app": "", "function": "", "call": "", "worker": "wk-1", "at": now()}
        return (
            s.LogRow(id=1, source="stdout", index=16, message="epoch 7/20 loss 0.31\n", **plain),
            s.LogRow(
                id=2, source="stderr", index=17, message="warning: <i>deprecated</i>\n", **plain
            ),
        )


def as_html(server: PanelServer) -> None:
    """Make every text of the rows HTML, which must not be interpreted."""
    text = "<img src=x onerror=window.hacked=1>"
    names = {"name", "app", "owner", "function", "origin", "schedule", "waiting_for", "host"}

    def of(row: Any) -> Any:
        found = names & set(row.__struct_fields__)
        return msgspec.structs.replace(row, **dict.fromkeys(found, text))

    server.functions = tuple(map(of, server.functions))
    server.calls = tuple(map(of, server.calls))
    server.workers = tuple(map(of, server.workers))


def id_of(name: str, kind: str = "fu") -> str:
    """Return the id of a row that this module makes."""
    identifier = f"{kind}-{name[:22]:0<22}"
    assert re.fullmatch(r"[a-z]{2}-[0-9A-Za-z_]{22}", identifier)
    return identifier
