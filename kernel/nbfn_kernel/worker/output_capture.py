"""Captures what user code writes to ``sys.stdout`` and ``sys.stderr``; C code and subprocesses write to `log_files`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from nbfn.runtime.line_multiplexer import Voices
from nbfn.runtime.output_channels import FAILURE
from nbfn_kernel.worker.outbox import Outbox

#: Characters of one input's output that are sent; the rest is dropped, with a line that says so.
MAX_TEXT = 16 * 1024 * 1024
#: Characters of a line after which it goes out unfinished.
LONGEST = 8 * 1024

#: What threads of consoles write goes to them, by thread: (channel, text).
diverted: dict[int, Callable[[str, str], None]] = {}
#: The thread of user code where inputs run one after the other: it is heard at once.
_main = threading.main_thread().ident

_installed: list[OutputStream] = []  # what user code may put something else in front of
_outside = True  # text that belongs to no input goes to the log file: there is no Function, or it is a child's


class OutputStream(io.TextIOBase):
    """Stands in for ``sys.stdout`` or ``sys.stderr``: text goes out under the lease that runs.

    Args:
        channel: "stdout" or "stderr".
        descriptor: The real one, for who asks by `fileno`, and for text outside any input.
        outbox: Where it goes.
        lease: Returns the lease that runs, or 0.
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
        self._counted = 0  # the lease that `_count` is of
        self._count = 0
        self._voices = self._new_voices()  # of the lease that is counted; one for each thread ...
        self._alone = True  # ... where not only the main thread writes
        self._last = "\n"  # what that wrote last
        self.buffer = _Bytes(self)

    @property
    def name(self) -> str:
        """What Python calls it."""
        return f"<{self._channel}>"

    def writable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def isatty(self) -> bool:
        """See `io.IOBase`."""
        return False

    def fileno(self) -> int:
        """Return the real descriptor, as a subprocess needs it."""
        return self._descriptor

    def write(self, text: str) -> int:
        """See `io.TextIOBase`."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if diverted and (console := diverted.get(threading.get_ident())) is not None:
            console(self._channel, text)
            return len(text)
        lease = self._lease()
        if not lease and _outside:  # in a child, whose connection this is not, as well
            os.write(self._descriptor, text.encode("utf-8", self.errors))
        elif text and self._admit(lease, len(text)):
            thread = threading.get_ident()
            if thread == _main and self._alone:
                self._last = text
                self._outbox.write(lease, self._channel, text)
            else:
                self._share()
                self._voices.say(thread, text, alone=thread == _main)
        return len(text)

    def _share(self) -> None:
        """From now on see to it that no line is of two threads: another one than the main one writes."""
        if self._alone:
            self._alone = False
            if not self._last.endswith(("\n", "\r")):
                self._voices.has_begun(_main)

    def _new_voices(self) -> Voices:
        return Voices(self._put, self._outbox.lock)

    def _put(self, text: str) -> None:
        self._outbox.write(self._counted, self._channel, text)

    def _admit(self, lease: int, size: int) -> bool:
        if lease != self._counted:
            self._counted, self._count = lease, 0
            self._voices = self._new_voices()
            self._alone, self._last = True, "\n"
        before, self._count = self._count, self._count + size
        if self._count <= MAX_TEXT:
            return True
        if before <= MAX_TEXT:
            limit = MAX_TEXT // 2**20
            note = f"\n[nbfn: {self._channel} of this input is cut here, at {limit} MiB]\n"
            self._outbox.write(lease, self._channel, note)
        return False

    def flush(self) -> None:
        """Hand over what was written, the begun line of a thread as well."""
        self._voices.flush(threading.get_ident())
        self._outbox.flush()

    def end(self, lease: int) -> None:
        """Send what threads of an input that ended left of a line."""
        if lease == self._counted:
            self._voices.end()
            self._outbox.flush()

    def detach_lines(self) -> None:
        """Forget begun lines, in a child: they are its parent's, and a thread of that may have held the lock."""
        self._voices = Voices(lambda _: None)

    def log_failure(self, lease: int, text: str) -> None:
        """Send a traceback for the logs, after what the input wrote."""
        self.end(lease)
        self._outbox.write_packed(lease, FAILURE, text.encode("utf-8", self.errors))


class LineBufferedStream(OutputStream):
    """For inputs that run at once: text goes out in whole lines, so that no line is of two inputs."""

    def __init__(
        self, channel: str, descriptor: int, outbox: Outbox, lease: Callable[[], int]
    ) -> None:
        super().__init__(channel, descriptor, outbox, lease)
        self._held: dict[tuple[int, int], str] = {}  # begun lines, by lease and thread
        self._counts: dict[int, int] = {}

    def write(self, text: str) -> int:
        """See `io.TextIOBase`."""
        lease = self._lease()
        if not lease or not isinstance(text, str) or threading.get_ident() in diverted:
            return super().write(text)
        key = (lease, threading.get_ident())
        held = self._held.pop(key, "") + text
        ends = max(held.rfind("\n"), held.rfind("\r")) + 1
        if len(held) - ends >= LONGEST:
            ends = len(held)
        self._send(lease, held[:ends])
        if ends < len(held):
            self._held[key] = held[ends:]
        return len(text)

    def flush(self) -> None:
        """See `OutputStream.flush`."""
        key = (self._lease(), threading.get_ident())
        self._send(key[0], self._held.pop(key, ""))
        self._outbox.flush()

    def end(self, lease: int) -> None:
        """Send what an input that ended left of a line."""
        for key in [key for key in tuple(self._held) if key[0] == lease]:
            self._send(lease, self._held.pop(key, ""))
        self._counts.pop(lease, None)
        self._outbox.flush()

    def _send(self, lease: int, text: str) -> None:
        if text and self._admit(lease, len(text)):
            self._outbox.write(lease, self._channel, text)

    def _admit(self, lease: int, size: int) -> bool:
        self._counted, self._count = lease, self._counts.get(lease, 0)
        admitted = super()._admit(lease, size)
        self._counts[lease] = self._count
        return admitted


class _Bytes(io.RawIOBase):
    """``sys.stdout.buffer``: bytes are taken for UTF-8."""

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
    """Replace ``sys.stdout`` and ``sys.stderr``; ``sys.__stdout__`` stays what it was."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    _installed[:] = [kind("stdout", 1, outbox, lease), kind("stderr", 2, outbox, lease)]
    sys.stdout, sys.stderr = _installed


def log_failure(lease: int, text: str) -> None:
    """Send the traceback of an input whose failure nobody may look at, for the logs."""
    if _installed:
        _installed[1].log_failure(lease, text)


def admit(lease: int, size: int) -> bool:
    """Count characters that an input sends besides what it writes; False when they are too many."""
    return _installed[1]._admit(lease, size)


def forward_all() -> None:
    """Send text that belongs to no input from now on, too: the worker has a Function."""
    global _outside
    _outside = False


def detach() -> None:
    """Write to the log files only, in a child that user code forked."""
    global _outside
    _outside = True
    for stream in _installed:
        stream.detach_lines()


def is_forwarding() -> bool:
    """Whether output that belongs to no input is sent."""
    return not _outside


def end_lines(lease: int) -> None:
    """Send what an input that ended left of a line."""
    for stream in _installed:
        stream.end(lease)
