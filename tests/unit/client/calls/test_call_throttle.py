"""Single calls that begin at once wait for room, and none for ever."""

from __future__ import annotations

import asyncio

from nbfn.client.calls.active_call import CallThrottle
from nbfn.runtime.sync import blocking


class Caller:
    """Waits as a call does, which may be made in a loop or without one."""

    def __init__(self, throttle: CallThrottle) -> None:
        self._traffic = throttle

    @blocking
    async def room(self) -> None:
        await self._traffic.room()


def test_no_more_bytes_are_under_way_than_fit_and_all_get_their_turn() -> None:
    throttle, under_way, most = CallThrottle(100), 0, 0

    async def call() -> None:
        nonlocal under_way, most
        while throttle.full:
            await Caller(throttle).room.aio()
        throttle.enter(30)
        under_way += 30
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 30
        throttle.leave(30)

    async def all_at_once() -> None:
        await asyncio.gather(*(call() for _ in range(500)))

    asyncio.run(asyncio.wait_for(all_at_once(), 20))
    assert most == 120


def test_one_that_is_cancelled_when_it_is_its_turn_leaves_it_to_the_next() -> None:
    throttle = CallThrottle(100)

    async def both() -> None:
        throttle.enter(100)
        first, second = (asyncio.create_task(Caller(throttle).room.aio()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        throttle.leave(100)
        await asyncio.wait_for(second, 10)

    asyncio.run(both())


def test_one_that_does_not_begin_leaves_its_turn_to_the_next() -> None:
    throttle = CallThrottle(100)

    async def all_of_them() -> None:
        throttle.enter(100)
        waiting = [asyncio.create_task(Caller(throttle).room.aio()) for _ in range(10)]
        await asyncio.sleep(0)
        throttle.leave(100)
        await asyncio.wait_for(asyncio.gather(*waiting), 10)  # none of them enters

    asyncio.run(all_of_them())
