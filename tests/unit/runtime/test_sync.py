"""One body for the blocking and the async form."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from nbfn.exception import AsyncUsageWarning
from nbfn.runtime.stream import Stream
from nbfn.runtime.sync import blocking, run, wait


class Box:
    """Something to wait for."""

    def __init__(self) -> None:
        self.future: Future[int] = Future()

    @blocking
    async def get(self, plus: int = 0, *, timeout: float | None = None) -> int:
        """Wait for the number."""
        return await wait(self.future, timeout) + plus


def resolved_soon(box: Box, value: int) -> None:
    threading.Timer(0.02, box.future.set_result, [value]).start()


def test_the_blocking_form_waits_on_the_callers_thread() -> None:
    box = Box()
    resolved_soon(box, 3)
    assert box.get(4) == 7


def test_the_async_form_lets_the_loop_go_on() -> None:
    async def main() -> tuple[int, int]:
        first, second = Box(), Box()
        asyncio.get_running_loop().call_later(0.01, first.future.set_result, 1)
        asyncio.get_running_loop().call_later(0.02, second.future.set_result, 2)
        return await asyncio.gather(first.get.aio(), second.get.aio(1))  # type: ignore[return-value]

    assert asyncio.run(main()) == [1, 3]


def test_the_blocking_form_works_inside_a_running_loop() -> None:
    async def main() -> int:
        box = Box()
        resolved_soon(box, 5)
        return box.get()

    with pytest.warns(AsyncUsageWarning, match="blocks the event loop"):
        assert asyncio.run(main()) == 5


def test_both_forms_exist_on_the_class_too() -> None:
    box = Box()
    box.future.set_result(1)
    assert Box.get(box, 1) == 2
    assert asyncio.run(Box.get.aio(box, 2)) == 3
    assert box.get.__doc__ == "Wait for the number."


def test_an_exception_is_raised_by_both() -> None:
    box = Box()
    box.future.set_exception(KeyError("x"))
    with pytest.raises(KeyError):
        box.get()
    with pytest.raises(KeyError):
        asyncio.run(box.get.aio())


def test_a_timeout_is_the_builtin_one_and_leaves_the_future_alone() -> None:
    box = Box()
    with pytest.raises(TimeoutError):
        box.get(timeout=0.01)
    with pytest.raises(TimeoutError):
        asyncio.run(box.get.aio(timeout=0.01))
    box.future.set_result(1)
    assert box.get(timeout=0) == 1


def test_a_cancellation_is_raised_inside_and_does_not_cancel_the_future() -> None:
    box = Box()
    seen: list[BaseException] = []

    async def watched() -> int:
        try:
            return await wait(box.future)
        except BaseException as error:
            seen.append(error)
            raise

    async def main() -> None:
        from nbfn.runtime.sync import drive

        task = asyncio.ensure_future(drive(watched()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert isinstance(seen[0], asyncio.CancelledError)
    assert not box.future.cancelled()


def test_an_interrupt_is_raised_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Future[int]):
        def exception(self, timeout: float | None = None) -> Any:
            raise KeyboardInterrupt

    seen = []

    async def body() -> None:
        try:
            await wait(Interrupted())
        except KeyboardInterrupt:
            seen.append("inside")
            raise

    with pytest.raises(KeyboardInterrupt):
        run(body())
    assert seen == ["inside"]


class Countdown(Stream[int]):
    """Three batches of two."""

    def __init__(self) -> None:
        self.batches = [[5, 4], [3, 2], [1, 0]]
        self.stopped = 0

    async def _more(self) -> list[int]:
        if not self.batches:
            raise StopAsyncIteration
        return self.batches.pop(0)

    def _stop(self) -> None:
        self.stopped += 1


def test_a_stream_is_iterated_in_every_way() -> None:
    async def collect(stream: Countdown) -> list[int]:
        return [x async for x in stream]

    assert list(Countdown()) == [5, 4, 3, 2, 1, 0]
    assert asyncio.run(collect(Countdown())) == [5, 4, 3, 2, 1, 0]
    mixed = Countdown()
    assert next(mixed) == 5
    assert asyncio.run(anext(mixed)) == 4  # type: ignore[arg-type]
    assert list(mixed) == [3, 2, 1, 0]
    with pytest.raises(StopIteration):
        next(mixed)
    assert mixed.stopped == 0


def test_leaving_a_loop_stops_the_stream() -> None:
    left = Countdown()
    for _ in left:
        break
    assert left.stopped == 1
    assert list(left) == []
    closed = Countdown()
    next(closed)
    closed.close()
    closed.close()
    assert closed.stopped == 1


def test_leaving_an_async_loop_stops_the_stream() -> None:
    async def main(stream: Countdown) -> None:
        async for _ in stream:
            break

    left = Countdown()
    asyncio.run(main(left))
    assert left.stopped == 1
