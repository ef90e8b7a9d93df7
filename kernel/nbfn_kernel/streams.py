"""What user code writes: `print` goes through `Stream`, C code and subprocesses through `Spill`."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import io
import os
import stat
import sys
import threading
from collections.abc import Callable
from typing import Any

from nbfn.channels import FAILURE
from nbfn.voices import Voices
from nbfn.wire.messages import Emitted
from nbfn_kernel.outbox import Outbox, Text

#: Characters of one input's output that are sent; the rest is dropped, with a line that says so.
MAX_TEXT = 16 * 1024 * 1024
#: Characters after which waiting text is sent at once.
HURRY = 8 * 1024
#: Bytes of a log file from which on it is cut.
MAX_LOG = 8 * 1024 * 1024
#: Bytes of a log file forwarded at a time; what is more is passed over.
CHUNK = 4 * 1024 * 1024

#: What threads of consoles write goes to them, by thread: (channel, text).
diverted: dict[int, Callable[[str, str], None]] = {}
#: The thread of user code where inputs run one after the other: it is heard at once.
_main = threading.main_thread().ident

_installed: list[Stream] = []  # what user code may put something else in front of


class Stream(io.TextIOBase):
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
        self._waiting = 0
        self._voices = Voices(self._put)  # of the lease that is counted; one for each thread
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
        if not lease:
            os.write(self._descriptor, text.encode("utf-8", self.errors))
        elif text and self._admit(lease, len(text)):
            thread = threading.get_ident()
            self._voices.say(thread, text, alone=thread == _main)
        return len(text)

    def _put(self, text: str) -> None:
        self._outbox.put(Text(self._counted, self._channel, text))
        self._waiting += len(text)
        if self._waiting >= HURRY:
            self._waiting = 0
            self._outbox.hurry()

    def _admit(self, lease: int, size: int) -> bool:
        if lease != self._counted:
            self._counted, self._count = lease, 0
            self._voices = Voices(self._put)
        before, self._count = self._count, self._count + size
        if self._count <= MAX_TEXT:
            return True
        if before <= MAX_TEXT:
            limit = MAX_TEXT // 2**20
            note = f"\n[nbfn: {self._channel} of this input is cut here, at {limit} MiB]\n"
            self._outbox.put(Text(lease, self._channel, note))
        return False

    def flush(self) -> None:
        """Send a line that another thread than the main one has begun; all else is on its way."""
        self._voices.flush(threading.get_ident())

    def end(self, lease: int) -> None:
        """Send what threads of an input that ended left of a line."""
        if lease == self._counted:
            self._voices.end()

    def log_failure(self, lease: int, text: str) -> None:
        """Send a traceback for the logs, after what the input wrote."""
        self.end(lease)
        self._outbox.put(Emitted(lease, FAILURE, text.encode("utf-8", self.errors)))


class LineStream(Stream):
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
        if len(held) - ends >= HURRY:
            ends = len(held)
        self._send(lease, held[:ends])
        if ends < len(held):
            self._held[key] = held[ends:]
        return len(text)

    def flush(self) -> None:
        """Send a begun line as far as it goes."""
        key = (self._lease(), threading.get_ident())
        self._send(key[0], self._held.pop(key, ""))

    def end(self, lease: int) -> None:
        """Send what an input that ended left of a line."""
        for key in [key for key in tuple(self._held) if key[0] == lease]:
            self._send(lease, self._held.pop(key, ""))
        self._counts.pop(lease, None)

    def _send(self, lease: int, text: str) -> None:
        if text and self._admit(lease, len(text)):
            self._outbox.put(Text(lease, self._channel, text))

    def _admit(self, lease: int, size: int) -> bool:
        self._counted, self._count = lease, self._counts.get(lease, 0)
        admitted = super()._admit(lease, size)
        self._counts[lease] = self._count
        return admitted


class _Bytes(io.RawIOBase):
    """``sys.stdout.buffer``: bytes are taken for UTF-8."""

    def __init__(self, stream: Stream) -> None:
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


def install(outbox: Outbox, lease: Callable[[], int], kind: type[Stream] = Stream) -> None:
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


def end_lines(lease: int) -> None:
    """Send what an input that ended left of a line."""
    for stream in _installed:
        stream.end(lease)


class Spill:
    """Reads what was written to descriptors 1 and 2 themselves, if these are log files of ours."""

    def __init__(self) -> None:
        self._offsets: dict[int, int] = {}
        # One for each, since a character may come in two halves.
        self._decoders = {n: codecs.getincrementaldecoder("utf-8")("replace") for n in (1, 2)}
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):
                found = os.fstat(descriptor)
                os.pread(descriptor, 0, 0)  # fails when it is open for writing only
                if stat.S_ISREG(found.st_mode):
                    self._offsets[descriptor] = found.st_size
        self._flush_c = ctypes.CDLL(None).fflush if self._offsets else None

    def take(self) -> list[tuple[str, str]]:
        """Return the new text as (channel, text)."""
        if self._flush_c is None:
            return []
        self._flush_c(None)  # C's own buffers: a file is not flushed line by line
        found = []
        for descriptor, offset in list(self._offsets.items()):
            try:
                size = os.fstat(descriptor).st_size
            except OSError:  # user code closed it
                del self._offsets[descriptor]
                continue
            if size < offset:
                offset = 0
            if size > offset:
                text = self._decoders[descriptor].decode(os.pread(descriptor, CHUNK, offset))
                if size - offset > CHUNK:
                    text += f"\n[nbfn: {size - offset - CHUNK} bytes are passed over here]\n"
                found.append(("stdout" if descriptor == 1 else "stderr", text))
                offset = size
            self._offsets[descriptor] = offset
        self.cut()
        return found

    def cut(self) -> None:
        """Keep the files small, also of what nobody reads: that of threads and subprocesses between inputs."""
        for descriptor in self._offsets:
            with contextlib.suppress(OSError):  # user code closed it
                if os.fstat(descriptor).st_size > MAX_LOG:
                    os.ftruncate(descriptor, 0)
                    self._offsets[descriptor] = 0
