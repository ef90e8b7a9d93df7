"""How many workers a pool should have, as pure functions.

A pool gets a worker for each waiting input, as long as the waiting work justifies the start of a worker,
between ``min`` and ``max`` workers, and ``buffer`` additional idle workers while it is in use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbfn.protocol.messages import Resources

#: Seconds of waiting work that justify one more worker. Binding a blank worker takes about 5 ms and a fork
#: about 30 ms, so 0.1 s pays off even if the estimate is wrong by a factor of two.
WORTH_A_WORKER = 0.1
#: Default of ``scaledown_window``, the same as Modal's.
DEFAULT_WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective settings of a pool; ``limited`` is whether ``max_containers`` was set by the user."""

    min_containers: int = 0
    max_containers: int = 1
    buffer_containers: int = 0
    scaledown_window: float = DEFAULT_WINDOW
    limited: bool = True


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a pool: waiting inputs, running inputs, the usual seconds of one (None: unknown), and how many
    a worker should run at once. A batch counts as one input.
    """

    backlog: int
    running: int
    busy_workers: int
    duration: float | None
    per_worker: int = 1


def useful(load: Load, cores: int) -> int:
    """Return how many workers the load can use, before any limit."""
    if load.per_worker == 1:
        waiting = places = load.backlog
    else:  # busy workers may have too many inputs, or room for some waiting ones
        waiting = load.backlog + load.running - load.busy_workers * load.per_worker
        places = math.ceil(waiting / load.per_worker)
    if places <= 0:
        more = 0
    elif load.duration is None:
        # At most one per core until a duration is known.
        more = min(places, cores - load.busy_workers)
    else:
        more = min(places, math.ceil(waiting * load.duration / WORTH_A_WORKER))
    if load.backlog and not load.busy_workers:
        more = max(more, 1)  # any work needs at least one worker
    return load.busy_workers + max(more, 0)


def threads(
    resources: Resources, settings: Settings, cores: int, *, at_once: int, fixed: int
) -> tuple[int, str]:
    """Return how many threads numeric libraries use in a worker, and the reason: its share of the processors.

    Args:
        resources: The resources of a worker; a requested share is used as it is.
        settings: The pool's limits; all its workers get the same share.
        cores: Processors of the machine.
        at_once: Inputs that run in threads of one worker at once, each of which uses as many.
        fixed: The setting ``worker_threads``; 0 when there is none.

    Examples:
        >>> class Cpu:
        ...     cpu, cpu_limit = 3.0, None
        >>> threads(Cpu(), Settings(max_containers=4), 8, at_once=1, fixed=0)
        (3, 'cpu=3')
    """
    if fixed:
        return fixed, "the setting worker_threads"
    if asked := resources.cpu_limit or resources.cpu:
        share, why = min(asked, cores), f"cpu={asked:g}"
    else:
        most = settings.max_containers
        share, why = cores / max(most, 1), f"{cores} cores / max_containers {most}"
        if not settings.limited:
            why = f"{cores} cores / {most} workers, as max_containers is not set"
    if at_once > 1:
        why += f" / {at_once} inputs at once"
    return max(1, int(share / at_once)), why


def wanted(load: Load, settings: Settings, cores: int) -> int:
    """Return the number of workers the pool should have now.

    Args:
        load: The load of the pool.
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
