"""A hub that is sent what no peer should send refuses it and goes on (docs/guarantees.md, S4, S9, S10, S17)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import nbfn
from nbfn.client.client import Client
from nbfn.client.discovery import read_connection_file
from nbfn.config import Places
from nbfn.exception import InvalidError, NotFoundError, RemoteError
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from nbfn.protocol.transport import Link
from tests.conftest import wait_until

app = nbfn.App()


@app.function()
def same(number: int) -> int:
    return number


def hub_pid() -> int:
    return int(str(read_connection_file(Places.of())["pid"]))


@pytest.fixture
def hub(home: Path) -> Iterator[Places]:
    """A hub in use; it must be the same process at the end, and work."""
    assert same.remote(1) == 1
    pid = hub_pid()
    yield Places.of()
    assert same.remote(2) == 2
    assert same.spawn(3).get(timeout=20) == 3
    assert hub_pid() == pid
    assert "Traceback" not in Places.of().hub_log.read_text()


class Intruder:
    """A connection to the hub that sends any frame."""

    def __init__(self, places: Places, hello: m.Message) -> None:
        decoder = codec.TO_CLIENT if isinstance(hello, m.ClientHello) else codec.TO_WORKER
        self._link = Link(places.endpoint, decoder)
        wait_until(lambda: self._link.wait(0.1) or self._link.up)
        self.send(hello)
        assert isinstance(self.next(), m.Welcome)

    def send(self, message: m.Message) -> None:
        self._link._socket.send(msgspec.msgpack.encode(message))

    def next(self) -> object:
        """Return the next message of the hub."""
        (arrived, *_) = self._link.wait(10)
        return arrived

    def close(self) -> None:
        self._link.close()


def as_client(places: Places) -> Intruder:
    hello = m.ClientHello(m.PROTOCOL, "cl-intruder", "0", "3", "3.11", 1, "here")
    return Intruder(places, hello)


def as_worker(places: Places) -> Intruder:
    hello = m.WorkerHello(m.PROTOCOL, "wk-intruder", "0", "3", "3.11", 1, "here", "/usr/bin/python")
    return Intruder(places, hello)


def test_bytes_on_the_socket_that_are_no_zeromq_of_today(hub: Places) -> None:
    many = b"\x01\x00" + b"\x02\x01x" * 50_000 + b"\x02\x00x"
    for sent in (b"\x01\x00\x02\x00x", many, bytes(100)):
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(hub.endpoint.removeprefix("ipc://"))
            stream.sendall(sent)
            assert same.remote(7) == 7


def test_a_segment_of_another_directory(hub: Places) -> None:
    client = as_client(hub)
    for name in ("../../x", "x\0", "/etc/passwd", "..", "wk-1.0\n"):
        outside = m.Payload(b"", (m.Segment("shm", name, 1),), spilled=True)
        worker = as_worker(hub)
        worker.send(m.Results(1, (m.Result(5, 1, outside, 0.0),)))
        assert isinstance(worker.next(), m.Refused)
        worker.close()
        client.send(m.PutCall("fc-1", "fu-1", 1, "remote", (m.NewInput(0, outside),)))
        refused = client.next()
        assert isinstance(refused, m.CallRefused)
        assert refused.code == "invalid"
    client.close()


def test_answers_that_nobody_asked_for(hub: Places) -> None:
    worker = as_worker(hub)
    worker.send(m.ConsoleOpened(77, "/tmp/x"))
    worker.send(m.Bound("fu-1", 1))
    worker.send(m.Results(1, (m.Result(12345, 1, m.Payload(b"x"), 0.0),)))
    worker.send(m.Yielded(12345, 0, (m.Payload(b"x"),)))
    worker.send(m.Returned((1, 1, 2**62)))
    worker.send(m.Goodbye())
    worker.close()


def test_a_nul_in_the_path_of_a_python(hub: Places) -> None:
    nowhere = m.Environment("/usr/bin/py\0thon", (), "/", "3.11", "3")
    client = as_client(hub)
    client.send(m.Register(3, "app", m.Definition("f", m.Payload(b""), "d", nowhere)))
    failed = client.next()
    assert isinstance(failed, m.Failed)
    assert failed.message.startswith("executable has characters that are not allowed")
    client.close()


def test_numbers_that_no_database_stores(hub: Places) -> None:
    function = next(row.id for row in Client.attach().overview().functions)
    client = as_client(hub)
    for number in (2**53 + 1, 2**63, 2**64 - 1):
        inputs = (m.NewInput(number, m.Payload(b"x")),)
        client.send(m.PutCall("fc-1", function, 1, "spawn", inputs, durable=True))
        assert isinstance(client.next(), m.CallRefused)
        for asked in (
            m.Watch(1, "fc-1", number, number),
            m.GetInput(1, "fc-1", number),
            m.GetLogs(1, after=number),
            m.SetAutoscaler(1, function, m.PoolSettings(min_containers=number)),
        ):
            client.send(asked)
            assert isinstance(client.next(), m.Failed)
    client.close()


def test_a_worker_that_claims_an_input_of_another_function_does_not_get_it(
    hub: Places, tmp_path: Path
) -> None:
    go = tmp_path / "go"

    @app.function(name="wait", max_containers=1)
    def wait(path: Path) -> int:
        while not path.exists():
            pass
        return 5

    calls = [wait.spawn(go) for _ in range(3)]
    client = Client.attach()
    wait_until(
        lambda: any(row.name == "wait" and row.backlog for row in client.overview().functions)
    )
    rows = {row.name: row for row in client.overview().functions}
    running = tuple((n + 1, call.object_id, 0, 1) for n, call in enumerate(calls))
    hello = m.WorkerHello(
        *(m.PROTOCOL, "wk-intruder", "0", "3", "3.11", 1, "here", "/usr/bin/python"),
        *(rows["same"].id, rows["same"].version, running),
    )
    claimant = Intruder(hub, hello)
    go.touch()
    assert [call.get(timeout=20) for call in calls] == [5, 5, 5]
    claimant.close()


def test_numbers_out_of_range_fail_in_the_process_that_gives_them(home: Path) -> None:
    assert same.remote(1) == 1
    client = Client.attach()
    with pytest.raises(InvalidError, match="min_containers is 1000.*at most 1000000"):
        same.update_autoscaler(min_containers=10**30)
    function = next(row.id for row in client.overview().functions)
    for number in (10**30, 2**63, 2**63 - 1):
        with pytest.raises(InvalidError, match="too large|at most 1000000"):
            client.set_autoscaler(function, min_containers=number)
    with pytest.raises(InvalidError, match="not Unicode"):
        client.find_app("\udc80")
    with pytest.raises((InvalidError, NotFoundError)):
        nbfn.FunctionCall.from_id("fc-\0").get(timeout=5)
    assert same.remote(2) == 2


def test_delays_between_retries_that_grow_beyond_all_numbers(home: Path) -> None:
    @app.function(
        name="fails",
        retries=nbfn.Retries(max_retries=330, backoff_coefficient=10.0, initial_delay=0.0),
    )
    def fails() -> None:
        raise ValueError("always")

    assert same.remote(1) == 1
    pid = hub_pid()
    with pytest.raises(Exception, match="always") as caught:
        fails.remote()
    assert isinstance(caught.value, ValueError | RemoteError)
    assert hub_pid() == pid
