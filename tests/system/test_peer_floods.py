"""Peers that send too much, or the same again and again (docs/guarantees.md, F31, S12, S13, S18 and S19)."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import nbfn
from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.exception import Error
from nbfn.protocol import messages as m
from tests.conftest import wait_until
from tests.system.test_bad_peers import Intruder, as_client, as_worker

app = nbfn.App("floods")
MB = 2**20


@app.function()
def same(number: int) -> int:
    return number


@app.function(max_containers=2)
def size(data: bytes) -> int:
    time.sleep(0.01)
    return len(data)


@app.function()
def noted(number: int, journal: Path) -> int:
    with journal.open("a") as file:
        file.write(f"{number}\n")
    return number


def hub() -> psutil.Process:
    return psutil.Process(Client.attach().overview().hub.pid)


def seconds_of_a_call() -> float:
    begun = time.monotonic()
    assert same.remote(1) == 1
    return time.monotonic() - begun


def test_f31_a_worker_that_is_stopped_with_inputs_holds_up_no_map(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBFN_LEASE", "1")
    sizes = size.map(bytes(50_000) for _ in range(1000))
    assert next(sizes) == 50_000
    client = Client.attach()
    before = hub().memory_info().rss
    wait_until(lambda: sum(w.state == "busy" for w in client.overview().workers) == 2)
    stopped = next(w.pid for w in client.overview().workers if w.state == "busy")
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert sum(sizes) == 999 * 50_000
        assert hub().memory_info().rss - before < 100 * MB
    finally:
        with contextlib.suppress(ProcessLookupError):  # the hub has ended it
            os.kill(stopped, signal.SIGCONT)


def test_s12_connections_that_send_nothing_hold_up_nobody(home: Path) -> None:
    assert seconds_of_a_call() < 20
    idle = [socket.socket(socket.AF_UNIX) for _ in range(400)]
    try:
        for stream in idle:
            stream.connect(str(Places.of().socket))
        assert seconds_of_a_call() < 1
        begun = time.monotonic()
        ran = subprocess.run(
            [sys.executable, "-m", "nbfn", "hub", "status"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "nbfn hub" in ran.stdout, ran.stderr
        assert time.monotonic() - begun < 10
    finally:
        for stream in idle:
            stream.close()
    assert seconds_of_a_call() < 1


def test_s13_a_call_that_is_sent_a_hundred_times_runs_once(home: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    assert noted.remote(0, journal) == 0
    function = next(f.id for f in Client.attach().overview().functions if f.name == "noted")
    inputs = (m.NewInput(0, m.Payload(pickle.dumps(((7, journal), {})))),)
    client = as_client(Places.of())
    with contextlib.closing(client):
        _put_many_times(client, function, inputs)
        wait_until(lambda: journal.read_text().split().count("7") == 2)
        assert noted.remote(1, journal) == 1
    assert journal.read_text().split() == ["0", "7", "7", "1"]


def _put_many_times(client: Intruder, function: str, inputs: tuple[m.NewInput, ...]) -> None:
    for kind, durable in (("remote", False), ("spawn", True)):
        call = m.new_id("fc")
        for count in range(100):  # as a client sends it again: marked, for the call may have ended
            put = m.PutCall(call, function, 0, kind, inputs, durable=durable, resent=count > 0)
            client.send(put)


def test_s18_text_that_looks_like_sql_is_stored_as_it_is(home: Path) -> None:
    hostile = "x'); DROP TABLE calls; --"
    assert same.spawn(1).get(timeout=20) == 1
    app.set_tags({"team": hostile})
    assert app.get_tags() == {"team": hostile}
    with pytest.raises(Error):
        nbfn.Function.from_name("floods", hostile).remote(1)
    with pytest.raises(Error):
        nbfn.FunctionCall.from_id(f"fc-{hostile}").get(timeout=5)
    assert app.logs.fetch(search_text=hostile) == []
    assert same.spawn(2).get(timeout=20) == 2


def test_s19_a_hundred_thousand_results_that_nobody_asked_for(home: Path) -> None:
    assert seconds_of_a_call() < 20
    before = hub().memory_info().rss
    payload = m.Payload(bytes(200))
    slowest = 0.0
    with contextlib.closing(as_worker(Places.of())) as worker:
        for number in range(100):
            results = tuple(m.Result(10**9 + n, 1, payload, 0.0) for n in range(1000))
            worker.send(m.Results(number + 1, results))
            if number % 20 == 0:
                slowest = max(slowest, seconds_of_a_call())
    assert max(slowest, seconds_of_a_call()) < 2
    assert hub().memory_info().rss - before < 50 * MB
