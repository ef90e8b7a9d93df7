"""Reads what C code and subprocesses wrote to descriptors 1 and 2, where these are log files of nbfn."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import os
import stat

#: There is one for stdout, channel 0, and one for stderr.
FILES, STDERR = 2, 1
#: Bytes of a log file from which on it is cut.
MAX_LOG = 8 * 1024 * 1024
#: Bytes of a log file forwarded at a time; what is more is passed over.
CHUNK = 4 * 1024 * 1024


class LogFiles:
    """The log files of a worker's stdout and stderr, channels 0 and 1.

    They are read through descriptors of their own: user code may close 1 and 2, or have them be other files for a
    while. Seeking is harmless, since a log file is always appended to.

    Args:
        descriptors: Of stdout and stderr.
    """

    def __init__(self, descriptors: tuple[int, int] = (1, 2)) -> None:
        self._own: dict[int, int] = {}  # descriptors, by channel
        self._seen = [0, 0]
        # One for each, since a character may come in two halves.
        self._decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in range(FILES)]
        for channel, descriptor in enumerate(descriptors):
            with contextlib.suppress(OSError):
                found = os.fstat(descriptor)
                os.pread(descriptor, 0, 0)  # fails when it is open for writing only
                if stat.S_ISREG(found.st_mode):
                    self._own[channel] = os.dup(descriptor)
                    self._seen[channel] = found.st_size
        self._flush = ctypes.CDLL(None).fflush if self._own else None

    def flush(self) -> None:
        """Write out C's own buffers: a file is not flushed line by line."""
        if self._flush is not None:
            self._flush(None)

    def grown(self, channel: int) -> bool:
        """Whether a file is longer than what was asked for."""
        try:
            return os.lseek(self._own[channel], 0, os.SEEK_END) != self._seen[channel]
        except (KeyError, OSError):  # user code closed all there was
            self._own.pop(channel, None)
            return False

    def advance(self, channel: int) -> tuple[int, int]:
        """Return the part of a file that was not asked for yet, as (first byte, byte after the last)."""
        first = self._seen[channel]
        self._seen[channel] = end = os.lseek(self._own[channel], 0, os.SEEK_END)
        return (first if first <= end else 0), end

    def read(self, channel: int, first: int, end: int) -> str:
        """Return a part of a file, or its beginning and what is missing."""
        try:
            data = os.pread(self._own[channel], min(end - first, CHUNK), first)
        except (KeyError, OSError):
            return ""
        text = self._decoders[channel].decode(data)
        if end - first > CHUNK:
            text += f"\n[nbfn: {end - first - CHUNK} bytes are passed over here]\n"
        return text

    def too_long(self) -> bool:
        """Whether there is something to cut."""
        return max(self._seen) > MAX_LOG

    def cut(self) -> list[int]:
        """Empty files that are too long and have been read to their ends; return their channels."""
        cut = []
        for channel, descriptor in tuple(self._own.items()):
            with contextlib.suppress(OSError):
                if self._seen[channel] > MAX_LOG and not self.grown(channel):
                    os.ftruncate(descriptor, 0)
                    self._seen[channel] = 0
                    cut.append(channel)
        return cut
