"""A Jupyter console on a worker: ``nbfn container attach`` and ``%fn attach-console``, tested with `jupyter_client`."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

import nbfn
from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.exception import InvalidError, NotFoundError
from tests.conftest import a_home, wait_until

app = nbfn.App("attach")
answer = {"go": False}
level = 5


def sleeper(seconds: float) -> Any:
    secret = ["mine"]
    print("begun")
    end = time.monotonic() + seconds
    while not answer["go"] and time.monotonic() < end:
        time.sleep(0.01)
    return secret, level


@pytest.fixture(scope="module", autouse=True)
def home() -> Iterator[Path]:
    with a_home() as base:
        yield base


class Console:
    """A client of a console."""

    def __init__(self, file: str) -> None:
        self.client = BlockingKernelClient(connection_file=file)
        self.client.load_connection_file()
        self.client.start_channels()
        self.client.wait_for_ready(20)

    def run(self, code: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        heard: list[dict[str, Any]] = []
        reply = self.client.execute_interactive(
            code, timeout=20, allow_stdin=False, output_hook=heard.append
        )
        return reply["content"], heard

    def value(self, code: str) -> str:
        content, heard = self.run(code)
        assert content["status"] == "ok", content
        return "".join(m["content"]["data"]["text/plain"] for m in heard if "data" in m["content"])


@pytest.fixture(scope="module")
def function() -> Any:
    made = app.function(name="sleeper", serialized=True, max_containers=1)(_by_value(sleeper))
    made.keep_warm(1)
    wait_until(lambda: worker_of(made))
    return made


def _by_value(raw: Any) -> Any:
    """Return a function as a notebook defines it: its globals are pickled, and copied in the worker."""
    names = {"answer": answer, "level": level, "time": time, "__name__": "__main__"}
    return type(raw)(raw.__code__, names, raw.__name__, raw.__defaults__)


def worker_of(function: Any) -> str:
    rows = Client.attach().overview().workers
    mine = (r.id for r in rows if r.function == function.tag and r.state in ("idle", "busy"))
    return next(mine, "")


@pytest.fixture(scope="module")
def console(function: Any) -> Iterator[Console]:
    opened = Console(Client.attach().attach_console(worker_of(function)))
    yield opened
    opened.client.stop_channels()


def test_it_has_the_functions_own_names(console: Console) -> None:
    assert console.value("level + 1") == "6"
    assert console.value("import math\nmath.floor(2.5)") == "2"
    _, heard = console.run("print('typed')")
    assert [m["content"]["text"] for m in heard if m["msg_type"] == "stream"] == ["typed", "\n"]


def test_it_says_what_was_raised(console: Console) -> None:
    content, heard = console.run("def f():\n    1 / 0\nf()")
    assert content["ename"] == "ZeroDivisionError"
    assert any(m["msg_type"] == "error" for m in heard)
    assert "nbfn_kernel" not in "".join(content["traceback"])


def test_it_works_while_an_input_runs_and_reaches_its_frames(
    console: Console, function: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    console.run("answer['go'] = False")
    results: list[Any] = []
    caller = threading.Thread(target=lambda: results.append(function.remote(60)))
    caller.start()
    wait_until(lambda: function.get_current_stats().num_running_inputs)
    wait_until(lambda: console.value("[f.f_code.co_name for f in frames]") == "['sleeper']")
    assert console.value("frames[0].f_locals['secret']") == "['mine']"
    console.run("frames[0].f_locals['secret'].append('yours'); level = 7; print('to the console')")
    console.run("answer['go'] = True")
    caller.join(20)
    assert results == [(["mine", "yours"], 7)]
    assert "to the console" not in capsys.readouterr().out
    assert console.value("frames") == "[]"


def test_an_interrupt_stops_what_was_typed_and_not_the_input(
    console: Console, function: Any
) -> None:
    console.run("answer['go'] = False")
    results: list[Any] = []
    caller = threading.Thread(target=lambda: results.append(function.remote(60)))
    caller.start()
    wait_until(lambda: function.get_current_stats().num_running_inputs)
    request = console.client.execute("import time\nprint('on')\nwhile True: time.sleep(.01)")
    while console.client.get_iopub_msg(timeout=20)["msg_type"] != "stream":
        pass
    console.client.control_channel.send(console.client.session.msg("interrupt_request", {}))
    while (reply := console.client.get_shell_msg(timeout=20))["parent_header"]["msg_id"] != request:
        pass
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    console.run("answer['go'] = True")
    caller.join(20)
    assert len(results) == 1


def test_completion_knows_names_and_attributes(console: Console) -> None:
    console.client.complete("level.bit_le")
    reply = console.client.get_shell_msg(timeout=20)
    while reply["msg_type"] != "complete_reply":
        reply = console.client.get_shell_msg(timeout=20)
    assert reply["content"]["matches"] == ["level.bit_length"]


def test_its_end_ends_nothing_and_it_can_be_had_again(console: Console, function: Any) -> None:
    worker = worker_of(function)
    file = Client.attach().attach_console(worker)
    second = Console(file)
    second.client.shutdown()
    assert second.client.get_control_msg(timeout=20)["content"]["status"] == "ok"
    second.client.stop_channels()
    assert console.value("level") in ("5", "7")
    assert worker_of(function) == worker
    assert Client.attach().attach_console(f"{worker[:8]}…") == file


def test_its_files_are_nobody_elses(home: Path, function: Any) -> None:
    file = Path(Client.attach().attach_console(worker_of(function)))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.parent == Places.of(home).runtime
    assert stat.S_IMODE(file.parent.stat().st_mode) & 0o777 == 0o700
    assert json.loads(file.read_text())["transport"] == "ipc"


def test_the_command_prints_the_file_or_opens_it(function: Any) -> None:
    command = [sys.executable, "-m", "nbfn", "container", "attach", worker_of(function), "--file"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == Client.attach().attach_console(worker_of(function))


def test_workers_that_are_gone_are_refused(function: Any) -> None:
    with pytest.raises(NotFoundError, match="no worker 'wk-nowhere'"):
        Client.attach().attach_console("wk-nowhere")
    wait_until(lambda: len(Client.attach().overview().workers) > 1)  # blank ones stand by
    with pytest.raises(InvalidError, match="workers begin with 'wk-'"):
        Client.attach().attach_console("wk-")


def test_it_reaches_the_frames_of_inputs_at_once() -> None:
    """Also for coroutines, which have no separate threads."""

    @app.function(name="both", serialized=True, allow_concurrent_inputs=2)
    async def both(mine: str) -> str:
        import asyncio

        gate.append(event := asyncio.Event())
        while not event.is_set():
            await asyncio.sleep(0.01)
        return mine

    gate: list[Any] = []
    results: list[Any] = []
    caller = threading.Thread(target=lambda: results.extend(both.map(["a", "b"])))
    caller.start()
    wait_until(lambda: both.get_current_stats().num_running_inputs == 2)
    busy = next(r.id for r in Client.attach().overview().workers if r.state == "busy")
    opened = Console(Client.attach().attach_console(busy))
    mine = "sorted(f.f_locals['mine'] for f in frames if f.f_code.co_name == 'both')"
    wait_until(lambda: opened.value(mine) == "['a', 'b']")
    opened.run("for f in frames:\n    if 'event' in f.f_locals: f.f_locals['event'].set()")
    caller.join(20)
    opened.client.stop_channels()
    assert results == ["a", "b"]


def test_a_worker_that_dies_takes_its_console_along(function: Any) -> None:
    worker = worker_of(function)
    file = Path(Client.attach().attach_console(worker))
    pid = next(r.pid for r in Client.attach().overview().workers if r.id == worker)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: worker_of(function) not in ("", worker))
    with pytest.raises(NotFoundError):
        Client.attach().attach_console(worker)
    other = Path(Client.attach().attach_console(worker_of(function)))
    assert other != file
    assert not file.exists()  # swept when the next one was opened
