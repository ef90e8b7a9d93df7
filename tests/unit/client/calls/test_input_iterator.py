"""Inputs from async iterables, whose loop may end before they do."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
from collections.abc import AsyncIterator

import pytest

from nbfn.client.calls.input_iterator import InputIterator
from tests.conftest import wait_until


async def numbers() -> AsyncIterator[int]:
    for n in range(10):
        yield n


def test_a_loop_that_ends_before_it_asks_ends_the_inputs() -> None:
    loop = asyncio.new_event_loop()  # nothing runs it: what is to be done there waits for ever
    rows = InputIterator((numbers(),)).begin(loop)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pulled = pool.submit(next, rows)
        loop.close()
        with pytest.raises(concurrent.futures.CancelledError):
            pulled.result(5)
    del pulled
    gc.collect()  # a coroutine that nobody awaited would warn, and so fail here


def test_a_loop_that_ends_before_a_generator_is_closed_holds_up_nobody() -> None:
    loop = asyncio.new_event_loop()
    runs = threading.Thread(target=loop.run_forever)
    runs.start()
    inputs = InputIterator((numbers(),))
    rows = inputs.begin(loop)
    assert [next(rows), next(rows)] == [(0,), (1,)]
    loop.call_soon_threadsafe(loop.stop)
    runs.join(5)
    asked, closing = inputs._interrupt, threading.Thread(target=inputs.close)
    closing.start()
    wait_until(lambda: inputs._interrupt is not asked)  # the loop, which will not turn again
    loop.close()
    closing.join(8)  # not the ten seconds that a generator's own end may take
    assert not closing.is_alive()
    gc.collect()


def test_inputs_can_be_stopped_while_the_loop_does_not_turn() -> None:
    loop = asyncio.new_event_loop()
    inputs = InputIterator((numbers(),))
    rows = inputs.begin(loop)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pulled = pool.submit(next, rows)
        wait_until(lambda: inputs._interrupt)
        inputs.stop()
        with pytest.raises(concurrent.futures.CancelledError):
            pulled.result(5)
    loop.close()
    gc.collect()
