"""The sink of a spawned call, with the events that the client sends."""

from __future__ import annotations

import pytest

from nbfn.client.call_observer import CallView
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.calls import call_sink
from nbfn.jupyter.views.calls.call_sink import SpawnSink
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import Emission
from tests.call_progress import progress
from tests.conftest import wait_until


def sink_of(call: str) -> SpawnSink:
    view = CallView(call, "train", 2, "churn", "spawn", 1, 0.0, lambda: None)
    return SpawnSink(view, OutputArea(), lambda: 0.0)


def test_it_follows_the_call_from_the_queue_to_its_end() -> None:
    sink = sink_of("fc-1")
    seen = []
    for queued, running, starting in ((3, 0, 0), (1, 0, 1), (0, 1, 0)):
        sink.progress(progress("fc-1", queued, running, starting=starting, place=queued))
        seen.append((sink.record.state, sink.record.place))
    assert seen == [("queued", 3), ("starting", 1), ("running", 0)]
    sink.connected(False)
    assert sink.record.state == "reconnecting"
    sink.finished("success", None)
    assert sink.record.state == "succeeded"


def test_nothing_that_comes_later_changes_the_end() -> None:
    sink = sink_of("fc-2")
    sink.finished("terminated", None)
    sink.progress(progress("fc-2", not_run=1, state="cancelled"))
    sink.emission(Emission("fc-2", 0, 2, "stdout", b"late\n", "wk-1"))
    sink.connected(True)
    sink.finished("success", None)
    assert sink.record.state == "cancelled"


def test_a_call_that_runs_again_has_another_end() -> None:
    sink = sink_of("fc-3")
    sink.outputs(InputCounts(1, failed=1), more=False)
    sink.finished("failure", None)
    sink.progress(progress("fc-3", failed=1, state="failed"))
    assert sink.record.state == "failed"
    sink.progress(progress("fc-3", 1, workers=1))
    assert (sink.record.state, sink.record.ended, sink.record.counts.failed) == ("queued", None, 0)
    sink.finished("success", None)
    assert sink.record.state == "succeeded"


def test_a_call_that_ends_while_its_display_is_made_is_shown_as_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []

    class CallDisplay(call_sink.CallDisplay):
        def _publish(self, area: OutputArea, *, update: bool) -> None:
            shown.append(self._record.state)
            if not update:
                sink.finished("failure", None)

    monkeypatch.setattr(call_sink, "CallDisplay", CallDisplay)
    monkeypatch.setattr(call_sink, "fetch_preview", lambda _: None)
    sink = sink_of("fc-4")
    sink.show_at(OutputArea(), {})
    wait_until(lambda: len(shown) == 2)
    assert shown == ["queued", "failed"]
