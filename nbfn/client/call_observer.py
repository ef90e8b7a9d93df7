"""Where what happens during a call goes: prints and displays of remote code, progress, the end.

The notebook layer registers an `Observer`; without one, output is written to this process's own
stdout and stderr. Nothing here knows widgets, and the calls know nothing of observers but this.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nbfn.client import console
from nbfn.runtime import console_output
from nbfn.runtime.time_span import format_span

if TYPE_CHECKING:
    from nbfn.protocol.messages import Emission, Output, Progress

logger = logging.getLogger("nbfn.client")


@dataclass(frozen=True, slots=True)
class CallView:
    """A call, as an observer sees it.

    Attributes:
        id: The call's id.
        function: The Function's name.
        version: Its version.
        app: Its App's name, empty for an unnamed one.
        kind: remote, map, spawn or generator.
        total: Inputs there will be, or None while that is not known.
        created: When the call began, in `time.time` seconds.
        cancel: Cancels the call; safe from any thread, does not block.
        call: The call itself, an `ActiveCall`: a map can be detached, and its failures be run again.
    """

    id: str
    function: str
    version: int
    app: str
    kind: str
    total: int | None
    created: float
    cancel: Callable[[], None]
    call: object = None


class CallSink(Protocol):
    """What hears of one call. All but `failed` is called from the client's thread; nothing may block."""

    def emission(self, e: Emission) -> None:
        """Take what remote code wrote; comes before the result of the input that wrote it."""

    def progress(self, p: Progress) -> None:
        """Take where the call stands at the hub."""

    def outputs(
        self, done: int, failed: int, total: int | None, new: Sequence[Output] = ()
    ) -> None:
        """Take how many inputs have ended, and which, a batch at a time.

        Args:
            done: Inputs that have ended.
            failed: How many of them failed.
            total: How many inputs there are; None while that is not known.
            new: The outcomes that came last, in the order in which they came.
        """

    def connected(self, up: bool) -> None:
        """Take that the hub was lost, or is back."""

    def failed(self, index: int, error: BaseException) -> None:
        """Take the error of one input of a map. Called on the consumer's thread, when it is unpacked."""

    def finished(self, status: str, error: BaseException | None) -> None:
        """Take the end: success, failure or terminated."""


class Observer(Protocol):
    """What is told of every call that begins."""

    def call_started(self, call: CallView) -> CallSink | None:
        """Choose the sink of a call, or None for the default one. Called on the thread that makes the call."""


class TextSink:
    """Writes what remote code wrote to this process's stdout and stderr; displays as their plain text."""

    def emission(self, e: Emission) -> None:
        """See `CallSink.emission`."""
        if text := plain_text(e):
            console.write("stderr" if e.channel == "stderr" else "stdout", text)

    def progress(self, p: Progress) -> None:
        """See `CallSink.progress`."""

    def outputs(
        self, done: int, failed: int, total: int | None, new: Sequence[Output] = ()
    ) -> None:
        """See `CallSink.outputs`."""

    def connected(self, up: bool) -> None:
        """See `CallSink.connected`."""

    def failed(self, index: int, error: BaseException) -> None:
        """See `CallSink.failed`."""

    def finished(self, status: str, error: BaseException | None) -> None:
        """See `CallSink.finished`."""


class RowSink(TextSink):
    """Also keeps a row of a map's progress, for who enabled the output.

    In a terminal it is rewritten in its place, elsewhere it is a line for each tenth.

    Args:
        call: The map.
        where: Where the row goes.
    """

    def __init__(self, call: CallView, where: console_output.Output) -> None:
        self._name = call.function
        self._output = where
        self._began = time.monotonic()
        self._shown = 0.0  # when, in a terminal; which tenth, elsewhere
        self._row = ""
        console.rows.append(self)

    def hide(self) -> None:
        """Take the row away, for what is to be written in its place."""
        if self._row and self._output.rewritable:
            self._output.write(_CLEAR)

    def show(self) -> None:
        """Write the row again."""
        if self._row and self._output.rewritable:
            self._output.write(self._row)

    def outputs(
        self, done: int, failed: int, total: int | None, new: Sequence[Output] = ()
    ) -> None:
        """See `CallSink.outputs`."""
        self._row = self._text(done, failed, total)
        if self._output.rewritable:
            if (now := time.monotonic()) - self._shown >= ROW_EVERY:
                self._shown = now
                self._output.write(f"{_CLEAR}{self._row}")
        elif total and (tenth := 10 * done // total) > self._shown and tenth < 10:
            self._shown = tenth
            self._output.line(self._row)

    def _text(self, done: int, failed: int, total: int | None) -> str:
        seconds = time.monotonic() - self._began
        parts = [f"{self._name}  {done:,}/{'?' if total is None else f'{total:,}'}"]
        parts += [f"{failed:,} failed"] if failed else []
        parts.append(format_span(seconds))
        if total and done:
            parts[-1] += (
                f", {format_span(seconds * (total - done) / done)} left" if done < total else ""
            )
        return "  ".join(parts)

    def finished(self, status: str, error: BaseException | None) -> None:
        """See `CallSink.finished`."""
        if self._row:
            start = _CLEAR if self._output.rewritable else ""
            self._output.line(f"{start}{self._row}{'' if status == 'success' else f'  {status}'}")
            self._row = ""
        with contextlib.suppress(ValueError):
            console.rows.remove(self)


def plain_text(e: Emission) -> str:
    """Return what remote code wrote as text; of a display its plain form."""
    text = e.data.decode("utf-8", "replace")
    if e.channel in ("stdout", "stderr"):
        return text
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        plain = json.loads(text).get("data", {}).get("text/plain", "")
        return f"{plain}\n" if plain else ""
    return ""


#: Seconds between two writings of a row in a terminal.
ROW_EVERY = 0.25
#: Goes to the beginning of the line and clears it.
_CLEAR = "\r\x1b[2K"

_observer: Observer | None = None


def set_observer(observer: Observer | None) -> None:
    """Tell this observer of every call from now on; None goes back to plain output."""
    global _observer
    _observer = observer


def interrupted(call_id: str, name: str) -> bool:
    """Tell the observer, if there is one that cares, that the caller of a call was interrupted.

    Returns:
        Whether the caller has been told that a second interrupt detaches it.
    """
    told = getattr(_observer, "interrupted", None)
    if told is None:
        return False
    try:
        return bool(told(call_id, name))
    except Exception:
        logger.exception("An observer of nbfn failed")
        return False


def begin(call: CallView) -> CallSink:
    """Return the sink of a call that begins now."""
    sink = None
    if _observer is not None:
        try:
            sink = _observer.call_started(call)
        except Exception:
            logger.exception("An observer of nbfn failed")
    if sink is not None:
        return sink
    where = console_output.current()
    return RowSink(call, where) if where is not None and call.kind == "map" else TextSink()
