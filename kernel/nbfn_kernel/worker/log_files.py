"""Reads output of C code and subprocesses from the log files behind descriptors 1 and 2."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import os
import stat

#: The number of log files: stdout is channel 0, stderr channel 1.
FILES, STDERR = 2, 1
#: Bytes above which a log file is truncated.
MAX_LOG = 8 * 1024 * 1024
#: The largest number of bytes that are forwarded at a time; more are skipped.
CHUNK = 4 * 1024 * 1024


class LogFiles:
    """The log files of a worker's stdout and stderr, channels 0 and 1.

    They are read through duplicated descriptors, since user code may close or redirect 1 and 2. Seeking does not affect
    writers, which always append.

    Args:
        descriptors: The descriptors of stdout and stderr.
    """

    def __init__(self, descriptors: tuple[int, int] = (1, 2)) -> None:
        self._descriptors: dict[int, int] = {}  # descriptors, by channel
        self._positions = [0, 0]
        # A character may be split over two reads.
        self._decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in range(FILES)]
        for channel, descriptor in enumerate(descriptors):
            with contextlib.suppress(OSError):
                found = os.fstat(descriptor)
                os.pread(descriptor, 0, 0)  # fails if it is write-only
                if stat.S_ISREG(found.st_mode):
                    self._descriptors[channel] = os.dup(descriptor)
                    self._positions[channel] = found.st_size
        self._flush = ctypes.CDLL(None).fflush if self._descriptors else None

    def flush(self) -> None:
        """Flush the buffers of C's stdio, which are not flushed at the end of a line."""
        if self._flush is not None:
            self._flush(None)

    def has_grown(self, channel: int) -> bool:
        """Return whether a file has unread output."""
        try:
            return os.lseek(self._descriptors[channel], 0, os.SEEK_END) != self._positions[channel]
        except (KeyError, OSError):  # user code closed all descriptors
            self._descriptors.pop(channel, None)
            return False

    def grown(self) -> list[int]:
        """Return the channels with unread output."""
        return [channel for channel in tuple(self._descriptors) if self.has_grown(channel)]

    def advance(self, channel: int) -> tuple[int, int]:
        """Mark the unread part of a file as read; return its start and end offset."""
        first = self._positions[channel]
        self._positions[channel] = end = os.lseek(self._descriptors[channel], 0, os.SEEK_END)
        return (first if first <= end else 0), end

    def read(self, channel: int, first: int, end: int) -> str:
        """Return a part of a file, of at most `CHUNK` bytes and a line with the number of skipped ones."""
        try:
            data = os.pread(self._descriptors[channel], min(end - first, CHUNK), first)
        except (KeyError, OSError):
            return ""
        text = self._decoders[channel].decode(data)
        if end - first > CHUNK:
            text += f"\n[nbfn: {end - first - CHUNK} bytes are skipped here]\n"
        return text

    def needs_truncation(self) -> bool:
        """Return whether a file is larger than `MAX_LOG`."""
        return max(self._positions) > MAX_LOG

    def truncate(self) -> list[int]:
        """Truncate files that are larger than `MAX_LOG` and fully read; return their channels."""
        truncated = []
        for channel, descriptor in tuple(self._descriptors.items()):
            with contextlib.suppress(OSError):
                if self._positions[channel] > MAX_LOG and not self.has_grown(channel):
                    os.ftruncate(descriptor, 0)
                    self._positions[channel] = 0
                    truncated.append(channel)
        return truncated
