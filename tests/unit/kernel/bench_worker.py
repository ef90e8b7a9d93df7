"""What a worker costs, measured with a fake hub: run as ``python -m tests.unit.kernel.bench_worker``."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from nbfn.wire.messages import Confirm, Results, Run
from tests.unit.kernel.fake_hub import FakeHub, fake_hub


def starts(hub: FakeHub, count: int = 20) -> list[float]:
    times = []
    for n in range(count):
        began = time.perf_counter()
        hub.start(f"wk-s{n}")
        times.append((time.perf_counter() - began) * 1e3)
    return times


def memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def round_trips(hub: FakeHub, worker: str, count: int = 2000) -> list[float]:
    peer, router, times = hub.peers[worker], hub.router, []
    source, _ = router.sources
    for entry in hub.inputs(*((n,) for n in range(count))):
        began = time.perf_counter()
        router.send(peer, Run((entry,), entry.lease - 1))
        while True:
            source.poll(1000)
            if any(isinstance(m, Results) for _, m in router.receive()):
                break
        times.append((time.perf_counter() - began) * 1e6)
    return times


def batch(hub: FakeHub, worker: str, count: int = 1000) -> float:
    inputs = hub.inputs(*((n,) for n in range(count)))
    peer, router, done = hub.peers[worker], hub.router, 0
    source, _ = router.sources
    began = time.perf_counter()
    router.send(peer, Run(inputs))
    while done < count:
        source.poll(1000)
        for _, message in router.receive():
            assert isinstance(message, Results)
            done += len(message.results)
    took = time.perf_counter() - began
    router.send(peer, Confirm(message.seq))
    return took / count * 1e6


def main() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, fake_hub(monkeypatch) as hub:
        began = time.perf_counter()
        hello = hub.start("wk-0")
        print(f"fork server and first worker    {(time.perf_counter() - began) * 1e3:8.1f} ms")
        times = starts(hub)
        print(
            f"submit to hello, median         {statistics.median(times):8.1f} ms  (max {max(times):.1f})"
        )
        print(f"PSS of an idle worker           {memory(hello.pid):8.1f} MiB (of 21 alive)")
        hub.bind("wk-0", "def f(x): return x")
        round_trips(hub, "wk-0", 200)
        trips = sorted(round_trips(hub, "wk-0"))
        print(
            f"round trip of one input, median {statistics.median(trips):8.1f} µs  (p99 {trips[-20]:.0f})"
        )
        batches = [batch(hub, "wk-0") for _ in range(20)]
        print(
            f"no-op in a batch of 1000        {statistics.median(batches):8.2f} µs each (min {min(batches):.2f})"
        )
        print(f"no-op in a batch of 10000       {batch(hub, 'wk-0', 10000):8.2f} µs each")
        hub.start("wk-1")
        hub.bind("wk-1", "def f(x): raise ValueError(x)")
        print(f"exception in a batch of 1000    {batch(hub, 'wk-1'):8.2f} µs each")
        print(f"PSS after all that              {memory(hello.pid):8.1f} MiB")


if __name__ == "__main__":
    main()
