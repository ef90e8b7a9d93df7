"""The same words and numbers in widget, text, row and command line, while a real map runs."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn import cli
from nbfn.client import call_observer
from nbfn.client.client import Client
from nbfn.jupyter.observer import NotebookObserver
from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_sink import MapSink
from nbfn.jupyter.views.maps.widget import view_of
from nbfn.protocol.call_states import InputState, counts_text
from tests.conftest import wait_until

Said = tuple[str, int, dict[str, int]]


@pytest.fixture
def observer() -> Iterator[NotebookObserver]:
    made = NotebookObserver(progress=False)
    call_observer.set_observer(made)
    yield made
    call_observer.set_observer(None)


class Watched:
    """One map as each display has it: its state, its total, and its inputs by state."""

    def __init__(self, sink: MapSink, capsys: pytest.CaptureFixture[str]) -> None:
        self.sink = sink
        self._capsys = capsys

    def widget(self) -> Said:
        with self.sink.lock:
            view = view_of(self.sink.stats, self.sink._observer.now())
        return view["state"], view["total"], view["counts"]

    def row(self) -> Said:
        calls = Client.attach().overview().calls
        found = next(row for row in calls if row.id == self.sink.stats.call)
        counts = {str(state): count for state, count in found.counts.items()}
        return found.state, found.total, counts

    def command(self) -> Said:
        self._capsys.readouterr()
        cli.main(["call", "list", "--json"])
        rows = json.loads(self._capsys.readouterr().out)
        found = next(row for row in rows if row["call_id"] == self.sink.stats.call)
        return found["state"], found["total"], {str(s): found[str(s)] for s in InputState}

    def agree(self) -> bool:
        return self.widget() == self.row() == self.command()

    def check_sums(self) -> None:
        for state, total, counts in (self.widget(), self.row()):
            assert sum(counts.values()) == total, (state, total, counts)
            assert min(counts.values()) >= 0


@pytest.mark.parametrize("seed", range(3))
def test_every_display_says_the_same(
    seed: int, tmp_path: Path, observer: NotebookObserver, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(seed)
    app = nbfn.App()

    @app.function(max_containers=2, serialized=True)
    def gated(n: int, gates: Path) -> int:
        import time

        while not (gates / str(n)).exists():
            time.sleep(0.005)
        if n % 4 == 3:
            raise ValueError(f"no {n}")
        return n

    count = 30
    results = gated.map(range(count), [tmp_path] * count, return_exceptions=True)
    results.collect()
    watched = Watched(results.sink, capsys)
    wait_until(lambda: watched.row()[2]["running"] == 2)
    wait_until(watched.agree)
    left = list(range(count))
    for _ in range(3):
        for _ in range(chance.randrange(1, 5)):
            (tmp_path / str(left.pop(0))).touch()
            watched.check_sums()
        done = count - len(left)
        wait_until(lambda: watched.row()[2]["waiting"] == count - done - 2)  # noqa: B023
        watched.check_sums()
        wait_until(watched.agree)
    way = ("widget", "client", "command")[seed]
    if way == "widget":
        watched.sink.cancel()
    elif way == "client":
        Client.attach().cancel_call(results.call_id)
    else:
        assert cli.main(["call", "cancel", results.call_id]) == 0
    wait_until(lambda: watched.sink.stats.ended is not None)
    wait_until(watched.agree)
    watched.check_sums()
    state, total, counts = watched.row()
    assert (state, total, counts["running"], counts["waiting"]) == ("cancelled", count, 0, 0)
    assert counts["cancelled"] == 2
    assert counts["not run"] == len(left) - 2
    text = static_render.text(watched.sink.stats, watched.sink._observer.now())
    assert f"cancelled · {counts_text(watched.sink.stats.counts)}" in text
    assert f"%fn retry {results.call_id} · Retry" in text
    for n in left:
        (tmp_path / str(n)).touch()
    again = threading.Thread(target=results.retry)
    again.start()
    watched.check_sums()
    again.join(60)
    wait_until(watched.agree)
    state, total, counts = watched.row()
    failing = sum(n % 4 == 3 for n in range(count))
    assert (state, counts["succeeded"], counts["failed"]) == ("failed", count - failing, failing)


def test_a_map_that_fails_hands_back_what_had_finished_and_runs_the_rest(tmp_path: Path) -> None:
    app = nbfn.App()

    @app.function(max_containers=1, serialized=True)
    def fails_once(n: int, mended: Path) -> int:
        if n == 8 and not mended.exists():
            raise ValueError("eight")
        return n * 10

    count, mended = 3000, tmp_path / "mended"
    results: Any = fails_once.map(range(count), [mended] * count)
    with pytest.raises(ValueError, match="eight") as raised:
        list(results)
    assert raised.value.map_result is results  # type: ignore[attr-defined]
    finished = results.finished
    assert [finished[n] for n in range(8)] == [n * 10 for n in range(8)]
    assert all(value == n * 10 for n, value in finished.items())
    wait_until(lambda: not results.counts.waiting)
    counts = results.counts
    assert (counts.total, counts.failed) == (count, 1)
    assert counts.succeeded + counts.cancelled + counts.not_run == count - 1
    row = next(row for row in nbfn.calls() if row.id == results.call_id)
    assert (row.state, row.counts) == ("failed", counts)
    mended.touch()
    found = results.retry()
    assert len(found) == count - counts.succeeded
    assert results.finished | found == {n: n * 10 for n in range(count)}
    assert results.counts.succeeded == count
    row = next(row for row in nbfn.calls() if row.id == results.call_id)
    assert (row.state, row.total, row.succeeded) == ("succeeded", count, count)
