"""Every state of every widget, made of recorded events: a notebook's cells show them one by one.

`test_gallery` puts this file beside its notebook. What it tells the sinks of `nbfn.jupyter` are the messages
that a client would; how they are shown is left to what is tested.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import HTML, display
from msgspec.structs import replace

from nbfn.client import call_observer
from nbfn.client.calls import failed_inputs, map_call
from nbfn.config import Places
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.observer import NotebookObserver
from nbfn.jupyter.views.maps import static_render
from nbfn.protocol import messages
from nbfn.protocol.call_states import InputCounts, InputState
from nbfn.serialization.payload import Serializer
from nbfn.types import InputStatus

GOOD, BAD, STOPPED = map(int, (InputStatus.SUCCESS, InputStatus.FAILURE, InputStatus.TERMINATED))
WORKERS = [
    {"id": f"wk-{number}Qz7b", "pid": 4301 + number, "state": state, "memory": memory}
    for number, (state, memory) in enumerate(
        [("busy", 851_000_000), ("idle", 23_068_672), ("starting", None)]
    )
]


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class RecordedCall(map_call.MapCall):
    """The call of a map whose inputs have failed and could run again."""

    def __init__(self) -> None:
        self.results = lambda: None
        self.id, self.failing = "fc-gallery", False
        self._successor = self._retried = self._rest = None
        self.counts, self.over = InputCounts(), Future()
        self.failures = failed_inputs.FailedInputs(Serializer(Places.of(Path.cwd()), "gallery"))
        self.why = ""

    @property
    def held(self) -> str:
        """See `MapCall.held`."""
        return self.why


def progress(call: str, waiting: int, running: int, **more: Any) -> messages.Progress:
    """Return what the hub says of a call with these inputs."""
    fields = {"retrying": 0, "workers": running, "starting": 0} | more
    state = "running" if running else "starting" if fields["starting"] else "queued"
    counts = InputCounts(waiting + running, running=running, waiting=waiting)
    return messages.Progress(call, state, counts, **fields)


class Map:
    """One map, told step by step."""

    def __init__(self, total: int | None = 1000, seconds: float = 43.0) -> None:
        self.clock = Clock()
        observer = NotebookObserver(now=self.clock)
        observer.quiet.add(("churn", "embed"))  # shown when we say so, not by a ticker
        self.call = f"fc-{os.urandom(2).hex()}AAAAAAAAAAAAAAAAAA"
        sink = observer.call_started(
            call_observer.CallView(
                *(self.call, "embed", 4, "churn", "map", total, 0.0, lambda: None),
                call=RecordedCall(),
            )
        )
        assert sink is not None
        self.sink: Any = sink
        self.total = total
        self._seconds = seconds
        self._counts = InputCounts()

    def stands(self, queued: int, running: int = 0, **more: Any) -> Map:
        """Take what the hub says of it."""
        self.sink.progress(progress(self.call, queued, running, **more))
        return self

    def ran(self, count: int, failed: int = 0) -> Map:
        """Have so many inputs end, in ten steps."""
        failing = [(count // (failed + 1)) * (n + 1) for n in range(failed)]
        for step in range(10):
            self.clock.now += self._seconds / 10
            first, last = step * count // 10, (step + 1) * count // 10
            bad = {i for i in failing if first <= i < last}
            new = [
                messages.Output(i, BAD if i in bad else GOOD, duration=0.3 + (i % 17) / 10)
                for i in range(first, last)
            ]
            self._counts += messages.count_outputs(new)
            self._report(new)
            for index in sorted(bad):
                self.sink.call.failures.keep(index, messages.Payload(b""), InputState.FAILED)
                self.sink.failed(index, _error(index))
        return self

    def _report(self, new: Sequence[messages.Output] = ()) -> None:
        known = self._counts.settled if self.total is None else self.total
        counts = replace(self._counts, total=known, waiting=known - self._counts.settled)
        self.sink.outputs(counts, self.total is None, new)

    def stopped(self, cancelled: int) -> Map:
        """Have its other inputs not run; so many of them were stopped."""
        assert self.total is not None
        left = self.total - self._counts.settled
        self._counts += InputCounts(left, cancelled=cancelled, not_run=left - cancelled)
        self._report()
        return self

    def printed(self, lines: int = 120) -> Map:
        """Have it print."""
        for index in range(lines):
            data = f"page {index}: {index * 37 % 900} words, <b>as they are</b>\n".encode()
            self.sink.emission(messages.Emission(self.call, index, 1, "stdout", data))
        return self

    def show(self) -> Map:
        """Show the widget."""
        self.sink.show(self.clock())
        if self.sink.stats.ended is None:
            self.sink.displays[0]._widget._poller._rows = lambda: WORKERS
        return self

    def again(self) -> Map:
        """Show what changed since."""
        self.sink.show(self.clock())
        return self

    def end(self, status: str) -> Map:
        """End it."""
        self.sink.finished(status, None)
        return self

    def saved(self) -> Map:
        """Show what a saved notebook has of it."""
        display(HTML(static_render.html(self.sink.stats, self.clock())))
        return self


def _error(index: int) -> BaseException:
    try:
        if index % 3:
            raise ValueError(f"bad shape ({index}, 3), expected (8, 3)")
        raise FileNotFoundError(2, "No such file or directory", f"/data/pages/<{index}>.txt")
    except Exception as error:
        return error


def stalled() -> Map:
    """A map that waits for what no worker has."""
    return Map().stands(1000, waiting_for="no worker offers gpu=1")


def held() -> Map:
    """A map whose loop takes no more results."""
    made = Map(None).ran(1000)
    made.stands(0).clock.now += 20
    made.sink.call.why = "1,000 results wait to be taken"
    return made


def failing() -> Map:
    """A map in which some inputs failed and some run again."""
    return (
        Map()
        .stands(331, 8, retrying=2, starting=2, workers=8, newest=5)
        .printed()
        .ran(612, failed=7)
    )


#: Maps that go on, by the word that is shown; in the order of a map's life.
LIVE: dict[str, Callable[[], Map]] = {
    "unknown": lambda: Map(None),
    "queued": lambda: Map().stands(1000),
    "starting": lambda: Map().stands(1000, starting=2),
    "running": lambda: Map().stands(200, 8).ran(612),
    "reading": lambda: Map(None).stands(200, 8).ran(60),
    "failing": failing,
    "stalled": stalled,
    "held": held,
    "binned": lambda: Map(40_000).stands(29_000, 8).ran(10_000, failed=3),
}


def live(name: str) -> None:
    """Show a map that goes on."""
    LIVE[name]().show()


def saved(name: str) -> None:
    """Show what a notebook that is saved meanwhile has of it."""
    LIVE[name]().saved()


def detached() -> None:
    """Show a map that its cell has left."""
    shown = Map().stands(331, 8).ran(612, failed=7).show()
    shown.sink.stats.detached = True
    shown.sink.stats.note = f"%fn attach {shown.call} gives the results."
    shown.sink.connected(True)
    shown.again()


def reconnecting() -> None:
    """Show a map whose hub is away."""
    shown = Map().stands(331, 8).ran(612).show()
    shown.sink.connected(False)
    shown.again()


def ended(name: str) -> None:
    """Show the end of a map: what stays on the page, and what a saved notebook has of it."""
    made = Map(1000, 72.0).stands(300, 8).printed(3)
    if name == "succeeded":
        made.ran(1000).show().end("success")
    elif name == "failed in parts":
        made.ran(1000, failed=7).show().end("failure").saved()
    elif name == "failed":
        made.ran(321, failed=1).show().stopped(8).end("failure").saved()
    else:
        made.ran(321, failed=2).show().stopped(8).end("terminated").saved()


def handle_of(name: str) -> None:
    """Show the handle of a spawned call."""
    clock = Clock()
    call = f"fc-{os.urandom(2).hex()}AAAAAAAAAAAAAAAAAA"
    sink: Any = NotebookObserver(now=clock).call_started(
        call_observer.CallView(call, "train", 2, "churn", "spawn", 1, 0.0, lambda: None)
    )
    clock.now = 192.0
    HANDLES[name](sink, call)
    sink.show_at(OutputArea(), get_ipython().user_ns)


def _told(sink: Any, call: str, queued: int, running: int = 0, **more: Any) -> None:
    sink.progress(progress(call, queued, running, **more))


def _runs(sink: Any, call: str, attempt: int = 1) -> None:
    _told(sink, call, 0, 1)
    data = b"epoch 7/20 loss 0.31\n"
    sink._output.emission = lambda e: None  # the widget, without what is printed below it
    sink.emission(messages.Emission(call, 0, attempt, "stdout", data, "wk-3Qz7bAAAA"))


def _ends(sink: Any, status: str, result: str = "") -> None:
    sink.finished(status, None)
    sink.record.update(result=result, kept_until=1_800_000_000.0)


def _expires(sink: Any, call: str) -> None:
    about = {"num_inputs": 1, "closed": True, "expired": True, "name": "train", "version": 2}
    sink.apply_info(messages.CallInfo(1, call, "fu-1", "spawn", **about), known=False)


HANDLES: dict[str, Callable[[Any, str], None]] = {
    "queued": lambda sink, call: _told(sink, call, 12, place=12, waiting_for="max 8 reached"),
    "starting": lambda sink, call: _told(sink, call, 1, starting=1),
    "running": lambda sink, call: _runs(sink, call, attempt=2),
    "reconnecting": lambda sink, call: (_runs(sink, call), sink.connected(False))[-1],
    "succeeded": lambda sink, call: _ends(
        sink, "success", "{'loss': 0.25, 'note': '<b>as it is</b>'}"
    ),
    "failed": lambda sink, call: _ends(sink, "failure", "ValueError: bad shape (8, 4)"),
    "cancelled": lambda sink, call: _ends(sink, "terminated"),
    "expired": _expires,
}
