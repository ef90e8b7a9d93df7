"""What is known of a spawned call, and how it reads as text and as static HTML."""

from __future__ import annotations

import reprlib
import time
from dataclasses import dataclass
from html import escape
from typing import Any

from nbfn.jupyter.views.maps.static_render import as_of, short
from nbfn.jupyter.views.status_style import boxed, coded, mark_of, marked
from nbfn.runtime.time_span import format_span

#: Characters of the last printed line, and of the result, that are shown.
LINE_WIDTH, RESULT_WIDTH = 80, 200


@dataclass(slots=True)
class Spawned:
    """One spawned call, as far as this notebook has heard of it.

    Attributes:
        state: queued, starting workers, running, reconnecting, done, failed, cancelled, expired.
        began: When it was made, or retried last; by the clock that ``now`` is read from.
        took: Seconds that it took, once it has ended and where that is known.
        place: Which turn from now is its own in the queue of its Function.
        printed: The last line that it printed.
        result: The result, or the error, as people read it.
        kept_until: Until when the hub keeps that; in `time.time` seconds.
    """

    call: str
    function: str = ""
    version: int = 0
    app: str = ""
    began: float = 0.0
    state: str = "queued"
    total: int | None = 1
    done: int = 0
    failed: int = 0
    place: int = 0
    waiting_for: str = ""
    worker: str = ""
    attempt: int = 1
    printed: str = ""
    result: str = ""
    ended: float | None = None
    took: float | None = None
    kept_until: float = 0.0

    def changed(self, **values: Any) -> None:
        """Take news."""
        for name, value in values.items():
            setattr(self, name, value)

    def wrote(self, text: str) -> None:
        """Keep the last line that is not empty."""
        if lines := [line for line in text.splitlines() if line.strip()]:
            self.changed(printed=lines[-1][:LINE_WIDTH])

    def finish(self, status: str, now: float) -> None:
        """Take the end."""
        state = {"success": "done", "terminated": "cancelled"}.get(status, "failed")
        self.changed(state=state, ended=now, took=now - self.began)

    def restart(self, now: float) -> None:
        """Take that it goes on: its failed inputs run again."""
        self.changed(state="queued", ended=None, took=None, began=now)
        self.changed(result="", printed="", worker="", attempt=1, done=0, failed=0)

    @property
    def title(self) -> str:
        """Its Function and version."""
        name = self.function or "call"
        return f"{name} v{self.version}" if self.version else name


def shown(value: object) -> str:
    """Return a value in one line, cut where it is long."""
    short_repr = reprlib.Repr()
    short_repr.maxstring = short_repr.maxother = RESULT_WIDTH
    try:
        text = " ".join(short_repr.repr(value).split())
    except Exception as error:  # noqa: BLE001 - a repr of the user's
        text = f"<{type(value).__name__} whose repr failed: {type(error).__name__}>"
    return text if len(text) <= RESULT_WIDTH else f"{text[: RESULT_WIDTH - 1]}…"


def told(error: BaseException) -> str:
    """Return an error in one line, cut where it is long."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if len(text) <= RESULT_WIDTH else f"{text[: RESULT_WIDTH - 1]}…"


def parts(spawned: Spawned, now: float) -> list[str]:
    """Return what there is to say after the title, piece by piece."""
    over = spawned.ended is not None
    elapsed = spawned.took if over else now - spawned.began
    found = [f"{spawned.state} {format_span(elapsed)}" if elapsed is not None else spawned.state]
    found.append(short(spawned.call))
    if spawned.total != 1:
        total = "?" if spawned.total is None else f"{spawned.total:,}"
        found.append(f"{spawned.done:,} / {total}")
        found += [f"{spawned.failed:,} failed"] if spawned.failed else []
    if spawned.worker:
        found.append(spawned.worker[:9])
    if spawned.attempt > 1 or (spawned.worker and not over):
        found.append(f"attempt {spawned.attempt}")
    return found + (_after(spawned) if over else _before(spawned))


def _before(spawned: Spawned) -> list[str]:
    waits = spawned.state in ("queued", "starting workers")
    found = [f"place {spawned.place:,} in the queue"] if waits and spawned.place else []
    if spawned.waiting_for and (waits or spawned.total != 1):
        found.append(spawned.waiting_for)
    return found + ([f"“{spawned.printed}”"] if spawned.printed else [])


def _after(spawned: Spawned) -> list[str]:
    kept = spawned.kept_until if spawned.state in ("done", "failed") else 0.0
    return [f"kept until {_day(kept)}"] if kept else []


def _day(when: float) -> str:
    return time.strftime("%d %b %H:%M", time.localtime(when)).lstrip("0")


def line(spawned: Spawned, now: float) -> str:
    """Return it in one line of plain text, with its result when there is one.

    Examples:
        >>> line(Spawned("fc-9qa2AAAA", "train", 2, state="done", ended=192.0, took=192.0, result="7"), 200.0)
        '✓ train v2 · done 3:12 · fc-9qa2\\n  7'
    """
    pieces = [*parts(spawned, now), *_advice(spawned)]
    text = " · ".join([f"{mark_of(spawned.state)} {spawned.title}", *pieces])
    return f"{text}\n  {spawned.result}" if spawned.result else text


def html(spawned: Spawned, now: float) -> str:
    """Return it as static HTML, without scripts."""
    said = escape(" · ".join([*parts(spawned, now), *_advice(spawned)]))
    head = f"<div>{marked(spawned.state)} <b>{escape(spawned.title)}</b> · {said}</div>"
    return boxed(head, coded(spawned.result) if spawned.result else "")


def _advice(spawned: Spawned) -> list[str]:
    """Return what stands where no buttons are: how to see what became of it, or to run it again."""
    if spawned.ended is None:
        return [as_of(spawned.call)]
    return [f"%fn retry {spawned.call} runs it again"] if spawned.state == "failed" else []
