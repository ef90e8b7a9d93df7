"""The methods of Functions, and of objects of a `Cls`, that concern their pool of workers."""

from __future__ import annotations

from typing import Any, Protocol

from nbfn.client.client import Client
from nbfn.client.registration.function_ref import HydratedFunction
from nbfn.declarations.pool_settings import check_pool_bounds, check_pool_setting
from nbfn.protocol import messages
from nbfn.runtime.sync import blocking
from nbfn.types import FunctionAutoscalerSettings, FunctionStats


class HasPool(Protocol):
    """What has a pool of workers: a Function, or an object of a `Cls`."""

    async def _resolve(self) -> HydratedFunction:
        """Return what is known of it, after registering it or looking it up if needed."""

    async def _resolve_pool(self) -> HydratedFunction:
        """Return what is known of the Function that has the pool.

        Raises:
            InvalidError: If it has no pool of its own, as a method.
        """


@blocking
async def keep_warm(self: HasPool, warm_pool_size: int) -> None:
    """Keep at least this many workers ready, also when nothing is called.

    Args:
        warm_pool_size: How many workers; with 0 the pool may shrink to none.

    Raises:
        InvalidError: If it is negative or above ``max_containers``, or this is a method.
    """
    __tracebackhide__ = True
    await _override(self, min_containers=warm_pool_size)


@blocking
async def update_autoscaler(
    self: HasPool,
    *,
    min_containers: int | None = None,
    max_containers: int | None = None,
    buffer_containers: int | None = None,
    scaledown_window: float | None = None,
) -> FunctionAutoscalerSettings:
    """Change how many workers the pool keeps; settings that are not given stay as they are.

    Args:
        min_containers: Workers kept when idle.
        max_containers: Most workers.
        buffer_containers: Extra idle workers while the pool is active.
        scaledown_window: Seconds an idle worker is kept.

    Returns:
        All four settings, as they are now.

    Raises:
        InvalidError: If the settings contradict each other, or this is a method.
    """
    __tracebackhide__ = True
    check_pool_bounds(min_containers, max_containers)
    return await _override(
        self,
        min_containers=min_containers,
        max_containers=max_containers,
        buffer_containers=buffer_containers,
        scaledown_window=scaledown_window,
    )


async def _override(handle: HasPool, **settings: Any) -> FunctionAutoscalerSettings:
    __tracebackhide__ = True
    given = {
        name: check_pool_setting(name, value)
        for name, value in settings.items()
        if value is not None
    }
    hydrated = await handle._resolve_pool()
    return await Client.set_autoscaler.raw(hydrated.client, hydrated.info.id, **given)


@blocking
async def get_current_stats(self: HasPool) -> FunctionStats:
    """Return how many inputs wait and how many workers there are now.

    Returns:
        Waiting and running inputs, workers, and how many inputs these could take.

    Raises:
        NotFoundError: If it was looked up by a name that is not deployed.
    """
    __tracebackhide__ = True
    hydrated = await self._resolve()
    stats: messages.Stats = await hydrated.client.request(
        lambda number: messages.GetStats(number, hydrated.info.id)
    )
    return FunctionStats(stats.backlog, stats.workers, stats.running, stats.headroom)
