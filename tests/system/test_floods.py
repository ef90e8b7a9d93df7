"""Too much of something: cancels, prints, results that nobody takes (docs/guarantees.md, F23, F39, F42)."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

import nbfn
from nbfn.client import call_observer
from nbfn.client.client import Client
from nbfn.exception import Error
from nbfn.protocol import messages as m
from tests.conftest import wait_until

app = nbfn.App()
MB = 2**20


@app.function()
def double(number: int) -> int:
    return 2 * number


def hub() -> psutil.Process:
    return psutil.Process(Client.attach().overview().hub.pid)


def test_f39_a_thousand_cancels_of_what_is_over_or_never_was(home: Path) -> None:
    call = double.spawn(1)
    assert call.get() == 2
    client = Client.attach()
    for n in range(500):
        client.send(m.Cancel(0, call.object_id))
        client.send(m.Cancel(0, f"fc-{n:022d}", (1, 2, 3)))
    call.cancel()
    assert call.get() == 2
    assert double.remote(2) == 4


def test_f42_100_mb_of_prints_are_cut_and_marked(home: Path) -> None:
    @app.function(name="loud")
    def loud() -> int:
        line = "x" * 99_999
        for _ in range(1000):
            print(line)
        return 1

    heard = [0]
    last = [""]

    class Sink(call_observer.TextSink):
        def emission(self, e: m.Emission) -> None:
            heard[0] += len(e.data)
            last[0] = e.data[-200:].decode()

    class Observer(call_observer.CallObserver):
        def call_started(self, call: call_observer.CallView) -> Sink:
            return Sink()

    assert double.remote(1) == 2
    process = hub()
    before = process.memory_info().rss
    call_observer.set_observer(Observer())
    try:
        assert loud.remote() == 1
    finally:
        call_observer.set_observer(None)
    assert 10 * MB < heard[0] < 20 * MB
    assert "is cut here" in last[0]
    workers = [w for w in Client.attach().overview().workers if w.function == "loud"]
    assert all((w.memory or 0) < 200 * MB for w in workers)
    assert process.memory_info().rss - before < 80 * MB


def test_f23_a_slow_consumer_stops_the_reading_ahead(home: Path) -> None:
    pulled = [0]

    def source() -> object:
        while True:
            pulled[0] += 1
            yield pulled[0]

    results = iter(double.map(source()))
    for n in range(1, 301):
        assert next(results) == 2 * n
    seen = -1

    def still() -> bool:
        nonlocal seen
        before, seen = seen, pulled[0]
        time.sleep(0.1)
        return before == seen

    wait_until(still)
    assert pulled[0] <= 300 + 8192 + 128, "as far as the window, and no further"
    stats = double.get_current_stats()
    assert stats.backlog == 0
    results.close()
    with pytest.raises(StopIteration):
        next(results)
    assert double.remote(1) == 2


def test_f41_a_module_that_raises_at_import_is_told_at_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nb_broken_module.py").write_text(
        "import os\nif 'NBFN_WORKER' in os.environ:\n    raise RuntimeError('no such licence')\nvalue = 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import nb_broken_module  # type: ignore[import-not-found]

    @app.function(name="broken")
    def broken() -> int:
        return nb_broken_module.value  # type: ignore[no-any-return]

    begun = time.monotonic()
    with pytest.raises((Error, RuntimeError), match="no such licence"):
        broken.remote()
    assert time.monotonic() - begun < 8
    assert double.remote(1) == 2
