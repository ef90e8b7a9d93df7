"""Tests of the logs of Functions, Apps and calls, and of `nbfn app logs` (docs/function-api.md#logs)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn import cli
from nbfn.client.logs import LogEntry
from nbfn.exception import DeserializationError, ExecutionError, InvalidError, WorkerCrashed
from tests.conftest import wait_until

app = nbfn.App("logged")


@app.function()
def say(text: str, where: str = "stdout") -> None:
    print(text, file=getattr(sys, where))


@app.function()
def other() -> None:
    print("from the other")


@app.function()
def chatter(go: Path) -> None:
    print("begun")
    while not go.exists():
        time.sleep(0.005)
    print("ended")


@pytest.fixture(scope="module", autouse=True)
def deployed(hub_home: object) -> None:
    app.deploy()


def messages(entries: list[LogEntry]) -> list[str]:
    return [entry.message for entry in entries]


def test_entries_have_message_time_source_and_ids() -> None:
    began = datetime.now(UTC)
    call = say.spawn("with ids")
    call.get()
    (entry,) = call.logs.fetch()
    assert (entry.message, entry.source) == ("with ids\n", "stdout")
    assert began <= entry.timestamp <= datetime.now(UTC)
    assert entry.object_id == say.object_id
    assert entry.app_id == app.app_id
    assert entry.function_call_id == call.object_id
    assert entry.input_id.startswith("in-")
    assert entry.container_id.startswith("wk-")


def test_the_same_manager_is_on_function_app_and_call() -> None:
    call = say.spawn("everywhere")
    call.get()
    other.remote()
    assert "everywhere\n" in messages(say.logs.fetch())
    assert "from the other\n" not in messages(say.logs.fetch())
    assert {"everywhere\n", "from the other\n"} <= set(messages(app.logs.fetch()))
    assert messages(call.logs.fetch()) == ["everywhere\n"]
    found = nbfn.Function.from_name("logged", "say")
    assert messages(found.logs.tail(1)) == ["everywhere\n"]
    assert messages(nbfn.App.lookup("logged").logs.tail(1)) == ["from the other\n"]


def test_fetch_by_source_text_and_time() -> None:
    say.remote("to stdout, needle 1")
    between = datetime.now(UTC)
    say.remote("to stderr, needle 2", "stderr")
    fetch = say.logs.fetch
    assert messages(fetch(source="stderr")) == ["to stderr, needle 2\n"]
    assert len(fetch(search_text="needle")) == 2
    assert messages(fetch(since=between, search_text="needle")) == ["to stderr, needle 2\n"]
    assert messages(fetch(until=between, search_text="needle")) == ["to stdout, needle 1\n"]
    assert len(fetch(since=timedelta(hours=1), search_text="needle")) == 2
    with pytest.raises(InvalidError, match="one of stdout, stderr, system"):
        fetch(source="console")
    with pytest.raises(InvalidError, match="35 days"):
        fetch(since=timedelta(days=36))


def test_tail_gives_the_last_entries() -> None:
    for number in range(5):
        say.remote(f"tail {number}")
    assert messages(say.logs.tail(2)) == ["tail 3\n", "tail 4\n"]
    assert messages(say.logs.tail(entries=1, source="stdout")) == ["tail 4\n"]
    with pytest.raises(InvalidError, match="20000"):
        say.logs.tail(20_001)


def test_lines_are_whole_and_an_unfinished_one_is_there_at_the_end() -> None:
    @nbfn.App().function()
    def pieces() -> None:
        for piece in ("one ", "line\n", "and no end"):
            sys.stdout.write(piece)
            time.sleep(0.02)

    call = pieces.spawn()
    call.get()
    assert messages(call.logs.fetch()) == ["one line\n", "and no end"]


def test_many_lines_are_fetched_in_pages() -> None:
    @nbfn.App().function()
    def many() -> None:
        for number in range(3500):
            print(number)

    call = many.spawn()
    call.get()
    assert messages(call.logs.fetch()) == [f"{number}\n" for number in range(3500)]
    assert messages(call.logs.tail(1200)) == [f"{number}\n" for number in range(2300, 3500)]


def test_stream_gives_lines_as_they_come_and_ends_with_the_call(tmp_path: Path) -> None:
    call = chatter.spawn(tmp_path / "go")
    wait_until(lambda: messages(call.logs.fetch()) == ["begun\n"])
    streamed: list[str] = []
    stream = call.logs.stream(timeout=60)
    thread = threading.Thread(target=lambda: streamed.extend(messages(list(stream))))
    thread.start()
    wait_until(lambda: stream._after)  # the stream has started
    (tmp_path / "go").touch()
    thread.join(30)
    assert streamed == ["ended\n"]
    assert list(call.logs.stream()) == []  # the call has ended


def test_stream_ends_after_its_timeout() -> None:
    began = time.monotonic()
    assert list(app.logs.stream(timeout=0.2)) == []
    assert time.monotonic() - began < 10


@pytest.mark.asyncio
async def test_logs_have_async_forms() -> None:
    call = await say.spawn.aio("asynchronously")
    await call.get.aio()
    assert messages(await call.logs.fetch.aio()) == ["asynchronously\n"]
    assert messages(await call.logs.tail.aio()) == ["asynchronously\n"]
    assert [entry async for entry in call.logs.stream.aio(timeout=1)] == []


def test_a_call_whose_client_is_gone_has_its_logs() -> None:
    code = "import nbfn; f = nbfn.Function.from_name('logged', 'say'); print(f.spawn('left').object_id)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    # The output of the call may be there as well, if it ran before that process ended.
    (call_id,) = (word for word in done.stdout.split() if word.startswith("fc-"))
    call = nbfn.FunctionCall.from_id(call_id)
    call.get()
    assert messages(call.logs.fetch()) == ["left\n"]


@app.function()
def fails(x: int) -> None:
    raise ValueError(f"no {x}")


@app.function(timeout=1)
def sleeps() -> None:
    time.sleep(60)


@app.function()
def calls_other() -> None:
    other.remote()


@pytest.mark.parametrize(
    ("begin", "failed"),
    [
        (lambda: fails.spawn(1), ["no 1"]),
        (lambda: fails.spawn_map([2, 3]), ["no 2", "no 3"]),
        (lambda: fails.for_each([4], ignore_exceptions=True), ["no 4"]),
        (lambda: fails.for_each.aio([5], ignore_exceptions=True), ["no 5"]),
    ],
)
def test_the_traceback_of_a_failure_that_nobody_asks_for_is_in_the_logs(
    begin: Callable[[], Any], failed: list[str]
) -> None:
    call = begin()
    if asyncio.iscoroutine(call):
        asyncio.run(call)
    ends = [f"ValueError: {text}\n" for text in failed]
    wait_until(lambda: set(ends) <= set(messages(fails.logs.tail())))
    wait_until(lambda: set(ends) <= set(messages(app.logs.tail())))
    if isinstance(call, nbfn.FunctionCall):
        entries = call.logs.fetch()
        assert sorted(m for m in messages(entries) if m.startswith("ValueError")) == ends
        assert {entry.source for entry in entries} == {"stderr"}
        assert [m for m in messages(entries) if __file__ in m][:1] == [
            f'  File "{__file__}", line {fails.get_raw_f().__code__.co_firstlineno + 2}, in fails\n'
        ]


def test_a_timeout_that_nobody_asks_for_is_in_the_logs() -> None:
    call = sleeps.spawn()
    wait_until(lambda: "ran longer than its timeout of 1 s" in "".join(messages(call.logs.fetch())))


def test_a_failure_that_is_raised_here_is_not_in_the_logs() -> None:
    with pytest.raises(ValueError, match="no 6"):
        fails.remote(6)
    assert len(list(fails.map([7], return_exceptions=True))) == 1
    fails.spawn(8)
    wait_until(lambda: "ValueError: no 8\n" in messages(fails.logs.tail()))
    assert not {"ValueError: no 6\n", "ValueError: no 7\n"} & set(messages(fails.logs.tail()))


def test_a_line_of_a_nested_call_is_in_the_logs_once_as_that_calls() -> None:
    began = datetime.now(UTC)
    calls_other.remote()
    wait_until(lambda: messages(other.logs.fetch(since=began)) == ["from the other\n"])
    assert messages(calls_other.logs.fetch(since=began)) == []
    assert messages(app.logs.fetch(since=began)) == ["from the other\n"]


def test_a_worker_that_died_is_in_the_logs() -> None:
    @nbfn.App("crashing").function()
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    call = die.spawn()
    with pytest.raises(WorkerCrashed):
        call.get()
    first, second = call.logs.fetch(source="system")
    assert "died while running 'die'" in first.message
    assert "SIGKILL" in second.message


def test_a_function_that_cannot_be_loaded_is_in_the_logs() -> None:
    def load(text: str) -> object:
        return Unloadable() if nbfn.is_local() else int(text)

    class Unloadable:  # only in a worker: code that cannot be loaded here is refused immediately
        def __reduce__(self) -> tuple[object, ...]:
            return (load, ("not a number",))

    broken = Unloadable()

    @nbfn.App("unloadable").function()
    def unloadable() -> object:
        return broken

    with pytest.raises(DeserializationError, match="not a number"):
        unloadable.remote()
    said = "".join(messages(unloadable.logs.fetch(source="system")))
    assert "'unloadable' could not be loaded" in said
    assert "ValueError" in said


def test_a_flood_is_bounded_and_calls_go_on() -> None:
    @nbfn.App("flood").function()
    def flood() -> None:
        for _ in range(200):
            print("x" * 65_536)

    call = flood.spawn()
    call.get(timeout=60)
    say.remote("after the flood")
    kept = call.logs.fetch()
    assert sum(len(entry.message) for entry in kept) < 6 * 2**20
    assert any(entry.source == "system" for entry in kept)
    assert "after the flood\n" in messages(say.logs.tail(5))


def test_an_app_that_never_was_at_the_hub_has_no_logs() -> None:
    with pytest.raises(ExecutionError, match="is not registered yet"):
        nbfn.App("fresh").logs.fetch()


# --- nbfn app logs -------------------------------------------------------------------------------


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    capsys.readouterr()
    assert cli.main(argv) == 0
    return capsys.readouterr().out.splitlines()


def test_app_logs_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        call = say.spawn(f"cli {number}")
        call.get()
    other.remote()
    logs = ("app", "logs", "logged")
    assert printed(capsys, *logs, "-n", "2") == ["cli 2", "from the other"]
    assert printed(capsys, *logs, "--function", "say", "--tail", "1") == ["cli 2"]
    assert printed(capsys, *logs, "--search", "cli 1") == ["cli 1"]
    assert printed(capsys, *logs, "--since", "1h", "--search", "cli ")[-1] == "cli 2"
    assert printed(capsys, *logs, "--function-call", call.object_id) == ["cli 2"]
    (line,) = printed(capsys, *logs, "-n", "1", "--timestamps", "--show-function-id")
    moment, function, *text = line.split()
    assert datetime.fromisoformat(moment)
    assert (function, " ".join(text)) == (other.object_id, "from the other")
    (entry,) = call.logs.fetch()
    assert "cli 2" in printed(capsys, "container", "logs", entry.container_id)


def test_following_goes_with_no_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["app", "logs", "logged", "-f", "--since", "1h"]) == 2
    assert cli.main(["app", "logs", "logged", "--since", "yesterday"]) == 2
    assert "neither a span" in capsys.readouterr().err


def test_following_prints_what_comes_and_ends_with_the_app() -> None:
    short = nbfn.App("short")

    @short.function()
    def shout() -> None:
        print("followed")

    with short.run():
        shout.remote()
        process = subprocess.Popen(
            [sys.executable, "-m", "nbfn", "app", "logs", "-f", str(short.app_id)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "followed\n"
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
