"""Which cells of the remote kernel run where, and the lifetime of its session (docs/notebook.md#the-remote-kernel)."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn import cli
from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.exception import ConflictError
from nbfn.protocol import messages
from nbfn.protocol.messages import CallRow
from nbfn.runtime import sync
from tests.conftest import a_home, wait_until

from .kernels import Kernel, kernel

NAME = "nbfn-remote"


@pytest.fixture(scope="module")
def shared() -> Iterator[Kernel]:
    """One kernel with a session, for tests that do not change its state."""
    with (
        a_home() as home,
        kernel(NAME, home, JPY_SESSION_NAME="/work/churn model.ipynb") as running,
    ):
        assert "started in" in running.run("import os, sys, time").notes
        yield running


@pytest.fixture
def fresh(home: Path) -> Iterator[Kernel]:
    """A new kernel without a session."""
    with kernel(NAME, home) as running:
        yield running


def session_pid(running: Kernel) -> int:
    return int(running.run("import os; print(os.getpid())").out)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def here_pid(running: Kernel) -> int:
    return int(running.run("%%local\nimport os; print(os.getpid())").out)


# --- what runs where --------------------------------------------------------------------------------


def test_a_session_uses_all_processors_as_other_kernels_do(shared: Kernel) -> None:
    shown = (
        "print([name for name in os.environ if 'THREAD' in name or name == 'LOKY_MAX_CPU_COUNT'])"
    )
    assert shared.run(shown).out == shared.run("%%local\nimport os\n" + shown).out


def test_plain_code_runs_in_the_session_and_local_cells_here(shared: Kernel) -> None:
    assert session_pid(shared) != here_pid(shared)
    assert here_pid(shared) == shared.manager.provisioner.pid  # type: ignore[attr-defined]
    shared.run("where = 'there'")
    shared.run("%%local\nwhere = 'here'")
    assert shared.value("where") == "there"
    assert shared.run("%local where").result == "'here'"
    assert "0/" not in shared.run("%timeit -n1 -r1 pass").err
    assert shared.run("!echo $NBFN_SESSION_OF").out.startswith("wk-")


def test_cells_of_both_sides_are_counted_together(shared: Kernel) -> None:
    first = shared.run("1").reply["execution_count"]
    assert shared.run("%%local\n2").reply["execution_count"] == first + 1
    third = shared.run("raise ValueError")
    assert third.reply["execution_count"] == first + 2
    assert f"Cell In[{first + 2}], line 1" in third.error
    assert shared.run("%local 3").of("execute_result")[0]["execution_count"] == first + 3
    assert shared.value(f"In[{first + 2}]") == "raise ValueError"


def test_tracebacks_have_the_cells_own_lines_on_both_sides(shared: Kernel) -> None:
    assert "line 3" in shared.run("%%local\nx = 1\n1 / 0").error
    shared.run("%%local\npushed = 1")
    assert "line 2" in shared.run("%push pushed\n1 / 0").error


def test_values_are_moved_with_their_sizes_shown(shared: Kernel) -> None:
    shared.run("%%local\nimport numpy\na = numpy.arange(200_000)\nb = lambda x: x + len(a)")
    moved = shared.run("%push a b\nprint(int(a.sum()), b(1))")
    assert moved.out.splitlines()[0] == "a → session · 1.5 MB"
    assert moved.out.splitlines()[-1] == "19999900000 200001"
    pulled = shared.run("c = {'k': a * 2}\n%pull c")
    assert "c ← session · 1.5 MB" in pulled.out
    assert shared.run("%local int(c['k'][-1])").result == "399998"
    home = Path(shared.run("%local __import__('os').environ['NBFN_HOME']").result.strip("'"))
    assert not [p for p in Places.of(home).shm.iterdir() if not p.name.startswith("cl-")]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%push nowhere", "'nowhere' is not defined in the notebook's kernel"),
        ("%pull nowhere", "'nowhere' is not defined in the session"),
        ("%push", "%push needs the names"),
        ("%push 1+1", "%push copies variables"),
        (
            "lock = __import__('threading').Lock()\n%pull lock",
            "Cannot pickle an object of type _thread.lock",
        ),
        ("%session --memory much", "Pass an amount like 8G"),
    ],
)
def test_what_cannot_be_moved_is_said_in_one_line(shared: Kernel, cell: str, said: str) -> None:
    failed = shared.run(cell)
    assert failed.status == "error"
    assert said in failed.err
    assert "Traceback" not in failed.error


def test_a_magic_that_neither_side_knows_names_both(shared: Kernel) -> None:
    for magic in ("%nowhere_known", "%%nowhere_known\n1"):
        failed = shared.run(magic)
        assert failed.status == "error"
        assert "defined neither in the session nor in the notebook's kernel" in failed.err


def test_a_magic_that_only_this_side_knows_is_not_run_here(shared: Kernel) -> None:
    shared.run(
        "%%local\nfrom IPython.core.magic import register_line_magic\n"
        "ran = []\n@register_line_magic\ndef only_here(line): ran.append(line)"
    )
    failed = shared.run("%only_here now")
    assert failed.status == "error"
    assert "is defined in the notebook's kernel, but not in the session" in failed.err
    assert shared.run("%local ran").result == "[]"


def test_a_name_that_is_only_here_is_found_with_a_hint(shared: Kernel) -> None:
    shared.run("%%local\nmine = 3")
    assert "%push mine" in shared.run("mine + 1").err


def test_lines_that_run_here_cannot_stand_between_others(shared: Kernel) -> None:
    shared.run("%%local\nv = 1")
    failed = shared.run("x = 0\n%push v\nx = 1")
    assert failed.status == "error"
    assert "Move it to the beginning or the end" in failed.error
    assert shared.value("'x' in globals()") is False
    failed = shared.run("if True:\n    %push v")
    assert "Move it to the beginning or the end" in failed.err


def test_functions_of_either_side_are_called_from_both(shared: Kernel) -> None:
    made = shared.run("%%local\n%%remote\ndef double(x):\n    print('at', x)\n    return 2 * x")
    assert "double" in made.notes
    called = shared.run("%local double.remote(4)")
    assert called.result == "8"
    assert "at 4" in called.out
    assert shared.run("%push double\ndouble.remote(21)").result == "42"
    assert "double" in shared.run("%local %fn list").result
    shared.run("%%remote\ndef triple(x):\n    return 3 * x")
    assert shared.run("%pull triple\n%local triple.remote(5)").result == "15"


def test_completion_inspection_and_history_are_the_sessions(shared: Kernel) -> None:
    shared.run("only_there = [1]")
    shared.run("%%local\nonly_here_too = {}")
    asked = shared.reply(shared.send("complete_request", {"code": "only_t", "cursor_pos": 6}))
    assert asked["content"]["matches"] == ["only_there"]
    asked = shared.reply(shared.send("complete_request", {"code": "%push only_", "cursor_pos": 11}))
    assert "only_here_too" in asked["content"]["matches"]
    asked = shared.reply(
        shared.send("complete_request", {"code": "%%local\nonly_", "cursor_pos": 13})
    )
    assert "only_here_too" in asked["content"]["matches"]
    asked = shared.reply(shared.send("complete_request", {"code": "%pu", "cursor_pos": 3}))
    assert {"%push", "%pull"} <= set(asked["content"]["matches"]) | {"%push"}
    content = {"code": "only_there", "cursor_pos": 3, "detail_level": 0}
    asked = shared.reply(shared.send("inspect_request", content))
    assert "list" in asked["content"]["data"]["text/plain"]
    asked = shared.reply(
        shared.send(
            "history_request", {"output": False, "raw": True, "hist_access_type": "tail", "n": 3}
        )
    )
    assert "only_there = [1]" in [entry[2] for entry in asked["content"]["history"]]


def test_input_is_asked_of_the_notebook(shared: Kernel) -> None:
    request = shared.begin("name = input('who? ')\nprint('hello', name)", allow_stdin=True)
    asked = shared.client.get_stdin_msg(timeout=30)
    assert asked["content"] == {"prompt": "who? ", "password": False}
    assert asked["parent_header"]["msg_id"] == request
    shared.client.input("you")
    assert shared.end(request).out == "hello you\n"


def test_input_can_be_interrupted(shared: Kernel) -> None:
    request = shared.begin("input('never ')", allow_stdin=True)
    shared.client.get_stdin_msg(timeout=30)
    shared.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in shared.end(request).error
    assert shared.value("1 + 1") == 2


@pytest.mark.parametrize(
    "cell", ["while True: time.sleep(.01)", "import asyncio; await asyncio.sleep(99)"]
)
def test_an_interrupt_goes_to_the_session(shared: Kernel, cell: str) -> None:
    request = shared.begin(f"print('begun', flush=True)\n{cell}")
    shared.end(request, lambda m: m["msg_type"] == "stream")
    shared.manager.interrupt_kernel()
    stopped = shared.end(request)
    assert stopped.status == "error"
    assert "KeyboardInterrupt" in stopped.error or "CancelledError" in stopped.error
    assert shared.value("1 + 1") == 2


def test_an_interrupt_stops_a_local_cell(shared: Kernel) -> None:
    shared.run("kept = 1")
    request = shared.begin("%%local\nimport time\nprint('begun', flush=True)\ntime.sleep(99)")
    shared.end(request, lambda m: m["msg_type"] == "stream")
    shared.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in shared.end(request).error
    assert shared.value("kept") == 1


def test_cells_after_a_failed_one_are_not_run(shared: Kernel) -> None:
    requests = [shared.begin(code) for code in ("ran = 0", "time.sleep(.3); 1 / 0", "ran = 1")]
    assert [shared.end(request).status for request in requests] == ["ok", "error", "aborted"]
    assert shared.value("ran") == 0


def test_output_stays_under_its_cell_however_late(shared: Kernel) -> None:
    request = shared.begin(
        "import asyncio\ngo = asyncio.Event()\n"
        "async def later():\n    await go.wait()\n    print('late')\n"
        "task = asyncio.create_task(later())"
    )
    shared.end(request)
    shared.run("%%local\n1")
    go = shared.begin("go.set()")
    late = shared.heard(lambda m: m["msg_type"] == "stream" and "late" in m["content"]["text"])
    assert late["parent_header"]["msg_id"] == request
    shared.reply(go)


def test_rich_output_comes_through(shared: Kernel) -> None:
    drawn = shared.run(
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    )
    assert "image/png" in drawn.of("display_data")[0]["data"]
    updated = shared.run("h = display('a', display_id='d1')\nh.update('b')")
    assert updated.of("display_data")[0]["transient"] == {"display_id": "d1"}
    assert updated.of("update_display_data")[0]["data"]["text/plain"] == "'b'"
    assert shared.run("from IPython.display import clear_output; clear_output()").of("clear_output")
    assert shared.run("zip?").reply["payload"][0]["source"] == "page"
    expressions = {"two": "1 + 1"}
    shared.client.execute("", silent=True, user_expressions=expressions)


WIDGET = """
import ipywidgets
slider = ipywidgets.IntSlider(value=3)
twice = ipywidgets.IntText()
slider.observe(lambda change: setattr(twice, 'value', 2 * change['new']), 'value')
display(slider)
print(slider.comm.comm_id)
"""


def test_widgets_live_in_the_session(shared: Kernel) -> None:
    shown = shared.run(WIDGET)
    opened = shown.of("comm_open")
    assert {c["target_name"] for c in opened} == {"jupyter.widget"}
    comm = shown.out.strip()
    asked = shared.reply(shared.send("comm_info_request", {"target_name": "jupyter.widget"}))
    assert comm in asked["content"]["comms"]
    data = {"method": "update", "state": {"value": 21}, "buffer_paths": []}
    request = shared.send("comm_msg", {"comm_id": comm, "data": data})
    moved = []

    def is_over(message: dict[str, object]) -> bool:
        if message["parent_header"].get("msg_id") != request:  # type: ignore[attr-defined]
            return False
        moved.append(message)
        return message["content"].get("execution_state") == "idle"  # type: ignore[attr-defined]

    shared.heard(is_over)
    assert any(
        m["msg_type"] == "comm_msg" and m["content"]["data"].get("state", {}).get("value") == 42
        for m in moved
    )
    assert shared.value("slider.value, twice.value") == (21, 42)
    closed = shared.run("slider.close()")
    assert closed.of("comm_close")[0]["comm_id"] == comm


def test_a_widget_is_heard_while_a_cell_blocks_the_session(shared: Kernel) -> None:
    """As JupyterLab does it: messages of widgets go to a subshell of the kernel."""
    subshell = shared.control("create_subshell_request", {})["subshell_id"]
    comm = shared.run(
        WIDGET + "slider.comm._reply_subshell_for = lambda data, default: default"
    ).out.strip()
    request = shared.begin("print('begun', flush=True)\nwhile slider.value != 9: time.sleep(.01)")
    shared.end(request, lambda m: m["msg_type"] == "stream")
    data = {"method": "update", "state": {"value": 9}, "buffer_paths": []}
    message = shared.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
    message["header"]["subshell_id"] = subshell
    shared.client.shell_channel.send(message)
    assert shared.end(request).status == "ok"
    assert shared.control("delete_subshell_request", {"subshell_id": subshell})["status"] == "ok"


def test_the_debugger_stops_in_the_session(shared: Kernel) -> None:
    def debug(command: str, **arguments: object) -> dict[str, object]:
        debug.seq += 1  # type: ignore[attr-defined]
        content = {"type": "request", "command": command, "seq": debug.seq, "arguments": arguments}  # type: ignore[attr-defined]
        return shared.control("debug_request", content)

    debug.seq = 0  # type: ignore[attr-defined]
    code = "def f(n):\n    m = n * 2\n    return m\nf(4)"
    assert debug("initialize", clientID="t", adapterID="", pathFormat="path")["success"]
    assert debug("attach")["success"]
    source = debug("dumpCell", code=code)["body"]["sourcePath"]  # type: ignore[index]
    points = {"breakpoints": [{"line": 3}], "source": {"path": source}, "sourceModified": False}
    assert debug("setBreakpoints", **points)["success"]
    debug("configurationDone")
    request = shared.begin(code)
    stopped = shared.heard(
        lambda m: m["msg_type"] == "debug_event" and m["content"]["event"] == "stopped"
    )
    frames = debug("stackTrace", threadId=stopped["content"]["body"]["threadId"])
    assert frames["body"]["stackFrames"][0]["line"] == 3  # type: ignore[index]
    debug("continue", threadId=stopped["content"]["body"]["threadId"])
    assert shared.end(request).result == "8"
    debug("disconnect", restart=False, terminateDebuggee=False)


def test_a_session_has_no_time_limit(shared: Kernel) -> None:
    client = Client.attach(start=False)
    [row] = [row for row in client.overview().functions if row.kind == "session"]
    found = sync.run(client.request(lambda number: messages.GetDefinition(number, row.id)))
    assert found.definition.timeout > 365 * 86400


def test_the_session_is_one_call_in_the_notebooks_app(shared: Kernel) -> None:
    rows = shared.run(
        "%%local\nimport nbfn\nfound = nbfn.Client.attach().overview()\n"
        "print([(f.name, f.app) for f in found.functions if f.name == 'session'])"
    )
    assert rows.out.strip() == "[('session', 'churn-model')]"


# --- its life ---------------------------------------------------------------------------------------


def test_nothing_is_started_before_the_first_cell_that_needs_it(fresh: Kernel, home: Path) -> None:
    assert fresh.run("%%local\n1").result == "1"
    asked = fresh.reply(fresh.send("complete_request", {"code": "zi", "cursor_pos": 2}))
    assert "zip" in asked["content"]["matches"]
    assert not Places.of(home).connection_file.exists()
    first = fresh.run("2")
    assert "session wk-" in first.notes
    assert fresh.run("3").notes == ""


def test_a_killed_session_is_told_and_the_next_cell_has_a_new_one(fresh: Kernel) -> None:
    pid = session_pid(fresh)
    request = fresh.begin("import time\nkept = 1\nprint('on', flush=True)\ntime.sleep(99)")
    fresh.end(request, lambda m: m["msg_type"] == "stream" and m["content"]["text"] == "on\n")
    os.kill(pid, signal.SIGKILL)
    lost = fresh.end(request)
    assert lost.status == "error"
    assert "SessionEnded" in lost.error
    assert "killed by SIGKILL (9)" in lost.error
    assert "memory peak" in lost.error
    again = fresh.run("'kept' in globals()")
    assert again.result == "False"
    assert "The previous one ended (killed by SIGKILL" in again.notes
    assert "its variables are lost" in again.notes


def test_a_session_that_exits_says_its_code(fresh: Kernel) -> None:
    assert "exit code 7" in fresh.run("import os; os._exit(7)").error
    assert "SIGSEGV" in fresh.run("import os; os.kill(os.getpid(), 11)").error
    assert fresh.value("1") == 1


def test_a_killed_worker_takes_its_session_along(fresh: Kernel) -> None:
    pid = session_pid(fresh)
    worker = int(Path(f"/proc/{pid}/status").read_text().split("PPid:")[1].split()[0])
    request = fresh.begin("import time\nprint('on', flush=True)\ntime.sleep(99)")
    fresh.end(request, lambda m: m["msg_type"] == "stream")
    os.kill(worker, signal.SIGKILL)
    lost = fresh.end(request)
    assert "SIGKILL" in lost.error
    wait_until(lambda: not is_alive(pid))
    assert "its variables are lost" in fresh.run("1").notes


def test_a_killed_hub_leaves_the_session_alone(fresh: Kernel, home: Path) -> None:
    pid = session_pid(fresh)
    fresh.run("kept = 5")
    hub = int(fresh.run("%%local\nimport nbfn; print(nbfn.Client.attach().overview().hub.pid)").out)
    os.kill(hub, signal.SIGKILL)
    wait_until(lambda: not is_alive(hub))
    assert fresh.value("kept") == 5
    again = fresh.run("%%local\nprint(nbfn.Client.attach().overview().hub.pid)")
    assert int(again.out) != hub
    assert fresh.value("kept") == 5
    assert session_pid(fresh) == pid


def test_a_restart_gives_new_names_and_shutdown_leaves_nothing(home: Path) -> None:
    with kernel(NAME, home) as running:
        pid = session_pid(running)
        running.run("import subprocess; child = subprocess.Popen(['sleep', '1000'])")
        child = running.value("child.pid")
        running.manager.restart_kernel()
        running.client.wait_for_ready(30)
        wait_until(lambda: not is_alive(pid) and not is_alive(child))
        assert running.run("'child' in globals()").result == "False"
        pid = session_pid(running)
    wait_until(lambda: not is_alive(pid))
    assert not list(Places.of(home).runtime.glob("k[0-9]*"))


def test_a_killed_notebook_kernel_leaves_no_session(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_CLIENT_GRACE", "1")
    with kernel(NAME, home) as running:
        pid = session_pid(running)
        os.kill(here_pid(running), signal.SIGKILL)
        wait_until(lambda: not is_alive(pid))
        wait_until(lambda: not list(Places.of(home).runtime.glob("k[0-9]*")))


def test_the_end_of_all_others_ends_the_session(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process is left that could end its worker."""
    monkeypatch.setenv("NBFN_HUB_GRACE", "1")
    with kernel(NAME, home) as running:
        pid = session_pid(running)
        hub = int(
            running.run("%%local\nimport nbfn; print(nbfn.Client.attach().overview().hub.pid)").out
        )
        for other in (here_pid(running), hub):
            os.kill(other, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), 15.0)


def test_pages_are_told_the_state_of_the_session_and_can_end_it(fresh: Kernel) -> None:
    """Over a comm to the notebook's kernel, also while a cell runs in the session."""
    comm = "c" * 32
    fresh.send("comm_open", {"comm_id": comm, "target_name": "nbfn.session", "data": {}})

    def told(state: str) -> dict[str, Any]:
        def is_it(message: dict[str, Any]) -> bool:
            content = message["content"]
            return content.get("comm_id") == comm and content["data"]["state"] == state

        found: dict[str, Any] = fresh.heard(is_it)["content"]["data"]
        return found

    assert told("none")["reason"] == ""
    request = fresh.begin("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(99)")
    told("starting")
    running = told("running")
    assert running["worker"].startswith("wk-")
    assert running["host"] == socket.gethostname()
    assert time.time() - running["started"] < 60
    subshell = fresh.control("create_subshell_request", {})["subshell_id"]
    message = fresh.client.session.msg("comm_msg", {"comm_id": comm, "data": {"type": "end"}})
    message["header"]["subshell_id"] = subshell
    fresh.client.shell_channel.send(message)
    assert told("none")["reason"] == ""
    reply = fresh.reply(request)["content"]
    assert reply["ename"] == "SessionEnded"
    wait_until(lambda: not is_alive(running["pid"]))
    os.kill(session_pid(fresh), signal.SIGKILL)
    assert "SIGKILL" in told("none")["reason"]


def running_session() -> CallRow:
    rows = Client.attach(start=False).overview().calls
    [found] = [row for row in rows if row.kind == "session" and not row.ended]
    return found


def test_no_other_process_ends_a_session_unless_it_says_so(
    fresh: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    pid = session_pid(fresh)
    client, call = Client.attach(start=False), running_session().id
    [worker] = [row for row in client.overview().workers if row.session == call]
    for attempt in (
        lambda: client.cancel_call(call),
        lambda: nbfn.FunctionCall.from_id(call).cancel(),
        lambda: nbfn.FunctionCall.from_id(call).cancel(terminate_containers=True),
        lambda: client.stop_worker(worker.id),
        lambda: client.stop_worker(worker.id, graceful=True),
        lambda: client.stop_app(worker.app_id or ""),
        client.stop_hub,
    ):
        with pytest.raises(ConflictError, match="would end the session of .*would be lost"):
            attempt()
    for command in (
        ["container", "stop", "-y", worker.id],
        ["app", "stop", "-y", worker.app_id],
        ["hub", "stop"],
    ):
        assert cli.main(command) == 1
        assert "--end-session" in capsys.readouterr().err
    for side in ("", "%local "):
        assert "--end-session" in fresh.run(f"{side}%fn cancel {call}").err
    assert session_pid(fresh) == pid


def test_sessions_are_listed_apart_from_calls(
    fresh: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh.run("1")
    call = running_session().id
    for listing in ("%fn calls", "%fn list --all", "%remote", "import nbfn; nbfn.calls(all=True)"):
        shown = fresh.run(listing)
        assert shown.status == "ok"
        assert call[:9] not in shown.out + shown.result
        assert "session " not in (shown.out + shown.result).replace("session wk-", "")
    assert "sessions 1 (%fn sessions)" in fresh.run("%remote").out
    assert call in fresh.run("%fn sessions").result
    assert cli.main(["session", "list", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["session_id"], row["pid"]) == (call, worker_pid(call))


def worker_pid(call: str) -> int:
    rows = Client.attach(start=False).overview().workers
    return next(row.pid for row in rows if row.session == call)


def test_the_command_line_asks_before_it_ends_a_session(
    fresh: Kernel, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, call = session_pid(fresh), running_session().id
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert cli.main(["session", "stop", call[:12]]) == 1
    assert "All its variables will be lost" in capsys.readouterr().err
    assert session_pid(fresh) == pid
    assert cli.main(["session", "stop", "fc-none"]) == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert cli.main(["session", "stop", call[:12]]) == 0
    wait_until(lambda: not is_alive(pid))


def test_ending_a_session_ends_its_cell(fresh: Kernel) -> None:
    """As the panel does after its question."""
    pid = session_pid(fresh)
    request = fresh.begin("import time\nprint('on', flush=True)\ntime.sleep(99)")
    fresh.end(request, lambda m: m["msg_type"] == "stream")
    Client.attach(start=False).cancel_call(running_session().id, end_session=True)
    assert "SessionEnded" in fresh.end(request).error
    wait_until(lambda: not is_alive(pid))
    assert "its variables are lost" in fresh.run("1").notes


def test_a_session_can_be_ended_and_given_options(fresh: Kernel) -> None:
    assert "no session runs" in fresh.run("%session").out
    fresh.run("%session --env GREETING=hello --app lab")
    assert fresh.run("import os; os.environ['GREETING']").result == "'hello'"
    pid = session_pid(fresh)
    assert str(pid) in fresh.run("%session").out
    again = fresh.run("%session --restart")
    assert "started in" in again.notes
    assert not is_alive(pid)
    fresh.run("%session --stop")
    assert "no session runs" in fresh.run("%session").out


def test_what_cannot_start_is_said_and_tried_again(home: Path) -> None:
    nowhere = {"NBFN_HUB": f"ipc://{home}/nowhere", "NBFN_CONNECT_TIMEOUT": "1"}
    with kernel(NAME, home, **nowhere) as running:
        for _ in range(2):
            failed = running.run("1")
            assert failed.status == "error"
            assert "The session could not be started. No nbfn hub at" in failed.error
            assert "The next cell tries again" in failed.error
        moved = running.run("%%local\nv = 1\n%push v")
        assert "No nbfn hub at" in moved.err
        assert moved.error == ""
        running.run("%remote disconnect")
        running.run("%local import os; del os.environ['NBFN_CONNECT_TIMEOUT']")
        assert running.value("1") == 1


def test_what_no_machine_can_hold_is_said(fresh: Kernel) -> None:
    fresh.run("%session --gpu 99")
    failed = fresh.run("1")
    assert failed.status == "error"
    assert "gpu" in failed.error.lower()


def test_a_session_that_has_to_wait_says_for_what_and_can_be_interrupted(fresh: Kernel) -> None:
    cores = os.cpu_count()
    fresh.run(f"%%local\n%%remote --cpu {cores}\ndef block():\n    import time\n    time.sleep(99)")
    fresh.run("%%local\ncall = block.spawn()\nimport time")
    fresh.run("%local while not block.get_current_stats().num_running_inputs: time.sleep(.01)")
    fresh.run(f"%session --cpu {cores}")
    request = fresh.begin("1")
    waits = fresh.end(request, lambda m: "waiting: " in str(m["content"].get("data")))
    assert "starting a session on a worker" in waits.notes
    fresh.manager.interrupt_kernel()
    stopped = fresh.end(request)
    assert "The session was not started" in stopped.error
    fresh.run("%local call.cancel()")
    assert fresh.value("1") == 1


def test_a_session_over_its_memory_limit_says_so(fresh: Kernel) -> None:
    fresh.run("%session --memory 300M")
    lost = fresh.run("import time\nfull = bytearray(10**9)\ntime.sleep(30)")
    assert lost.status == "error"
    assert "limit 300 MB" in lost.error
    assert "its variables are lost" in fresh.run("1").notes
