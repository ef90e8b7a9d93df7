"""How many workers a pool should have. Pure functions of numbers.

The rule is the one of a thermostat with a warm floor: a worker for each input that waits, as long
as the work that waits is worth a worker's start; never under ``min``, never over ``max``; and
``buffer`` idle ones on top while the pool is in use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbfn.protocol.messages import Resources

#: Seconds of waiting work that justify one more worker. A blank one is bound in about 5 ms and a
#: fresh fork comes up in 30, so
#: a tenth of a second is earned back even when the estimate is off by two.
WORTH_A_WORKER = 0.1
#: Defaults of a Function that sets nothing; the window is Modal's.
DEFAULT_WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """A pool's settings, all filled in; ``limited`` is whether ``max_containers`` was set, and not what fits."""

    min_containers: int = 0
    max_containers: int = 1
    buffer_containers: int = 0
    scaledown_window: float = DEFAULT_WINDOW
    limited: bool = True


@dataclass(frozen=True, slots=True)
class Load:
    """What a pool has to do: inputs waiting, inputs at work, the usual seconds of one (None: not
    known yet), and how many a worker should have at once. A batch counts as one input.
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
    else:  # those at work may be too many for their workers, and those with room take some that wait
        waiting = load.backlog + load.running - load.busy_workers * load.per_worker
        places = math.ceil(waiting / load.per_worker)
    if places <= 0:
        more = 0
    elif load.duration is None:
        more = min(places, cores - load.busy_workers)  # as many as there are cores, then see
    else:
        more = min(places, math.ceil(waiting * load.duration / WORTH_A_WORKER))
    if load.backlog and not load.busy_workers:
        more = max(more, 1)  # however little it is, somebody has to do it
    return load.busy_workers + max(more, 0)


def threads(
    resources: Resources, settings: Settings, cores: int, *, at_once: int, fixed: int
) -> tuple[int, str]:
    """Return how many threads numeric libraries use in a worker, and why: its share of the processors.

    Args:
        resources: What a worker needs: a share that was asked for is what it gets.
        settings: The pool's limits: other workers get as much.
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
