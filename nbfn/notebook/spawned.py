"""What is known of a spawned call, and how it reads as text and as static HTML."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from html import escape
from typing import Any

from .palette import boxed, coded, mark_of, marked
from .snapshot import as_of, clock, short

#: Characters of the last printed line, and of the result, that are shown.
LINE_WIDTH, RESULT_WIDTH = 80, 200


@dataclass(slots=True)
class Spawned:
    """One spawned call, as far as this notebook has heard of it.

    Attributes:
        state: queued, running, done, failed, cancelled.
        began: When it was made here, or seen first; by the clock that ``now`` is read from.
        place: Inputs before it in the queue of its Function, and its own.
        printed: The last line that it printed.
        result: The result, or the error, as people read it.
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
        self.changed(state=state, ended=now)

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
    elapsed = clock((spawned.ended if spawned.ended is not None else now) - spawned.began)
    found = [f"{spawned.state} {elapsed}", short(spawned.call)]
    if spawned.total != 1:
        total = "?" if spawned.total is None else f"{spawned.total:,}"
        found.append(f"{spawned.done:,} / {total}")
        found += [f"{spawned.failed:,} failed"] if spawned.failed else []
    if spawned.state == "queued" and spawned.place:
        found.append(f"{spawned.place:,} in the queue")
    found += [spawned.waiting_for] if spawned.waiting_for and spawned.ended is None else []
    found += [spawned.worker[:9]] if spawned.worker else []
    found += [f"attempt {spawned.attempt}"] if spawned.attempt > 1 else []
    found += [f"“{spawned.printed}”"] if spawned.printed and spawned.ended is None else []
    return found


def line(spawned: Spawned, now: float) -> str:
    """Return it in one line of plain text, with its result when there is one.

    Examples:
        >>> line(Spawned("fc-9qa2AAAA", "train", 2, state="running", printed="epoch 7/20"), 192.0)
        '● train v2 · running 3:12 · fc-9qa2 · “epoch 7/20”'
    """
    text = " · ".join([f"{mark_of(spawned.state)} {spawned.title}", *parts(spawned, now)])
    return f"{text}\n  {spawned.result}" if spawned.result else text


def html(spawned: Spawned, now: float) -> str:
    """Return it as static HTML, without scripts."""
    pieces = parts(spawned, now) + ([as_of(spawned.call)] if spawned.ended is None else [])
    said = escape(" · ".join(pieces))
    head = f"<div>{marked(spawned.state)} <b>{escape(spawned.title)}</b> · {said}</div>"
    return boxed(head, coded(spawned.result) if spawned.result else "")
