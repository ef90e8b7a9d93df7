"""A map of no-ops: inputs a second when nobody says how to cut them up."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from loky import ProcessPoolExecutor

from tests.bench import functions, peers
from tests.bench.clock import in_turns
from tests.bench.home import home, register
from tests.bench.options import Options
from tests.bench.table import Row, rate, times

#: What is promised, in inputs a second.
BUDGET = 100_000
#: Chunks that loky is tried with; the best one is shown.
CHUNKS = (100, 1000, 10_000)


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to map, and over how many inputs: slow ones get fewer."""

    run: Callable[[range], object]
    inputs: int

    def __call__(self) -> None:
        """Do it."""
        self.run(range(self.inputs))


def measure(options: Options) -> Iterator[Row]:
    """Yield the rate against each peer's."""
    with contextlib.ExitStack() as stack:
        contenders = _contenders(options, stack)
        found = in_turns(contenders, rounds=options.count(5, 2))
    rates = {name: contenders[name].inputs / min(took) for name, took in found.items()}
    ours = rates.pop("nbfn")
    best = max((name for name in rates if name.startswith("loky, chunk")), key=rates.__getitem__)
    shown = [name for name in rates if not name.startswith("loky, chunk") or name == best]
    what = f"map of {contenders['nbfn'].inputs:,} no-ops, best of {len(found['nbfn'])}"
    yield Row(what, rate(ours), "", "", f"≥ {rate(BUDGET)}", ours >= BUDGET)
    for name in shown:
        label = f"{name} (its best)" if name == best else name
        yield Row("", "", f"{label} {rate(rates[name])}", times(ours / rates[name]))
    yield from peers.no_ray(options)


def _contenders(options: Options, stack: contextlib.ExitStack) -> dict[str, Contender]:
    cores = os.cpu_count() or 1
    many, few = options.count(100_000, 20_000), options.count(5000, 1000)
    executor = stack.enter_context(peers.loky(cores))
    view = stack.enter_context(peers.ipyparallel(cores)).load_balanced_view()
    ray = stack.enter_context(peers.ray(options, cores))
    stack.enter_context(home())
    ours = register(functions.same, max_containers=cores)
    found = {
        "nbfn": Contender(lambda xs: list(ours.map(xs)), many),
        "loky, its default": Contender(lambda xs: list(executor.map(functions.same, xs)), few),
        "ipyparallel": Contender(lambda xs: list(view.map_sync(functions.same, xs)), few // 20),
    }
    for chunk in CHUNKS:
        found[f"loky, chunksize {chunk:,}"] = Contender(_chunked(executor, chunk), many)
    if ray:
        task = ray.remote(functions.same)
        found["Ray"] = Contender(lambda xs: ray.get([task.remote(x) for x in xs]), few)
    return found


def _chunked(executor: ProcessPoolExecutor, chunk: int) -> Callable[[range], object]:
    return lambda xs: list(executor.map(functions.same, xs, chunksize=chunk))
