"""Where what happens during a call goes: prints and displays of remote code, progress, the end.

The notebook layer registers an `Observer`; without one, output is written to this process's own
stdout and stderr. Nothing here knows widgets, and the calls know nothing of observers but this.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nbfn.session import OpenCall
    from nbfn.wire.messages import Emission, Output, Progress

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
        call: The call itself: a map can be detached, and its failures be run again.
    """

    id: str
    function: str
    version: int
    app: str
    kind: str
    total: int | None
    created: float
    cancel: Callable[[], None]
    call: OpenCall | None = None


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
        stream = sys.stderr if e.channel == "stderr" else sys.stdout
        text = plain_text(e)
        if text and stream is not None:
            stream.write(text)
            stream.flush()

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


def plain_text(e: Emission) -> str:
    """Return what remote code wrote as text; of a display its plain form."""
    text = e.data.decode("utf-8", "replace")
    if e.channel in ("stdout", "stderr"):
        return text
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        plain = json.loads(text).get("data", {}).get("text/plain", "")
        return f"{plain}\n" if plain else ""
    return ""


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
    return sink if sink is not None else TextSink()
