"""The interface for displays of calls: `CallObserver` is told of each call and returns its `CallSink`.

The notebook registers an observer. Without one, the output of remote code is written to this process's own stdout
and stderr.

A log record of remote code is handled by this process's loggers, on the client's thread, before the result of the input
that logged it. Text for this process's stdout or stderr is shown among the remote prints; all other handlers (files,
sockets, the user's own) get the record itself.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from nbfn.client import console
from nbfn.context import is_local
from nbfn.protocol.call_states import CallState, InputState
from nbfn.protocol.log_records import load_record
from nbfn.runtime import console_output
from nbfn.runtime.time_span import format_span

if TYPE_CHECKING:
    from nbfn.protocol.call_states import InputCounts
    from nbfn.protocol.messages import Emission, Output, Progress

logger = logging.getLogger("nbfn.client")

#: What to do when the caller of a call was interrupted: cancel the call at once, or wait for a second interrupt, which
#: detaches it, and then cancel; or detach it at once.
OnInterrupt = Literal["cancel", "wait", "detach"]


@dataclass(frozen=True, slots=True)
class CallView:
    """Describes a call to an observer.

    Attributes:
        id: The call's id.
        function: The Function's name.
        version: Its version.
        app: Its App's name, empty for an unnamed one.
        kind: remote, map, spawn or generator.
        total: Inputs there will be, or None while that is not known.
        created: When the call began, in `time.time` seconds.
        cancel: Cancels the call; safe from any thread, does not block.
        call: The `ActiveCall` itself: a map can be detached, and its failed inputs run again.
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


class CallSink:
    """Receives the events of one call. This base class ignores them; override those of interest.

    All methods but `failed`, `restarted` and `detach` are called on the client's thread; none may block.

    Attributes:
        detachable: Whether the loop over the results of a map may end while the map goes on, so that the results
            which the loop has had must be kept.
        notify: Whether pages of the user show a notification when the call ends.
    """

    detachable = False
    notify = False

    def emission(self, e: Emission) -> None:
        """Called with output of remote code, before the result of the input that wrote it."""

    def progress(self, p: Progress) -> None:
        """Called with the state of the call at the hub."""

    def outputs(self, counts: InputCounts, more: bool, new: Sequence[Output] = ()) -> None:
        """Called when inputs have ended, for a batch of them at a time.

        Args:
            counts: How many inputs are in each state; those that run are among the waiting ones.
            more: Whether more inputs may come than are known.
            new: The latest outcomes, in the order in which they arrived.
        """

    def connected(self, up: bool) -> None:
        """Called when the hub connection drops or recovers."""

    def failed(self, index: int, error: BaseException) -> None:
        """Called with the error of an input of a map, on the consumer's thread, when it is unpickled."""

    def finished(self, status: str, error: BaseException | None) -> None:
        """Called at the end of the call: success, failure or terminated."""

    def restarted(self, indices: Sequence[int]) -> None:
        """Called when inputs of an ended map run again, on the thread that makes them do so.

        Args:
            indices: The inputs.
        """

    def run_again(self) -> bool:
        """Called when another process asks that the inputs of an ended map which have no result run again.

        Returns:
            Whether this sink runs them.
        """
        return False

    def detach(self) -> bool:
        """Called when the loop over the results of a map was interrupted twice.

        Returns:
            Whether this sink has detached the map and keeps its results.
        """
        return False


class CallObserver:
    """Is told of every call that begins. This base class leaves all calls to the default sink."""

    def call_started(self, call: CallView) -> CallSink | None:
        """Return the sink of a call, None for the default one. Called on the thread that makes the call."""
        return None

    def interrupted(self, call_id: str, name: str) -> OnInterrupt:
        """Called when the caller of a call was interrupted.

        Args:
            call_id: The call's id.
            name: Its Function's name.

        Returns:
            What to do: "wait" if the user was told that a second interrupt detaches the call.
        """
        return "cancel"


class TextSink(CallSink):
    """Writes the output of remote code to this process's stdout and stderr; displays as their plain text."""

    def emission(self, e: Emission) -> None:
        """See `CallSink.emission`."""
        if text := plain_text(e):
            console.write("stderr" if e.channel == "stderr" else "stdout", text)


class RowSink(TextSink):
    """Also writes the progress of a map, if output is enabled: one line that is rewritten in a terminal, else a
    line for each tenth.

    Args:
        call: The map.
        where: Where the line goes.
    """

    def __init__(self, call: CallView, where: console_output.Output) -> None:
        self._name = call.function
        self._output = where
        self._began = time.monotonic()
        self._shown = 0.0  # when, in a terminal; which tenth, elsewhere
        self._row = ""
        console.rows.append(self)

    def hide(self) -> None:
        """Clear the line, so that other output can take its place."""
        if self._row and self._output.rewritable:
            self._output.write(_CLEAR)

    def show(self) -> None:
        """Write the line again."""
        if self._row and self._output.rewritable:
            self._output.write(self._row)

    def outputs(self, counts: InputCounts, more: bool, new: Sequence[Output] = ()) -> None:
        """See `CallSink.outputs`."""
        self._counts = counts
        total = None if more else counts.total
        self._row = self._text(counts, total)
        if self._output.rewritable:
            if (now := time.monotonic()) - self._shown >= ROW_EVERY:
                self._shown = now
                self._output.write(f"{_CLEAR}{self._row}")
        elif total and (tenth := 10 * counts.settled // total) > self._shown and tenth < 10:
            self._shown = tenth
            self._output.line(self._row)

    def _text(self, counts: InputCounts, total: int | None) -> str:
        seconds, done = time.monotonic() - self._began, counts.settled
        parts = [f"{self._name}  {done:,}/{'?' if total is None else f'{total:,}'}"]
        parts += [
            f"{count:,} {state}"
            for state, count in counts.items()
            if count and state in (InputState.FAILED, InputState.CANCELLED, InputState.NOT_RUN)
        ]
        parts.append(format_span(seconds))
        if total and done:
            parts[-1] += (
                f", {format_span(seconds * (total - done) / done)} left" if done < total else ""
            )
        return "  ".join(parts)

    def restarted(self, indices: Sequence[int]) -> None:
        """See `CallSink.restarted`."""
        self._began, self._shown = time.monotonic(), 0.0
        console.rows.append(self)

    def finished(self, status: str, error: BaseException | None) -> None:
        """See `CallSink.finished`."""
        if self._row:
            start = _CLEAR if self._output.rewritable else ""
            state = {"failure": CallState.FAILED, "terminated": CallState.CANCELLED}.get(status)
            self._output.line(f"{start}{self._row}{f'  {state}' if state else ''}")
            self._row = ""
        with contextlib.suppress(ValueError):
            console.rows.remove(self)


def plain_text(e: Emission) -> str:
    """Return the output of remote code as text; of a display its plain text."""
    text = e.data.decode("utf-8", "replace")
    if e.channel in ("stdout", "stderr"):
        return text
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        plain = json.loads(text).get("data", {}).get("text/plain", "")
        return f"{plain}\n" if plain else ""
    return ""


#: Seconds between two updates of the line in a terminal.
ROW_EVERY = 0.25
#: Moves to the beginning of the line and clears it.
_CLEAR = "\r\x1b[2K"

#: The sink of calls that nobody observes.
TEXT = TextSink()
#: Set by `set_observer`.
observer: CallObserver | None = None


def set_observer(new: CallObserver | None) -> None:
    """Tell this observer of every call from now on; None goes back to plain output."""
    global observer
    observer = new


def interrupted(call_id: str, name: str) -> OnInterrupt:
    """Tell the observer that the caller of a call was interrupted; see `CallObserver.interrupted`."""
    if observer is None:
        return "cancel"
    try:
        return observer.interrupted(call_id, name)
    except Exception:
        logger.exception("An observer of nbfn failed")
        return "cancel"


def begin(call: CallView) -> CallSink:
    """Return the sink of a call that begins now."""
    sink = None
    if observer is not None:
        try:
            sink = observer.call_started(call)
        except Exception:
            logger.exception("An observer of nbfn failed")
    if sink is not None:
        return sink
    where = console_output.current()
    return RowSink(call, where) if where is not None and call.kind == "map" else TEXT


# --- output and log records of remote code ----------------------------------------------------------


def show(sink: CallSink, kind: str, e: Emission) -> None:
    """Pass output on to the sink; log records go to the loggers of this process, unless it is a worker."""
    if e.channel != "log" or kind == "web" or not is_local():
        sink.emission(e)
        return
    for channel, text in handle_record(e.data):
        sink.emission(msgspec.structs.replace(e, channel=channel, data=text.encode()))


#: Seconds to wait for a handler that another thread is using; after that it misses records until it is free.
PATIENCE = 1.0
#: The names that Python and ipykernel give the streams.
_CHANNELS = {"<stdout>": "stdout", "stdout": "stdout", "<stderr>": "stderr", "stderr": "stderr"}

#: Handlers that were not free in time.
_blocked_handlers: weakref.WeakSet[logging.Handler] = weakref.WeakSet()


def handle_record(data: bytes) -> Iterator[tuple[str, str]]:
    """Let the loggers of this process handle a record.

    Args:
        data: The encoded record.

    Yields:
        (channel, text) to be shown among the prints of remote code.
    """
    if (record := load_record(data)) is None:
        return
    logger = logging.getLogger(record.name)
    if logger.disabled or not logger.filter(record):
        return
    for handler in _handlers_of(logger):
        if record.levelno < handler.level:
            continue
        channel = _stream_of(handler)
        if not channel:
            _pass_on(handler, record)
        elif handler.filter(record):
            yield channel, handler.format(record) + getattr(handler, "terminator", "\n")


def _handlers_of(logger: logging.Logger) -> Iterator[logging.Handler]:
    found = False
    at: logging.Logger | None = logger
    while at is not None:
        for handler in tuple(at.handlers):
            found = True
            yield handler
        at = at.parent if at.propagate else None
    if not found and logging.lastResort is not None:
        yield logging.lastResort


def _stream_of(handler: logging.Handler) -> str:
    """Return "stdout" or "stderr" if a handler writes to that stream of this process, else ""."""
    stream = handler.stream if isinstance(handler, logging.StreamHandler) else None
    if stream is None or isinstance(handler, logging.FileHandler):
        return ""
    if stream is sys.stdout:
        return "stdout"
    if stream is sys.stderr:
        return "stderr"
    name = getattr(stream, "name", "")
    return _CHANNELS.get(name, "") if isinstance(name, str) else ""


def _pass_on(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Pass a record to a handler, unless another thread holds its lock for long: it may wait for this one."""
    lock: Any = handler.lock
    if lock is None:
        handler.handle(record)
    elif lock.acquire(timeout=0 if handler in _blocked_handlers else PATIENCE):
        _blocked_handlers.discard(handler)
        try:
            handler.handle(record)
        finally:
            lock.release()
    else:
        _blocked_handlers.add(handler)
