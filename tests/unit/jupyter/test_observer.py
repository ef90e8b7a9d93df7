"""Sinks and displays of calls, with a fake output area instead of a kernel."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nbfn.client.call_observer import CallView
from nbfn.client.calls.failed_inputs import FailedInputs
from nbfn.client.calls.map_call import MapCall
from nbfn.jupyter import observer
from nbfn.jupyter.views.calls import print_sink
from nbfn.jupyter.views.maps.map_sink import SHOWN_DISPLAYS, MapSink
from nbfn.jupyter.views.maps.result_patching import put_into_lists
from nbfn.protocol.call_states import InputCounts, InputState
from nbfn.protocol.messages import Emission, Output, Payload
from nbfn.serialization.payload import Serializer
from nbfn.types import InputStatus
from tests.call_progress import progress


class RecordingArea:
    """A fake output area that records output."""

    notebook = True
    widgets = False
    rewritable = False
    cell = ""

    def __init__(self) -> None:
        self.text = ""
        self.emitted: list[tuple[str, bytes]] = []
        self.published: list[dict[str, Any]] = []
        self.stream_key = (id(self),)

    def run(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return action(*args, **kwargs)

    def write(self, channel: str, text: str) -> None:
        self.text += text

    def publish(self, data: dict[str, Any], **kwargs: Any) -> None:
        self.published.append(data)

    def emit(self, channel: str, data: bytes) -> None:
        self.emitted.append((channel, data))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def area(monkeypatch: pytest.MonkeyPatch) -> RecordingArea:
    area = RecordingArea()
    monkeypatch.setattr(observer, "OutputArea", lambda: area)
    return area


def call(kind: str = "map", total: int | None = 100, name: str = "embed") -> CallView:
    return CallView("fc-7f3k", name, 4, "churn", kind, total, time.time(), lambda: None)


def said(text: str, channel: str = "stdout", index: int = 0) -> Emission:
    return Emission("fc-7f3k", index, 1, channel, text.encode())


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def started(view: CallView, clock: Clock | None = None, **options: Any) -> Any:
    return observer.NotebookObserver(now=clock or Clock(), **options).call_started(view)


def test_a_single_call_prints_as_it_comes(area: RecordingArea) -> None:
    sink = started(call("remote"))
    sink.emission(said("hello\n"))
    assert area.text == "hello\n"


def test_a_single_call_that_waits_long_says_for_what_and_each_reason_once() -> None:
    area, clock, looked_after = RecordingArea(), Clock(), []
    notebook = cast("Any", SimpleNamespace(now=clock, keep_updating=looked_after.append))
    sink = print_sink.PrintSink(call("remote", 1), cast("Any", area), notebook)

    def waits(why: str, running: int = 0) -> None:
        sink.progress(progress("fc-7f3k", 1 - running, running, waiting_for=why))

    waits("max 1 reached")
    clock.now += print_sink.PATIENCE - 1
    sink.show(clock.now)
    waits("", running=1)
    assert (area.text, sink.ended) == ("", True)  # it began in time
    sink.connected(up=False)
    clock.now += print_sink.PATIENCE
    sink.show(clock.now)
    sink.show(clock.now)
    sink.connected(up=True)
    assert area.text == "○ embed: waits for the hub, which does not answer now\n"
    assert (sink.ended, looked_after) == (True, [sink, sink])


def test_the_wait_of_a_single_call_counts_from_its_beginning() -> None:
    area, clock = RecordingArea(), Clock()
    notebook = cast("Any", SimpleNamespace(now=clock, keep_updating=lambda _: None))
    sink = print_sink.PrintSink(call("remote", 1), cast("Any", area), notebook)
    clock.now += print_sink.PATIENCE  # the hub tells only of what waits long
    sink.progress(progress("fc-7f3k", 1, waiting_for="max 1 reached"))
    sink.show(clock.now)
    assert area.text == "○ embed: max 1 reached\n"


def test_a_short_map_shows_its_prints_and_no_progress(area: RecordingArea) -> None:
    sink = started(call())
    sink.emission(said("hello\n"))
    sink.outputs(InputCounts(100, 100), more=False)
    assert area.text == ""
    sink.finished("success", None)
    assert area.text == "hello\n"


def test_a_long_map_writes_a_line_every_ten_percent(area: RecordingArea) -> None:
    clock = Clock()
    sink = started(call(total=1000), clock)
    clock.now += 1.0
    until(lambda: "embed v4" in area.text)
    for done in range(0, 1001, 100):
        clock.now += 1.0
        sink.outputs(InputCounts(1000, done, waiting=1000 - done), more=False)
        until(lambda: sink.displays[0]._reached[1] == done // 100)  # noqa: B023
    sink.emission(said("one\n" * 50))
    sink.finished("success", None)
    lines = area.text.splitlines()
    assert len([line for line in lines if " / 1,000" in line]) == 11
    assert "… 45 lines printed before these:" in lines
    assert lines[-1] == "✓ embed.map · 1,000 succeeded · 0:12 · fc-7f3k"


def test_a_map_of_unknown_length_writes_a_line_at_each_power_of_ten(area: RecordingArea) -> None:
    watching = observer.NotebookObserver(now=Clock(), progress=False)
    sink: Any = watching.call_started(call(total=None))
    for done in range(0, 1501, 5):
        sink.outputs(InputCounts(done, done), more=True)
        sink.show(101.0)
    sink.outputs(InputCounts(2000, 1501, waiting=499), more=False)
    sink.show(101.0)
    counts = [line.split(" · ")[2] for line in area.text.splitlines()]
    assert counts == ["0 / ?", "10 / ?", "100 / ?", "1,000 / ?", "1,501 / 2,000"]


def test_a_terminal_has_one_line_below_the_prints(area: RecordingArea) -> None:
    area.rewritable = True
    clock = Clock()
    sink = started(call(), clock)
    clock.now += 1.0
    until(lambda: "queued" in area.text)
    sink.emission(said("one\n"))
    until(lambda: "\r\x1b[2Kone\nembed v4 · queued" in area.text)
    sink.finished("success", None)
    assert area.text.endswith("\r\x1b[2K✓ embed.map · succeeded · 0 inputs · 1.0 s · fc-7f3k\n")


def test_a_map_can_be_quiet(area: RecordingArea) -> None:
    clock = Clock()
    watching = observer.NotebookObserver(now=clock)
    watching.quiet.add(("churn", "embed"))
    sink = watching.call_started(call())
    assert isinstance(sink, MapSink)
    assert watching._running == []
    assert observer.NotebookObserver(progress=False)._running == []


def ended(index: int, status: InputStatus = InputStatus.SUCCESS) -> Output:
    return Output(index, status, duration=0.1)


def test_the_strip_is_of_the_inputs_own_indices(area: RecordingArea) -> None:
    sink = started(call(total=5))
    new = [ended(3), ended(1, InputStatus.FAILURE)]
    sink.outputs(InputCounts(5, 1, 1, waiting=3), more=False, new=new)
    new = [ended(0), ended(4, InputStatus.TERMINATED)]
    sink.outputs(InputCounts(5, 2, 1, 1, waiting=1), more=False, new=new)
    cells = sink.stats.strip()
    assert list(cells[::3]) == [100, 0, 0, 100, 0]
    assert list(cells[1::3]) == [0, 100, 0, 0, 0]
    assert list(cells[2::3]) == [0, 0, 0, 0, 100]
    assert (sink.stats.done, sink.stats.failed, sink.stats.total) == (4, 1, 5)


class Recorded(MapCall):
    """The call of a map with failed inputs."""

    held = ""

    def __init__(self, failed: int, size: int) -> None:
        self.results = lambda: None
        self._successor = self._retried = self._rest = None
        self.over = Future()
        self.failures = FailedInputs(cast("Serializer", SimpleNamespace(discard=lambda _: None)))
        for index in range(failed):
            self.failures.keep(index, Payload(bytes(size)), InputState.FAILED)


def test_only_what_is_kept_can_be_run_again_and_the_latest_maps_keep_theirs(
    area: RecordingArea, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "FAILURES_KEPT", 2500)
    watching = observer.NotebookObserver(now=Clock(), progress=False)
    sinks: list[Any] = []
    for number, failed in enumerate((3, 1, 1, 0)):
        view = call()
        changed = {"id": f"fc-{number}", "call": Recorded(failed, 1000)}
        sinks.append(watching.call_started(dataclasses.replace(view, **changed)))
        sinks[-1].outputs(
            InputCounts(3, 1, 2), more=False
        )  # one that failed was too large to be kept, say
        sinks[-1].finished("success", None)
    assert [sink.stats.retryable for sink in sinks] == [0, 1, 1, 0]
    assert "were discarded" in sinks[0].stats.note
    assert [sink.stats.note for sink in sinks[1:]] == ["", "", ""]


def test_results_go_where_the_very_exceptions_stand() -> None:
    one, two = ValueError("1"), ValueError("2")
    names: dict[str, Any] = {
        "results": [0, one, 20, two],
        "errors": [one, two],
        "other": [0, ValueError("1"), 20, ValueError("2")],
        "Out": {3: [one, 1, 2, two]},
    }
    names["alias"] = names["results"]
    found = put_into_lists(names, {1: one, 3: two}, {1: 10, 3: 30}, 4)
    assert found == ["results", "alias", "Out[3]"]
    assert names["results"] == [0, 10, 20, 30]
    assert names["Out"][3] == [10, 1, 2, 30]
    assert names["errors"] == [one, two]
    assert isinstance(names["other"][1], ValueError)


def test_why_nothing_moves(area: RecordingArea) -> None:
    sink = started(call())
    sink.progress(progress("fc-7f3k", 100, starting=2, waiting_for="max 8 reached"))
    assert (sink.stats.state, sink.stats.waiting_for) == ("starting", "max 8 reached")


@pytest.mark.parametrize(
    ("status", "state"),
    [("success", "succeeded"), ("failure", "failed"), ("terminated", "cancelled")],
)
def test_the_words_of_the_end(area: RecordingArea, status: str, state: str) -> None:
    sink = started(call())
    sink.finished(status, ValueError("bad") if status == "failure" else None)
    assert sink.stats.state == state
    assert bool(sink.stats.groups) == (status == "failure")


def test_displays_of_a_map_are_bounded(area: RecordingArea) -> None:
    sink = started(call())
    for _ in range(100):
        sink.emission(said("{}", "display"))
    sink.emission(said("{}", "clear"))
    assert len(area.emitted) == SHOWN_DISPLAYS
    assert sink.stats.lines == 80


def test_settling_waits_for_the_last_word(area: RecordingArea) -> None:
    watching = observer.NotebookObserver()
    sink: Any = watching.call_started(call())
    sink.outputs(InputCounts(100, 100), more=False)
    threading.Timer(0.05, sink.finished, ("success", None)).start()
    watching.finish_cell()
    assert sink.ended.is_set()


def test_an_observer_that_fails_harms_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no shell")

    monkeypatch.setattr(observer, "OutputArea", broken)
    assert observer.NotebookObserver().call_started(call()) is None


def test_a_spawned_call_ends_once(area: RecordingArea) -> None:
    """Fetching its result follows it again, so its end is reported again."""
    clock = Clock()
    watching = observer.NotebookObserver(now=clock)
    first = watching.call_started(call("spawn", 1))
    again = watching.call_started(call("spawn", None))
    assert again is first
    assert isinstance(first, observer.SpawnSink)
    first.outputs(InputCounts(1, 1), more=True)
    first.finished("success", None)
    clock.now += 50
    first.finished("success", None)
    assert (first.record.total, first.record.ended) == (1, 100.0)
