"""A notebook: from Run to the first remote print, and what showing a long map costs, in real kernels."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

from tests.bench.clock import in_turns
from tests.bench.home import home
from tests.bench.million import Watch
from tests.bench.options import Options
from tests.bench.table import Row, megabytes, rate, seconds, times
from tests.notebook.kernel import Kernel

#: What tells nbfn that a page is there which shows widgets.
PAGE = {"JPY_SESSION_NAME": "bench/bench.ipynb"}
#: How much longer a map may take because it is shown.
COST = 1.10
#: Updates a second, bytes a second, and bytes of memory that a map may take.
UPDATES, TRAFFIC, MEMORY = 4, 64_000, 100e6

_CELL = "%%remote --quiet --app bench --max 2\ndef same(x): return x\ndef say(x): print('said', x)"
#: How a map is shown: as ever, not at all, and with nobody there who counts.
_WAYS = {
    "shown": "observer.progress = True\nnbfn.client.call_observer.set_observer(observer)",
    "off": "observer.progress = False\nnbfn.client.call_observer.set_observer(observer)",
    "unwatched": "nbfn.client.call_observer.set_observer(None)",
}
_LOUD = "import nbfn.client.call_observer\nobserver = get_ipython()._nbfn_observer\nobserver.quiet.clear()"
_MAP = "import collections\ncollections.deque(same.map(range({})), maxlen=0)"


def measure(options: Options) -> Iterator[Row]:
    """Yield the figures of a first print, then those of a map with a widget and with lines of text."""
    inputs = options.count(100_000, 20_000)
    with home():
        with _kernel(PAGE) as kernel:
            yield from _first_prints(kernel, options.count(20, 5))
            kernel.execute(_LOUD)
            yield from _memory(kernel, inputs)
            yield from _traffic(kernel, inputs)
            yield from _cost("its widget", kernel, inputs, options.count(7, 1))
        with _kernel({}) as kernel:
            kernel.execute(_CELL)
            kernel.execute(_LOUD)
            yield from _cost("its lines of text", kernel, inputs, options.count(7, 1))


@contextlib.contextmanager
def _kernel(variables: dict[str, str]) -> Iterator[Kernel]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JPY_", "VSCODE_"))}
    address = str(Path(os.environ["NBFN_HOME"]) / "kernel")
    manager = KernelManager(kernel_name="python3", transport="ipc", ip=address)
    manager.start_kernel(env=kept | variables)
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        kernel = Kernel(client, manager)
        kernel.execute("%load_ext nbfn")
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _first_prints(kernel: Kernel, count: int) -> Iterator[Row]:
    """Run a cell whose Function prints; at first nothing runs yet, not even a hub."""
    cold = _until_said(kernel, f"{_CELL}\n%local\nsay.remote(0)")
    warm = [_until_said(kernel, f"say.remote({number})") for number in range(1, count + 1)]
    yield Row("Run → first remote print, the first cell", seconds(cold), "", "", "≤ 3 s", cold <= 3)
    usual = statistics.median(warm)
    yield Row("Run → remote print, any later one", seconds(usual), "", "", "≤ 50 ms", usual <= 0.05)


def _until_said(kernel: Kernel, code: str) -> float:
    began = time.perf_counter()
    cell = kernel.execute(code, wait=False)
    kernel.until(lambda: "said" in kernel.text(cell))
    took = time.perf_counter() - began
    kernel.until(lambda: kernel.ended(cell))
    return took


def _memory(kernel: Kernel, inputs: int) -> Iterator[Row]:
    kernel.execute(_MAP.format(1000))
    watch = Watch(kernel=_pid(kernel))
    kernel.execute(_MAP.format(inputs))
    grown = watch.finish()["kernel"]
    what = f"the kernel grows during a map of {inputs:,} by"
    yield Row(what, megabytes(grown), "", "", f"< {megabytes(MEMORY)}", grown < MEMORY)


def _pid(kernel: Kernel) -> int:
    cell = kernel.execute("import os\nos.getpid()")
    return int(kernel.shown(cell)[0])


def _traffic(kernel: Kernel, inputs: int) -> Iterator[Row]:
    began = time.perf_counter()
    cell = kernel.execute(_MAP.format(inputs))
    took = time.perf_counter() - began
    told = [m for m in kernel.said[cell] if m["msg_type"] not in ("status", "execute_input")]
    updates = [m for m in told if m["msg_type"] == "comm_msg"]
    size = sum(map(_size, told))
    what = f"messages to the page of a map of {inputs:,}"
    yield Row(
        what,
        f"{len(told)} in {seconds(took)}",
        "",
        "",
        f"≤ {UPDATES} updates/s",
        len(updates) <= UPDATES * took + 1,
    )
    yield Row(
        "… bytes of them",
        f"{size / 1000:.1f} kB",
        "",
        "",
        "≤ 64 kB/s",
        size <= TRAFFIC * max(1.0, took),
    )


def _size(message: dict[str, Any]) -> int:
    return len(json.dumps(message["content"])) + sum(len(part) for part in message["buffers"])


def _cost(what: str, kernel: Kernel, inputs: int, rounds: int) -> Iterator[Row]:
    """Compare a map that is shown with one that is not, in turns."""

    def mapped(way: str) -> None:
        kernel.execute(_WAYS[way])
        kernel.execute(_MAP.format(inputs))

    found = in_turns({way: functools.partial(mapped, way) for way in _WAYS}, rounds=rounds)
    kernel.execute(_WAYS["shown"])
    best = {way: rate(inputs / min(took)) for way, took in found.items()}
    ratios = {way: _ratio(found["shown"], took) for way, took in found.items()}
    name = f"map of {inputs:,} no-ops with {what}, best of {rounds}"
    peer, longer = f"progress off {best['off']}", f"{times(ratios['off'])} as long"
    yield Row(name, best["shown"], peer, longer, f"≤ {times(COST)}", ratios["off"] <= COST)
    yield Row("", "", f"no observer {best['unwatched']}", f"{times(ratios['unwatched'])} as long")


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median of the rounds' ratios: two maps of one round have the same machine."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
