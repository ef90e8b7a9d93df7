"""A warm call of a no-op: the whole way there and back, with nothing to do in between."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.bench import functions, peers
from tests.bench.clock import Action, in_turns, medians
from tests.bench.home import home, register
from tests.bench.options import Options
from tests.bench.table import Row, faster, seconds, times

WHAT = "warm remote() of a no-op, median"


def measure(options: Options) -> Iterator[Row]:
    """Yield the median against each peer's."""
    with contextlib.ExitStack() as stack:
        contenders = _contenders(options, stack)
        found = medians(
            in_turns(contenders, rounds=options.count(20, 4), each=options.count(100, 50))
        )
    ours = found["nbfn"]
    for name, theirs in found.items():
        if name == "loky":
            yield Row(
                WHAT,
                seconds(ours),
                f"loky {seconds(theirs)}",
                times(ours / theirs),
                "≤ 2 × loky",
                ours <= 2 * theirs,
            )
        elif name != "nbfn":
            least = 3 if name == "Ray" else 8
            ratio = faster(theirs, ours)
            yield Row(
                "",
                "",
                f"{name} {seconds(theirs)}",
                ratio,
                f"≥ {least} × faster",
                theirs >= least * ours,
            )
    yield from peers.no_ray(options)


def _contenders(options: Options, stack: contextlib.ExitStack) -> dict[str, Action]:
    executor = stack.enter_context(peers.loky())
    engines = stack.enter_context(peers.ipyparallel())
    ray = stack.enter_context(peers.ray(options))
    stack.enter_context(home())
    ours = register(functions.same)
    direct, balanced = engines[0], engines.load_balanced_view()
    found: dict[str, Action] = {
        "nbfn": lambda: ours.remote(1),
        "loky": lambda: executor.submit(functions.same, 1).result(),
        "ipyparallel, one engine": lambda: direct.apply_sync(functions.same, 1),
        "ipyparallel, load-balanced": lambda: balanced.apply_sync(functions.same, 1),
    }
    if ray:
        task = ray.remote(functions.same)
        found["Ray"] = lambda: ray.get(task.remote(1))
    return found
