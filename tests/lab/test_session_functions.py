"""Functions in the remote kernel: `%%remote` and the calls of the next cells, as in any notebook."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbfn.client.client import Client
from tests.conftest import a_home, wait_until

from .kernels import Cell, Kernel, kernel

NAME = "nbfn-remote"

FUNCTIONS = """%%remote --max 2
import math, os, time

_SCALE = 10

def area(radius: float) -> float:
    "The area of a circle."
    print("radius", radius)
    return _SCALE * math.floor(math.pi * radius**2)

async def later(x):
    return x + 1

def each(n):
    yield from range(n)

def nap(seconds):
    time.sleep(seconds)
    return os.getpid()

def wait_for(path):
    print("waiting", flush=True)
    while not os.path.exists(path): time.sleep(0.01)
    return "ready"
"""

CLASS = """%%remote
import nbfn

class Counter:
    start: int = nbfn.parameter(default=1)

    @nbfn.enter()
    def load(self):
        self.count = self.start

    @nbfn.method()
    def add(self, n):
        self.count += n
        return self.count
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Kernel]:
    """A kernel of a front end with widgets, whose notebook has defined Functions."""
    with (
        a_home() as home,
        kernel(
            NAME, home, JPY_SESSION_NAME="/work/churn model.ipynb", NBFN_SAVES_STATIC="1"
        ) as running,
    ):
        assert "✓ area v1 · app churn-model" in running.run(FUNCTIONS).notes
        yield running


@pytest.fixture
def plain(home: Path) -> Iterator[Kernel]:
    """A kernel without a front end, as of nbconvert."""
    with kernel(NAME, home) as running:
        running.run(FUNCTIONS)
        yield running


def test_the_next_cell_calls_what_a_cell_defined(shared: Kernel) -> None:
    called = shared.run("area.remote(2)")
    assert (called.result, called.out) == ("120", "radius 2\n")
    assert shared.value("list(area.map(range(4)))") == [0, 30, 120, 280]
    assert shared.value("list(each.remote_gen(3))") == [0, 1, 2]
    assert shared.value("await later.remote.aio(1)") == 2
    assert shared.value("sorted([x async for x in later.map.aio([1, 2])])") == [2, 3]
    spawned = shared.run("call = area.spawn(1)\ncall.get()")
    assert (spawned.result, spawned.out) == ("30", "radius 1\n")
    assert shared.value("area.local(1)") == 30


def test_calls_of_the_session_are_those_of_the_notebook(shared: Kernel) -> None:
    """Also where the notebook itself has started the hub, which then has its environment variables."""
    shared.run("import nbfn\narea.remote(1)")
    assert shared.value("nbfn.calls()[0].origin") == "/work/churn model.ipynb"


def test_functions_are_defined_in_the_session_only(shared: Kernel) -> None:
    assert "%push" not in shared.run("area").err
    assert "NameError" in shared.run("%%local\narea").error


def test_an_unchanged_cell_registers_nothing_and_a_changed_one_a_version(shared: Kernel) -> None:
    cell = "%%remote --max {}\ndef tune(x):\n    return {} * x"
    assert "tune v1" in shared.run(cell.format(1, 2)).notes
    assert "unchanged" in shared.run(cell.format(1, 2)).notes
    assert "tune v2" in shared.run(cell.format(1, 3)).notes
    assert shared.value("tune.remote(2)") == 6
    assert "has no option --warn" in shared.run("%%remote --warn 1\ndef tune(x): ...").err


def test_classes(shared: Kernel) -> None:
    assert shared.run(CLASS).status == "ok"
    assert shared.value("Counter(start=5).add.remote(2)") == 7


def test_script_cells_exchange_values_with_the_session(shared: Kernel) -> None:
    shared.run("base = 20")
    ran = shared.run(
        "%%remote -i base -o total -o pid\nimport os\ntotal, pid = base + 1, os.getpid()"
    )
    assert "ran on wk-" in ran.out
    assert shared.value("total") == 21
    assert shared.value("pid != os.getpid()")
    shared.run("%%remote double -i base -o total --no-run\ntotal = 2 * base")
    assert shared.value("double.remote(4)") == 8


def test_code_below_local_runs_in_the_session(shared: Kernel) -> None:
    ran = shared.run(
        "%%remote\ndef half(x):\n    return x / 2\n%local\nquarter = half.remote(half.remote(8))"
    )
    assert ran.status == "ok"
    assert shared.value("quarter") == 2


def test_an_error_has_the_lines_of_the_cell(shared: Kernel) -> None:
    number = shared.run("%%remote\ndef fail(x):\n    return 1 / x").reply["execution_count"]
    failed = shared.run("fail.remote(0)")
    assert "ZeroDivisionError" in failed.error
    assert f"Cell In[{number}], line 3" in failed.error
    assert re.search(r"fail ran on wk-", failed.error)


def test_line_magics_act_on_the_session(shared: Kernel) -> None:
    assert "area" in shared.run("%fn list").result
    assert "app churn-model" in shared.run("%remote").out
    assert "Loaded 'ring'" in shared.run("%nbfn from churn-model import area as ring").out
    assert shared.value("ring.remote(1)") == 30
    call = shared.value("area.spawn(1).object_id")
    assert shared.run(f"again = %fn attach {call}").status == "ok"
    assert shared.value("again.get()") == 30
    assert call in shared.run("%fn calls area").result
    shared.run("%remote defaults --max 3")
    assert "--max 3" in shared.run("%remote").out
    shared.run("%remote defaults")


def test_options_and_functions_complete(shared: Kernel) -> None:
    def matches(code: str) -> list[str]:
        content = {"code": code, "cursor_pos": len(code)}
        found: list[str] = shared.reply(shared.send("complete_request", content))["content"][
            "matches"
        ]
        return found

    assert "--warm" in matches("%%remote --wa")
    assert "%%remote" in matches("%%remo")
    assert "%push" in matches("%pus")


def test_cards_and_handles_are_those_of_a_notebook(shared: Kernel) -> None:
    card = shared.run("area").of("display_data")[-1]["data"]
    assert "area" in card["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in card
    handle = shared.run("nap.spawn(1)")
    assert "application/vnd.jupyter.widget-view+json" in handle.of("display_data")[0]["data"]


def state_of(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the last state of the first widget that has a view of a call or map."""
    state: dict[str, Any] = {}
    for message in messages:
        data = message["content"].get("data", {})
        if message["msg_type"] in ("comm_open", "comm_msg") and "view" in data.get("state", {}):
            state.update(data["state"]["view"], comm=message["content"]["comm_id"])
    return state


def press(running: Kernel, comm: str, button: str, subshell: str) -> None:
    """Press a button of a widget, as JupyterLab does: in a message to a subshell."""
    data = {"method": "custom", "content": {"type": button}}
    message = running.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
    message["header"]["subshell_id"] = subshell
    running.client.shell_channel.send(message)


def test_a_map_shows_its_progress_and_cancel_works_while_the_cell_blocks(shared: Kernel) -> None:
    subshell = shared.control("create_subshell_request", {})["subshell_id"]
    request = shared.begin("list(nap.map([0.3] * 200))")
    begun = shared.end(request, lambda m: state_of([m]).get("done", 0) > 0)
    press(shared, state_of(begun.messages)["comm"], "cancel", subshell)
    ended = shared.end(request)
    assert ended.status == "error"
    assert "cancelled" in ended.notes
    assert shared.control("delete_subshell_request", {"subshell_id": subshell})["status"] == "ok"


def test_without_a_front_end_progress_is_text(plain: Kernel) -> None:
    ran = plain.run("results = list(nap.map([0.3] * 10))")
    assert not ran.of("comm_open")
    assert "nap.map" in ran.out
    assert "10 / 10" in ran.out or "10 ok" in ran.out or "10 succeeded" in ran.out


@pytest.mark.parametrize("times", [1, 2])
def test_interrupts_reach_what_the_session_waits_for(
    shared: Kernel, tmp_path: Path, times: int
) -> None:
    """One cancels the call, two leave it running."""
    path = str(tmp_path / "go")
    request = shared.begin(f"wait_for.remote({path!r})")
    shared.end(request, lambda m: "waiting" in str(m["content"].get("text")))
    shared.manager.interrupt_kernel()
    said = shared.end(request, lambda m: "cancelling wait_for" in str(m["content"].get("text")))
    (call,) = re.findall(r"cancelling \w+ \((fc-\w{6})", said.err)
    if times == 2:
        shared.manager.interrupt_kernel()
    ended = shared.end(request)
    assert ended.status == "error"
    running = {row.id[:9]: row.state for row in Client.attach(start=False).overview().calls}
    assert running[call] == ("running" if times == 2 else "cancelled")
    Path(path).touch()
    if times == 2:
        shared.run(f"kept = %fn attach {call}")
        assert shared.value("kept.get()") == "ready"


# --- capacity -----------------------------------------------------------------------------------------


@pytest.fixture
def one_worker(home: Path) -> Iterator[Kernel]:
    """A kernel whose hub may have one worker."""
    with kernel(NAME, home, NBFN_MAX_WORKERS="1", NBFN_BLANK_WORKERS="0") as running:
        yield running


def test_a_session_that_waits_for_its_calls_gets_the_only_worker(one_worker: Kernel) -> None:
    one_worker.run("%session --cpu 1")
    one_worker.run(
        "%%remote --cpu 1\ndef inner(x):\n    return x + 1\n\ndef outer(x):\n    return inner.remote(x) + 1"
    )
    assert one_worker.value("inner.remote(1)") == 2
    assert one_worker.value("outer.remote(1)") == 3
    assert one_worker.value("list(inner.map(range(5)))") == [1, 2, 3, 4, 5]
    assert one_worker.value("inner.spawn(1).get()") == 2


# --- when something ends --------------------------------------------------------------------------------


def kill_session(running: Kernel) -> None:
    pid = int(running.run("import os; print(os.getpid())").out)
    os.kill(pid, signal.SIGKILL)


def test_a_session_that_is_killed_leaves_spawned_calls(plain: Kernel, tmp_path: Path) -> None:
    path = str(tmp_path / "go")
    call = plain.value(f"wait_for.spawn({path!r}).object_id")
    kill_session(plain)
    assert "its variables are lost" in until_started(plain).notes
    Path(path).touch()
    plain.run(f"found = %fn attach {call}")
    assert plain.value("found.get()") == "ready"


def until_started(running: Kernel) -> Cell:
    """Run cells until one has started a session."""
    deadline = time.monotonic() + 30
    while "started in" not in (cell := running.run("1")).notes:
        assert time.monotonic() < deadline
    return cell


def test_a_session_that_ends_cancels_what_it_waits_for(plain: Kernel, tmp_path: Path) -> None:
    request = plain.begin(f"wait_for.remote({str(tmp_path / 'go')!r})")
    plain.end(request, lambda m: "waiting" in str(m["content"].get("text")))
    client = Client.attach(start=False)
    [session] = [row for row in client.overview().calls if row.kind == "session"]
    client.cancel_call(session.id, end_session=True)
    assert "SessionEnded" in plain.end(request).error
    ended = calls_named("wait_for")
    wait_until(lambda: ended() == ["cancelled"])


def calls_named(name: str) -> Callable[[], list[str]]:
    """Return a function that returns the states of the calls of a Function."""

    def states() -> list[str]:
        rows = Client.attach(start=False).overview().calls
        return [row.state for row in rows if row.function == name]

    return states


def test_a_hub_that_is_killed_during_a_map_of_the_session_loses_nothing(plain: Kernel) -> None:
    request = plain.begin("results = list(nap.map([0.2] * 20))\nprint('all', len(results))")
    plain.end(request, lambda m: "nap" in str(m["content"].get("text")))
    os.kill(Client.attach(start=False).overview().hub.pid, signal.SIGKILL)
    ended = plain.end(request)
    assert ended.status == "ok", ended.error
    assert "all 20" in ended.out
