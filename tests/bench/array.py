"""A large array as argument, against copying it once in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from tests.bench import functions, peers
from tests.bench.clock import Action, in_turns, medians
from tests.bench.home import home, register
from tests.bench.options import Options
from tests.bench.table import Row, faster, seconds, times

BYTES = 100_000_000
#: Of one copy and a no-op call.
BUDGET = 1.2


def measure(options: Options) -> Iterator[Row]:
    """Yield the time against a copy into fresh memory, into warm memory, and each peer's."""
    array = np.ones(BYTES // 8)
    with contextlib.ExitStack() as stack:
        contenders = _contenders(options, stack, array)
        found = medians(in_turns(contenders, rounds=options.count(10, 2)))
    ours = found.pop("nbfn")
    noop = found.pop("no-op remote()")
    what = f"{BYTES // 10**6} MB array as argument, median"
    for how in ("fresh", "warm"):
        copy = found.pop(f"copy into {how} memory")
        against, budget = copy + noop, f"≤ {BUDGET} × (copy into {how} memory + no-op)"
        peer = f"copy into {how} memory {seconds(copy)} + no-op {seconds(noop)}"
        yield Row(
            what,
            seconds(ours) if what else "",
            peer,
            times(ours / against),
            budget,
            ours <= BUDGET * against,
        )
        what = ""
    for name, theirs in found.items():
        yield Row("", "", f"{name} {seconds(theirs)}", faster(theirs, ours))
    yield from peers.no_ray(options)


def _contenders(
    options: Options, stack: contextlib.ExitStack, array: np.ndarray
) -> dict[str, Action]:
    executor = stack.enter_context(peers.loky())
    engines = stack.enter_context(peers.ipyparallel())
    ray = stack.enter_context(peers.ray(options))
    stack.enter_context(home())
    noop, ours = register(functions.same), register(functions.size)
    warm = np.zeros_like(array)
    found: dict[str, Action] = {
        "nbfn": lambda: ours.remote(array),
        "no-op remote()": lambda: noop.remote(1),
        "copy into fresh memory": lambda: np.copy(array),
        "copy into warm memory": lambda: np.copyto(warm, array),
        "loky": lambda: executor.submit(functions.size, array).result(),
        "ipyparallel": lambda: engines[0].apply_sync(functions.size, array),
    }
    if ray:
        task = ray.remote(functions.size)
        found["Ray"] = lambda: ray.get(task.remote(array))
    return found
