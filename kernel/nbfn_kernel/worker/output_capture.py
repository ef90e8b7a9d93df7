"""Captures what user code writes to ``sys.stdout`` and ``sys.stderr``.

Output of C code and subprocesses is read by `log_files`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from nbfn.runtime.line_multiplexer import LineMultiplexer
from nbfn.runtime.output_channels import FAILURE
from nbfn_kernel.worker.outbox import Outbox

#: Characters that are sent of one input's output on one channel; the rest is dropped, with a line that says so.
MAX_TEXT = 16 * 1024 * 1024
#: Characters above which an incomplete line is sent.
MAX_LINE = 8 * 1024

#: By thread of a console: the function (channel, text) that gets its output.
console_outputs: dict[int, Callable[[str, str], None]] = {}
#: The thread in which the serial executor runs user code; its text is sent without line buffering.
_main = threading.main_thread().ident

_streams: list[OutputStream] = []  # kept here, since user code may replace `sys.stdout`
_to_log_file = True  # output outside of inputs goes to the log file only: no Function is bound, or this is a child


class OutputStream(io.TextIOBase):
    """Replaces ``sys.stdout`` or ``sys.stderr``; sends text as output of the running input.

    Args:
        channel: "stdout" or "stderr".
        descriptor: The file descriptor, returned by `fileno` and used for text outside of inputs.
        outbox: Queues the text for the hub.
        lease: Returns the running lease, or 0.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(
        self, channel: str, descriptor: int, outbox: Outbox, lease: Callable[[], int]
    ) -> None:
        super().__init__()
        self._channel = channel
        self._descriptor = descriptor
        self._outbox = outbox
        self._lease = lease
        self._counted_lease = 0  # the lease whose characters `_count` counts
        self._count = 0
        self._lines = self._new_lines()  # line buffers of that lease, by thread ...
        self._main_thread_only = True  # ... unused while only the main thread writes
        self._last_text = "\n"  # the last text of the main thread
        self.buffer = _Bytes(self)

    @property
    def name(self) -> str:
        """The name of the stream, as of Python's own."""
        return f"<{self._channel}>"

    def writable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def isatty(self) -> bool:
        """See `io.IOBase`."""
        return False

    def fileno(self) -> int:
        """Return the descriptor, for subprocesses."""
        return self._descriptor

    def write(self, text: str) -> int:
        """See `io.TextIOBase`."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if console_outputs and (console := console_outputs.get(threading.get_ident())) is not None:
            console(self._channel, text)
            return len(text)
        lease = self._lease()
        if not lease and _to_log_file:  # also in a child process, which has no connection
            os.write(self._descriptor, text.encode("utf-8", self.errors))
        elif text and self._admit(lease, len(text)):
            thread = threading.get_ident()
            if thread == _main and self._main_thread_only:
                self._last_text = text
                self._outbox.write(lease, self._channel, text)
            else:
                self._buffer_lines()
                self._lines.say(thread, text, alone=thread == _main)
        return len(text)

    def _buffer_lines(self) -> None:
        """Buffer lines by thread from now on, so that lines do not interleave: another thread has begun to write."""
        if self._main_thread_only:
            self._main_thread_only = False
            if not self._last_text.endswith(("\n", "\r")):
                self._lines.note_unfinished_line(_main)

    def _new_lines(self) -> LineMultiplexer:
        return LineMultiplexer(self._put, self._outbox.lock)

    def _put(self, text: str) -> None:
        self._outbox.write(self._counted_lease, self._channel, text)

    def _admit(self, lease: int, size: int) -> bool:
        if lease != self._counted_lease:
            self._counted_lease, self._count = lease, 0
            self._lines = self._new_lines()
            self._main_thread_only, self._last_text = True, "\n"
        before, self._count = self._count, self._count + size
        if self._count <= MAX_TEXT:
            return True
        if before <= MAX_TEXT:
            limit = MAX_TEXT // 2**20
            note = f"\n[nbfn: {self._channel} of this input is cut here, at {limit} MiB]\n"
            self._outbox.write(lease, self._channel, note)
        return False

    def flush(self) -> None:
        """Queue all text of the calling thread, including an incomplete line."""
        self._lines.flush(threading.get_ident())
        self._outbox.flush()

    def end(self, lease: int) -> None:
        """Send the incomplete lines of an input that has ended."""
        if lease == self._counted_lease:
            self._lines.end()
            self._outbox.flush()

    def drop_lines(self) -> None:
        """Drop incomplete lines in a child process; they are its parent's, and the lock may be held."""
        self._lines = LineMultiplexer(lambda _: None)

    def log_failure(self, lease: int, text: str) -> None:
        """Send a traceback to the logs, after the output of the input."""
        self.end(lease)
        self._outbox.write_packed(lease, FAILURE, text.encode("utf-8", self.errors))


class LineBufferedStream(OutputStream):
    """Sends whole lines, so that lines of concurrent inputs do not interleave."""

    def __init__(
        self, channel: str, descriptor: int, outbox: Outbox, lease: Callable[[], int]
    ) -> None:
        super().__init__(channel, descriptor, outbox, lease)
        self._partial_lines: dict[
            tuple[int, int], str
        ] = {}  # incomplete lines, by lease and thread
        self._counts: dict[int, int] = {}

    def write(self, text: str) -> int:
        """See `io.TextIOBase`."""
        lease = self._lease()
        if not lease or not isinstance(text, str) or threading.get_ident() in console_outputs:
            return super().write(text)
        key = (lease, threading.get_ident())
        text_so_far = self._partial_lines.pop(key, "") + text
        ends = max(text_so_far.rfind("\n"), text_so_far.rfind("\r")) + 1
        if len(text_so_far) - ends >= MAX_LINE:
            ends = len(text_so_far)
        self._send(lease, text_so_far[:ends])
        if ends < len(text_so_far):
            self._partial_lines[key] = text_so_far[ends:]
        return len(text)

    def flush(self) -> None:
        """See `OutputStream.flush`."""
        key = (self._lease(), threading.get_ident())
        self._send(key[0], self._partial_lines.pop(key, ""))
        self._outbox.flush()

    def end(self, lease: int) -> None:
        """Send the incomplete lines of an input that has ended."""
        for key in [key for key in tuple(self._partial_lines) if key[0] == lease]:
            self._send(lease, self._partial_lines.pop(key, ""))
        self._counts.pop(lease, None)
        self._outbox.flush()

    def _send(self, lease: int, text: str) -> None:
        if text and self._admit(lease, len(text)):
            self._outbox.write(lease, self._channel, text)

    def _admit(self, lease: int, size: int) -> bool:
        self._counted_lease, self._count = lease, self._counts.get(lease, 0)
        admitted = super()._admit(lease, size)
        self._counts[lease] = self._count
        return admitted


class _Bytes(io.RawIOBase):
    """``sys.stdout.buffer``; decodes bytes as UTF-8."""

    def __init__(self, stream: OutputStream) -> None:
        super().__init__()
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._stream.write(raw.decode("utf-8", "replace"))
        return len(raw)


def install(
    outbox: Outbox, lease: Callable[[], int], kind: type[OutputStream] = OutputStream
) -> None:
    """Replace ``sys.stdout`` and ``sys.stderr``; ``sys.__stdout__`` is unchanged.

    Args:
        outbox: Queues the text for the hub.
        lease: Returns the running lease, or 0.
        kind: The class of the streams.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    _streams[:] = [kind("stdout", 1, outbox, lease), kind("stderr", 2, outbox, lease)]
    sys.stdout, sys.stderr = _streams


def log_failure(lease: int, text: str) -> None:
    """Send the traceback of an input whose caller may not read the result to the logs."""
    if _streams:
        _streams[1].log_failure(lease, text)


def admit(lease: int, size: int) -> bool:
    """Count characters of log records against the limit of an input; return False if it is exceeded."""
    return _streams[1]._admit(lease, size)


def forward_all() -> None:
    """Send output outside of inputs too from now on; called when the worker has been bound to a Function."""
    global _to_log_file
    _to_log_file = False


def reset_after_fork() -> None:
    """Write to the log files only; called in a child process that user code forked."""
    global _to_log_file
    _to_log_file = True
    for stream in _streams:
        stream.drop_lines()


def is_forwarding() -> bool:
    """Return whether output outside of inputs is sent."""
    return not _to_log_file


def end_lines(lease: int) -> None:
    """Send the incomplete lines of an input that has ended."""
    for stream in _streams:
        stream.end(lease)
