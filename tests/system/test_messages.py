"""Nothing that is sent is put together without counting bytes: no call ends a hub because it is large."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn.client.client import Client
from nbfn.exception import Error, InvalidError
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from tests.conftest import stop_hub, wait_until

app = nbfn.App()
KB, MB = 10**3, 10**6


@app.function(max_containers=1)
@nbfn.batched(max_batch_size=100, wait_ms=2000)
def sizes(values: list[bytes]) -> list[tuple[int, int]]:
    return [(len(value), len(values)) for value in values]


@app.function(max_containers=1)
@nbfn.concurrent(max_inputs=100)
def at_once(value: bytes) -> int:
    return len(value)


@app.function(max_containers=1)
@nbfn.batched(max_batch_size=100, wait_ms=2000)
def large(numbers: list[int]) -> list[bytes]:
    return [b"x" * (200 * KB) for _ in numbers]


@app.function()
def length(value: bytes) -> int:
    return len(value)


@pytest.fixture
def epoch(home: Path) -> Iterator[int]:
    """The hub's; at the end it has to be the same."""
    length.remote(b"")
    before = Client.attach().overview().hub.epoch
    yield before
    assert Client.attach().overview().hub.epoch == before, "the hub was started again"


def test_a_batch_of_20_mb_is_run_as_one(epoch: int) -> None:
    inputs = [b"x" * (200 * KB)] * 100
    assert list(sizes.map(inputs)) == [(200 * KB, 100)] * 100
    call = sizes.spawn_map(inputs)
    assert list(call.iter()) == [(200 * KB, 100)] * 100


def test_inputs_of_20_mb_at_once(epoch: int) -> None:
    assert list(at_once.map([b"x" * (200 * KB)] * 100)) == [200 * KB] * 100
    assert list(at_once.spawn_map([b"x" * (200 * KB)] * 100).iter()) == [200 * KB] * 100


def test_results_of_20_mb_at_once(epoch: int) -> None:
    assert [len(result) for result in large.map(range(100))] == [200 * KB] * 100
    call = large.spawn_map(range(100))
    assert [len(result) for result in call.iter()] == [200 * KB] * 100
    gathered = nbfn.FunctionCall.gather(*(large.spawn(n) for n in range(100)))
    assert [len(result) for result in gathered] == [200 * KB] * 100


def test_a_hundred_thousand_inputs_are_cancelled_at_once(epoch: int) -> None:
    @app.function(name="never", max_containers=1, startup_timeout=60)
    def never(number: int) -> None:
        threading.Event().wait()

    call = never.spawn_map(range(100_000))
    call.cancel()
    wait_until(lambda: call._call_info().ended, 60)
    with pytest.raises(Error, match="was cancelled"):
        call.get(index=99_999)


def put_call(function: str, *inputs: m.NewInput) -> m.PutCall:
    call = m.new_id("fc")
    return m.PutCall(call, function, 0, "spawn", inputs, durable=True, closed=False)


def test_inputs_of_15_mb_in_messages_run_also_after_a_restart(home: Path) -> None:
    """A client of another make: this one's would not put that much into a message."""
    app.deploy(name="old")
    handle = nbfn.Function.from_name("old", "sizes")
    assert handle.remote(b"x") == (1, 1)
    client = Client.attach()
    data = pickle.dumps(((b"x" * 15 * MB,), {}), protocol=5)
    put = put_call(handle.object_id, m.NewInput(0, m.Payload(data)))
    client.send(put)
    client.send(m.PutInputs(put.call, (m.NewInput(1, m.Payload(data)),), closed=True))
    call: Any = nbfn.FunctionCall.from_id(put.call)
    wait_until(lambda: _known(call))
    stop_hub(nbfn.config.Places.of())
    assert list(call.iter()) == [(15 * MB, 2)] * 2


def _known(call: Any) -> bool:
    try:
        return bool(call.num_inputs() == 2)
    except Error:
        return False


def test_an_input_that_no_message_can_carry_fails_alone(epoch: int) -> None:
    client = Client.attach()
    put = put_call(length.object_id)
    item = m.NewInput(0, m.Payload(b""))
    around = len(codec.encode(m.PutInputs(put.call, (item,), closed=True)))
    item = m.NewInput(0, m.Payload(bytes(codec.MAX_FRAME - around - 8)))
    client.send(put)
    client.send(m.PutInputs(put.call, (item,), closed=True))  # just within the limit
    call: Any = nbfn.FunctionCall.from_id(put.call)
    wait_until(lambda: _ended(call))
    with pytest.raises(Error, match=r"The input cannot be sent to a worker: 16 MB is over"):
        call.get()
    assert length.remote(b"four") == 4


def _ended(call: Any) -> bool:
    try:
        return bool(call._call_info().ended)
    except Error:
        return False


def test_long_docstrings_sources_and_errors_are_told_as_far_as_they_fit(epoch: int) -> None:
    def documented() -> int:
        return 1

    documented.__doc__ = "words " * (16 * MB // 6)
    handle = app.function(name="documented")(documented)
    with pytest.warns(UserWarning, match="takes 15.3 MB along"):
        assert handle.remote() == 1

    @app.cls()
    class Unloadable:
        @nbfn.enter()
        def load(self) -> None:
            raise ValueError("x" * 20 * MB)

        @nbfn.method()
        def call(self) -> None: ...

    with pytest.raises(ValueError, match="^xxx") as caught:
        Unloadable().call.remote()
    assert len(str(caught.value)) == 20 * MB

    @app.function(name="failing")
    def failing() -> None:
        raise ValueError("x" * 20 * MB)

    with pytest.raises(ValueError, match="^xxx") as caught:
        failing.remote()
    assert len(str(caught.value)) == 20 * MB
    call = failing.spawn()
    with pytest.raises(ValueError, match="^xxx"):
        call.get()


def test_what_is_too_large_is_refused_where_it_is_given(epoch: int) -> None:
    values = {"TOKEN": "x" * 20 * MB}
    with pytest.raises(InvalidError, match="1,048,576 is the most"):
        nbfn.Secret.from_dict(values)
    with pytest.raises(InvalidError, match="1,048,576 is the most"):
        nbfn.Secret.objects.create("huge", values)

    handle = app.function(name="tagged", env={f"NAME_{n}": "x" * 1000 for n in range(900)})(
        lambda: 1
    )
    assert handle.remote() == 1
    secrets = [nbfn.Secret.from_dict({f"LARGE_{n}": "x" * MB}) for n in range(20)]
    handle = app.function(name="secretive", secrets=secrets)(lambda: 1)
    with pytest.raises(InvalidError, match=r"definition of 'secretive' is too large to be sent"):
        handle.remote()
    for n in range(20):
        nbfn.Secret.objects.create(f"large-{n}", {f"LARGE_{n}": "x" * MB})
    named = [nbfn.Secret.from_name(f"large-{n}") for n in range(20)]
    handle = app.function(name="named", secrets=named)(lambda: 1)
    with pytest.raises(Error, match="cannot be sent to a worker with its environment variables"):
        handle.remote()


def test_lines_of_any_length_are_kept_and_told(epoch: int) -> None:
    @app.function(name="loud")
    def loud() -> None:
        print("é" * 3 * MB)
        sys.stdout.buffer.write(b"\xff" * 3 * MB)

    call = loud.spawn()
    call.get()
    lines = call.logs.tail(1000)
    assert sum(len(line.message) for line in lines) > 2 * MB


def test_the_overview_of_very_many_calls(epoch: int) -> None:
    @app.function(name="waits", max_containers=1)
    def waits() -> None: ...

    waits.remote()
    handle = waits.object_id
    client = Client.attach()
    nothing = m.NewInput(0, m.Payload(client.serializer.nothing()))
    # Open calls without an input wait for their first one.
    calls = [m.new_id("fc") for _ in range(80_000)]
    for name in calls:
        client.send(m.PutCall(name, handle, 0, "map", (), closed=False))
    busy = m.new_id("fc")
    client.send(m.PutCall(busy, handle, 0, "map", (nothing,), closed=False))
    overview = client.overview()
    assert 4000 < len(overview.calls) < 6000
    for name in [*calls, busy]:
        client.send(m.Release(name))
    wait_until(lambda: len([c for c in client.overview().calls if not c.ended]) == 0, 60)
