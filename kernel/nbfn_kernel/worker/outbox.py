"""The queue of messages from user code and the main thread to the thread that talks to the hub."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from nbfn.protocol.messages import Emitted, Message, Payload, Result, Sync
from nbfn.protocol.worker_state import CHANNELS, LARGEST, WorkerState
from nbfn_kernel.worker.log_files import FILES, STDERR, LogFiles

#: Characters of one text that is not kept back until its line is whole.
LONG = 1024
#: Characters after which waiting text is sent at once.
HURRY = 8 * 1024
#: Most seconds that `sync` waits for the hub.
PATIENCE = 1.0


class Text(NamedTuple):
    """A piece of what user code wrote."""

    lease: int
    channel: str
    text: str
    number: int


class Span(NamedTuple):
    """A part of a log file: what C code or a child process wrote to descriptor 1 or 2."""

    lease: int
    channel: str
    first: int
    end: int
    number: int


class Item(NamedTuple):
    """A value that a generator yielded."""

    lease: int
    number: int
    payload: Payload


Entry = Result | Text | Span | Item | Message


class Outbox:
    """A queue and two flags. Appending is atomic; only output takes a lock, which keeps its order.

    Args:
        wake: Wakes the connection's thread.
        state: Keeps output for the case that this process dies before the connection's thread has sent it.
        files: What descriptors 1 and 2 write to.

    Attributes:
        entries: What is to be sent.
        watched: The connection's thread will look within a few milliseconds; nobody need wake it.
        urgent: It should look at once.
        lock: Held while output is added; reentrant, since a signal handler of the user's may print.
    """

    __slots__ = (
        "_added",
        "_arrived",
        "_channel",
        "_files",
        "_held",
        "_lease",
        "_size",
        "_state",
        "_syncs",
        "entries",
        "lock",
        "urgent",
        "wake",
        "watched",
    )

    def __init__(self, wake: Callable[[], None], state: WorkerState, files: LogFiles) -> None:
        self.entries: deque[Entry] = deque()
        self.watched = False
        self.urgent = False
        self.wake = wake
        self.lock = threading.RLock()
        self._state = state
        self._files = files
        self._held: list[str] = []  # texts of a line that has begun, ...
        self._lease, self._channel = 0, ""  # ... and whose they are
        self._size = 0  # of what was added since the connection's thread was told to hurry
        self._added = 0  # pieces of output, ...
        self._arrived = 0  # ... how many of them the hub is known to have ...
        self._syncs: dict[int, threading.Event] = {}  # ... and who waits until it has so many

    @property
    def waiting(self) -> bool:
        """Whether there is anything to be sent."""
        return bool(self.entries or self._held)

    def put(self, entry: Entry) -> None:
        """Send soon, together with what else comes."""
        with self.lock:
            self._flush()
            self._append(entry)
        if not self.watched:
            self.watched = True
            self.wake()

    def write(self, lease: int, channel: str, text: str) -> None:
        """Send a text soon. Whole lines, what is flushed and what is written to stderr reach the hub even if this
        process dies at once.
        """
        with self.lock:
            if lease != self._lease or channel != self._channel:
                self._flush()
                self._lease, self._channel = lease, channel
            self._held.append(text)
            if text[-1:] == "\n" or len(text) > LONG or channel == "stderr":
                self._flush()
        if not self.watched:
            self.watched = True
            self.wake()

    def write_packed(self, lease: int, channel: str, data: bytes) -> None:
        """Send one whole piece of output that is no text of stdout or stderr, with what was written before it."""
        with self.lock:
            self._flush()
            if self._files.grown(STDERR):
                self._add_span(lease, STDERR)
            kept = 0  # one that is too large to be kept whole is not kept
            if len(data) <= LARGEST:
                kept = self._state.add_text(lease, CHANNELS.index(channel), data)
            self._append(Emitted(lease, channel, data, kept))
        if not self.watched:
            self.watched = True
            self.wake()

    def flush(self) -> None:
        """Add what `write` has gathered to what is sent, and to what outlives this process."""
        if self._held:
            with self.lock:
                self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        lease, channel = self._lease, self._channel
        number = 0 if channel == CHANNELS[0] else CHANNELS.index(channel)
        if number < FILES and self._files.grown(number):
            self._add_span(lease, number)  # it was written before this text
        text = held[0] if len(held) == 1 else "".join(held)
        kept = self._state.add_text(lease, number, text.encode("utf-8", "backslashreplace"))
        self._append(Text(lease, channel, text, kept))
        self._size += len(text)
        if self._size >= HURRY:
            self._size = 0
            self.hurry()

    def collect_files(self, lease: int) -> bool:
        """Send what was written to descriptors 1 and 2 since the last time; False if that is nothing."""
        self._files.flush()
        with self.lock:
            self._flush()
            grown = [number for number in range(FILES) if self._files.grown(number)]
            for number in grown:
                self._add_span(lease, number)
        return bool(grown)

    def _add_span(self, lease: int, channel: int) -> None:
        first, end = self._files.advance(channel)
        kept = self._state.add_span(lease, channel, first, end)
        self._append(Span(lease, CHANNELS[channel], first, end, kept))

    def _append(self, entry: Entry) -> None:
        self._added += 1
        self.entries.append(entry)

    def read(self, span: Span) -> str:
        """Return the text of a part of a log file; for the connection's thread, once and in order."""
        return self._files.read(CHANNELS.index(span.channel), span.first, span.end)

    def cut_files(self) -> None:
        """Keep the log files small; called where all that is to be sent of them was sent."""
        if not self._files.too_long():
            return
        with self.lock:
            if not any(type(entry) is Span for entry in self.entries):
                for channel in self._files.cut():
                    self._state.add_span(0, channel, 0, 0)

    def sync(self, lease: int) -> None:
        """Return when the hub has all that was written so far, also by C code and child processes.

        What it is told afterwards, by other connections of this process as well, comes after that.
        """
        self.collect_files(lease)
        number = self._added
        if self._arrived < number:
            arrived = self._syncs.setdefault(number, threading.Event())
            self.entries.append(Sync(number))
            self.hurry()
            arrived.wait(PATIENCE)

    def arrived(self, number: int) -> None:
        """Note that the hub has the first ``number`` pieces of output; called by the connection's thread."""
        self._arrived = max(self._arrived, number)
        for reached in [one for one in tuple(self._syncs) if one <= number]:
            self._syncs.pop(reached).set()

    def hurry(self) -> None:
        """Send all of it now."""
        self.urgent = True
        self.wake()
