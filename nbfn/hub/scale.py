"""How many workers a pool should have. Pure functions of numbers.

The rule is the one of a thermostat with a warm floor: a worker for each input that waits, as long
as the work that waits is worth a worker's start; never under ``min``, never over ``max``; and
``buffer`` idle ones on top while the pool is in use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Seconds of waiting work that justify one more worker. A blank one is bound in about 5 ms and a
#: fresh fork comes up in 30, so
#: a tenth of a second is earned back even when the estimate is off by two.
WORTH_A_WORKER = 0.1
#: Defaults of a Function that sets nothing; the window is Modal's.
DEFAULT_WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """A pool's settings, all filled in."""

    min_containers: int = 0
    max_containers: int = 1
    buffer_containers: int = 0
    scaledown_window: float = DEFAULT_WINDOW


@dataclass(frozen=True, slots=True)
class Load:
    """What a pool has to do: inputs waiting, inputs at work, and the usual seconds of one (None:
    not known yet).
    """

    backlog: int
    running: int
    busy_workers: int
    duration: float | None


def useful(load: Load, cores: int) -> int:
    """Return how many workers the load can use, before any limit."""
    if not load.backlog:
        return load.busy_workers
    if load.duration is None:
        more = min(load.backlog, cores - load.busy_workers)  # as many as there are cores, then see
    else:
        more = min(load.backlog, math.ceil(load.backlog * load.duration / WORTH_A_WORKER))
    more = max(more, 0 if load.busy_workers else 1)  # however little it is, somebody has to do it
    return load.busy_workers + more


def wanted(load: Load, settings: Settings, cores: int) -> int:
    """Return the number of workers the pool should have now.

    Args:
        load: What there is to do.
        settings: The pool's limits.
        cores: Processors of the machine.

    Returns:
        A number between ``min_containers`` and ``max_containers``.

    Examples:
        >>> wanted(Load(backlog=10, running=0, busy_workers=0, duration=1.0), Settings(0, 4), 2)
        4
        >>> wanted(Load(backlog=10, running=0, busy_workers=0, duration=1e-6), Settings(0, 4), 2)
        1
    """
    need = useful(load, cores)
    active = bool(load.backlog or load.running)
    buffered = need + (settings.buffer_containers if active else 0)
    return max(settings.min_containers, min(buffered, settings.max_containers))
