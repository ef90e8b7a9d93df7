"""The record of a spawned call, and its text and static HTML."""

from __future__ import annotations

import reprlib
import time
from dataclasses import dataclass
from html import escape
from typing import Any

from nbfn.jupyter.views.maps.static_render import short_id
from nbfn.jupyter.views.saved_text import snapshot_note
from nbfn.jupyter.views.status_style import box_html, code_html, look_of, mark_html, mark_of
from nbfn.protocol.call_states import (
    ONE_WAITS,
    CallState,
    InputCounts,
    counts_text,
    retry_text,
    with_running,
)
from nbfn.runtime.time_span import format_span

#: Characters of the last printed line, and of the result, that are shown.
LINE_WIDTH, RESULT_WIDTH = 80, 200


@dataclass(slots=True)
class CallRecord:
    """The state of a spawned call, as known to this notebook.

    Attributes:
        state: A `CallState`, or reconnecting or expired.
        counts: The inputs in each state.
        began: When it was made or last retried, on the observer's clock.
        took: Its duration in seconds, if it has ended and the duration is known.
        place: Its position in the queue of its Function.
        printed: The last line that it printed.
        result: The result or error as text.
        kept_until: Until when the hub keeps the result; in `time.time` seconds.
    """

    call: str
    function: str = ""
    version: int = 0
    app: str = ""
    began: float = 0.0
    state: str = "queued"
    total: int | None = 1
    counts: InputCounts = ONE_WAITS
    place: int = 0
    waiting_for: str = ""
    worker: str = ""
    attempt: int = 1
    printed: str = ""
    result: str = ""
    ended: float | None = None
    took: float | None = None
    kept_until: float = 0.0

    def update(self, **values: Any) -> None:
        """Set attributes."""
        for name, value in values.items():
            setattr(self, name, value)

    def add_output(self, text: str) -> None:
        """Store the last line of output that is not empty."""
        if lines := [line for line in text.splitlines() if line.strip()]:
            self.update(printed=lines[-1][:LINE_WIDTH])

    def count(self, counts: InputCounts) -> None:
        """Set the inputs that have ended; as many of the others run as before."""
        self.counts = with_running(counts, self.counts.running)

    def finish(self, status: str, now: float) -> None:
        """Set the state of a call that ended."""
        state = {"success": CallState.SUCCEEDED, "terminated": CallState.CANCELLED}.get(status)
        self.update(state=state or CallState.FAILED, ended=now, took=now - self.began)

    def restart(self, now: float) -> None:
        """Reset the state, because inputs without a result run again."""
        self.update(state="queued", ended=None, took=None, began=now)
        self.update(result="", printed="", worker="", attempt=1)

    @property
    def look(self) -> str:
        """The key of its mark and colour."""
        return look_of(self.state, self.counts)

    @property
    def title(self) -> str:
        """The name and version of its Function."""
        name = self.function or "call"
        return f"{name} v{self.version}" if self.version else name


def value_text(value: object) -> str:
    """Return the repr of a value in one line, shortened if it is long."""
    short_repr = reprlib.Repr()
    short_repr.maxstring = short_repr.maxother = RESULT_WIDTH
    try:
        text = " ".join(short_repr.repr(value).split())
    except Exception as error:  # noqa: BLE001 - raised by the user's repr
        text = f"<{type(value).__name__} whose repr failed: {type(error).__name__}>"
    return text if len(text) <= RESULT_WIDTH else f"{text[: RESULT_WIDTH - 1]}…"


def error_text(error: BaseException) -> str:
    """Return an error in one line, shortened if it is long."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if len(text) <= RESULT_WIDTH else f"{text[: RESULT_WIDTH - 1]}…"


def summary_parts(record: CallRecord, now: float) -> list[str]:
    """Return the parts of the summary after the title: state, time, id, progress, worker."""
    over = record.ended is not None
    elapsed = record.took if over else now - record.began
    found = [f"{record.state} {format_span(elapsed)}" if elapsed is not None else record.state]
    found.append(short_id(record.call))
    if record.total != 1:
        found.append(counts_text(record.counts))
    if record.worker:
        found.append(record.worker[:9])
    if record.attempt > 1 or (record.worker and not over):
        found.append(f"attempt {record.attempt}")
    return found + (_after(record) if over else _before(record))


def _before(record: CallRecord) -> list[str]:
    waits = record.state in ("queued", "starting")
    found = [f"place {record.place:,} in the queue"] if waits and record.place else []
    if record.waiting_for and (waits or record.total != 1):
        found.append(record.waiting_for)
    return found + ([f"“{record.printed}”"] if record.printed else [])


def _after(record: CallRecord) -> list[str]:
    kept = record.kept_until if record.state in ("succeeded", "failed") else 0.0
    return [f"kept until {_day(kept)}"] if kept else []


def _day(when: float) -> str:
    return time.strftime("%d %b %H:%M", time.localtime(when)).lstrip("0")


def line(record: CallRecord, now: float) -> str:
    """Return a call in one line of plain text, with its result if there is one.

    Examples:
        >>> line(CallRecord("fc-9qa2AAAA", "train", 2, state="succeeded", ended=192.0, took=192.0, result="7"), 200.0)
        '✓ train v2 · succeeded 3:12 · fc-9qa2\\n  7'
    """
    pieces = [*summary_parts(record, now), *_advice(record)]
    text = " · ".join([f"{mark_of(record.look)} {record.title}", *pieces])
    return f"{text}\n  {record.result}" if record.result else text


def html(record: CallRecord, now: float) -> str:
    """Return a call as static HTML, without scripts."""
    said = escape(" · ".join([*summary_parts(record, now), *_advice(record)]))
    head = f"<div>{mark_html(record.look)} <b>{escape(record.title)}</b> · {said}</div>"
    return box_html(head, code_html(record.result) if record.result else "")


def _advice(record: CallRecord) -> list[str]:
    """Return the magics to use without buttons: to see the result, or to retry."""
    if record.ended is None:
        return [snapshot_note(record.call)]
    if record.state not in (CallState.FAILED, CallState.CANCELLED):
        return []
    said = "runs it again" if record.total == 1 else f"· {retry_text(record.counts)}"
    return [f"%fn retry {record.call} {said}"]
