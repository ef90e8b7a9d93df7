"""Queues messages from other threads for the thread that sends them to the hub."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from nbfn.protocol.messages import Emitted, Message, Payload, Result, Sync
from nbfn.protocol.worker_state import CHANNELS, LARGEST, WorkerState
from nbfn_kernel.worker.log_files import FILES, STDERR, LogFiles

#: Characters above which a text is queued although its line is not complete.
LONG_TEXT = 1024
#: Characters of queued text that are sent without delay.
FLUSH_SIZE = 8 * 1024
#: Seconds that `sync` waits for the hub.
SYNC_TIMEOUT = 1.0


class Text(NamedTuple):
    """Text that user code wrote."""

    lease: int
    channel: str
    text: str
    number: int


class Span(NamedTuple):
    """A part of a log file, written by C code or a child process to descriptor 1 or 2."""

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
    """The queue of messages to the hub. Appending is atomic; adding output takes a lock, which keeps its order.

    Args:
        wake: Wakes the connection's thread.
        state: Shared memory that holds output until it is sent, in case this process dies before.
        files: The log files behind descriptors 1 and 2.

    Attributes:
        entries: The queued messages.
        send_scheduled: Whether the connection's thread will send within a few milliseconds without being woken.
        urgent: Whether it should send without delay.
        lock: Held while output is added; reentrant, since a signal handler of user code may print.
    """

    __slots__ = (
        "_acknowledged",
        "_added",
        "_buffered",
        "_channel",
        "_files",
        "_lease",
        "_size",
        "_state",
        "_syncs",
        "entries",
        "lock",
        "send_scheduled",
        "urgent",
        "wake",
    )

    def __init__(self, wake: Callable[[], None], state: WorkerState, files: LogFiles) -> None:
        self.entries: deque[Entry] = deque()
        self.send_scheduled = False
        self.urgent = False
        self.wake = wake
        self.lock = threading.RLock()
        self._state = state
        self._files = files
        self._buffered: list[str] = []  # texts of an incomplete line, ...
        self._lease, self._channel = 0, ""  # ... and where they belong
        self._size = 0  # characters added since the last `send_now`
        self._added = 0  # the number of entries, ...
        self._acknowledged = 0  # ... how many of them the hub has acknowledged, ...
        # ... and the events that `sync` waits for, by that number
        self._syncs: dict[int, threading.Event] = {}

    @property
    def waiting(self) -> bool:
        """Whether there is anything to send."""
        return bool(self.entries or self._buffered)

    def put(self, entry: Entry) -> None:
        """Queue a message; it is sent within a few milliseconds, together with others."""
        with self.lock:
            self._flush()
            self._append(entry)
        if not self.send_scheduled:
            self.send_scheduled = True
            self.wake()

    def write(self, lease: int, channel: str, text: str) -> None:
        """Queue a text.

        Complete lines, flushed text and text on stderr reach the hub even if this process dies immediately afterwards.
        """
        with self.lock:
            if lease != self._lease or channel != self._channel:
                self._flush()
                self._lease, self._channel = lease, channel
            self._buffered.append(text)
            if text[-1:] == "\n" or len(text) > LONG_TEXT or channel == "stderr":
                self._flush()
        if not self.send_scheduled:
            self.send_scheduled = True
            self.wake()

    def write_packed(self, lease: int, channel: str, data: bytes) -> None:
        """Queue output other than text, for example a display, after the text written before it."""
        with self.lock:
            self._flush()
            if self._files.has_grown(STDERR):
                self._add_span(lease, STDERR)
            number = 0  # not in the shared memory, where it does not fit
            if len(data) <= LARGEST:
                number = self._state.add_text(lease, CHANNELS.index(channel), data)
            self._append(Emitted(lease, channel, data, number))
        if not self.send_scheduled:
            self.send_scheduled = True
            self.wake()

    def flush(self) -> None:
        """Queue the text of an incomplete line, and copy it to the shared memory."""
        if self._buffered:
            with self.lock:
                self._flush()

    def _flush(self) -> None:
        texts, self._buffered = self._buffered, []
        if not texts:
            return
        lease, channel = self._lease, self._channel
        index = 0 if channel == CHANNELS[0] else CHANNELS.index(channel)
        if index < FILES and self._files.has_grown(index):
            self._add_span(lease, index)  # it was written before this text
        text = texts[0] if len(texts) == 1 else "".join(texts)
        number = self._state.add_text(lease, index, text.encode("utf-8", "backslashreplace"))
        self._append(Text(lease, channel, text, number))
        self._size += len(text)
        if self._size >= FLUSH_SIZE:
            self._size = 0
            self.send_now()

    def collect_files(self, lease: int) -> bool:
        """Queue new output of the log files; return whether there was any."""
        self._files.flush()
        grown = self._files.grown()
        if not (grown or self._buffered):
            return False
        with self.lock:
            self._flush()
            for channel in grown:
                self._add_span(lease, channel)
        return bool(grown)

    def _add_span(self, lease: int, channel: int) -> None:
        first, end = self._files.advance(channel)
        number = self._state.add_span(lease, channel, first, end)
        self._append(Span(lease, CHANNELS[channel], first, end, number))

    def _append(self, entry: Entry) -> None:
        self._added += 1
        self.entries.append(entry)

    def read(self, span: Span) -> str:
        """Return the text of a part of a log file; the connection's thread calls it once for each part, in order."""
        return self._files.read(CHANNELS.index(span.channel), span.first, span.end)

    def truncate_files(self) -> None:
        """Truncate large log files, unless parts of them are queued."""
        if not self._files.needs_truncation():
            return
        with self.lock:
            if not any(type(entry) is Span for entry in self.entries):
                for channel in self._files.truncate():
                    self._state.add_span(0, channel, 0, 0)

    def sync(self, lease: int) -> None:
        """Wait until the hub has all output so far, including that of C code and child processes.

        The hub then has it before any message that this process sends afterwards, on any connection. After
        `SYNC_TIMEOUT` seconds, it returns in any case.
        """
        self.collect_files(lease)
        number = self._added
        if self._acknowledged < number:
            arrived = self._syncs.setdefault(number, threading.Event())
            self.entries.append(Sync(number))
            self.send_now()
            arrived.wait(SYNC_TIMEOUT)

    def acknowledge(self, number: int) -> None:
        """Record that the hub has the first ``number`` entries; called by the connection's thread."""
        self._acknowledged = max(self._acknowledged, number)
        for reached in [one for one in tuple(self._syncs) if one <= number]:
            self._syncs.pop(reached).set()

    def send_now(self) -> None:
        """Send all entries without delay."""
        self.urgent = True
        self.wake()
