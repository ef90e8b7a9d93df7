"""Admission control: whether the machine has the processors, memory and GPUs that a worker requests.

The resources of a Function are reserved for each of its workers from binding until the worker is gone.
A Function without requests gets workers as long as `max_workers` allows. The processors that a session requests must be
free when it starts, and are not reserved after that: a cell that calls a Function would wait for itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Pool, Worker
from nbfn.protocol.messages import Resources
from nbfn.runtime.byte_size import format_bytes

#: Most workers that fit, for tiny requests.
MOST = 2**31


class _Need(NamedTuple):
    """One requested resource: per worker, in total, and already reserved."""

    shown: str
    each: float
    total: float
    held: float

    @property
    def fits(self) -> int:
        return math.floor(min((self.total - self.held) / self.each + 1e-9, MOST))


def holders(t: HubState) -> list[Worker]:
    """Return the workers that hold reserved resources, including draining ones."""
    return [w for w in t.workers.values() if w.pool is not None and w.pool.needs_resources]


def impossible(t: HubState, name: str, resources: Resources) -> str:
    """Return why a Function can never have a worker on this machine, or ""."""
    for need in _needs(t, resources, []):
        if need.fits < 1:
            return (
                f"{name!r} asks for {need.shown} for each worker, and this machine has "
                f"{_amount(need.shown, need.total)}. Request less, or run the hub on a larger machine."
            )
    return ""


def fitting(t: HubState, pool: Pool, most: int) -> int:
    """Return how many more workers fit, at most ``most``."""
    if most <= 0 or not pool.needs_resources:
        return most
    return max(
        0, min([most, *(need.fits for need in _needs(t, pool.definition.resources, holders(t)))])
    )


def waits_for(t: HubState, pool: Pool) -> str:
    """Return which resources one more worker waits for, as text, or ""."""
    missing = [
        need.shown for need in _needs(t, pool.definition.resources, holders(t)) if need.fits < 1
    ]
    return f"waits for {' and '.join(missing)}" if missing else ""


def set_aside(t: HubState, pool: Pool) -> tuple[str, ...]:
    """Return the GPUs to reserve for one more worker of a pool."""
    wanted = pool.definition.resources.gpus
    if not wanted:
        return ()
    return free_gpus(t)[:wanted]


def free_gpus(t: HubState) -> tuple[str, ...]:
    """Return the GPUs that no worker has."""
    taken = {gpu for worker in t.workers.values() for gpu in worker.gpus}
    return tuple(gpu for gpu in t.limits.gpus if gpu not in taken)


def _needs(t: HubState, wants: Resources, held_by: list[Worker]) -> Iterator[_Need]:
    limits = t.limits
    cpu, memory, gpus = wants.cpu or 0.0, wants.memory or 0, wants.gpus or 0
    if cpu > 0:
        yield _Need(_cores(cpu), cpu, limits.cpu, _held(held_by, "cpu", sessions=False))
    if memory > 0 and limits.memory:
        yield _Need(_bytes(memory), memory, limits.memory, _held(held_by, "memory"))
    if gpus > 0:
        yield _Need(_gpus(gpus), gpus, len(limits.gpus), _held(held_by, "gpus"))


def _held(workers: Sequence[Worker], resource: str, *, sessions: bool = True) -> float:
    """Return how much of a resource workers hold."""
    pools = [worker.pool for worker in workers if worker.pool is not None]
    counted = [pool.definition.resources for pool in pools if sessions or not pool.is_session]
    return sum(getattr(needs, resource) or 0 for needs in counted)


def _amount(shown: str, total: float) -> str:
    if "memory" in shown:
        return _bytes(total)
    return _gpus(int(total)) if "GPU" in shown else _cores(total)


def _cores(count: float) -> str:
    return f"{count:g} core" if count == 1 else f"{count:g} cores"


def _gpus(count: int) -> str:
    return f"{count or 'no'} GPU" if count <= 1 else f"{count} GPUs"


def _bytes(count: float) -> str:
    return f"{format_bytes(count)} of memory"
