"""`AppOutputWriter`: prints the output of an App's workers in whole lines."""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime

from nbfn.client import console
from nbfn.protocol.messages import AppOutput

#: Most characters of an unfinished line that are buffered.
LONGEST = 8 * 1024
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)")


class AppOutputWriter:
    """Writes lines to this process's stdout and stderr. Not thread-safe.

    Args:
        named: Whether to put the Function's name before each line.
        timestamps: Whether to put the time before each line.
    """

    def __init__(self, *, named: bool = False, timestamps: bool = False) -> None:
        self._named = named
        self._timestamps = timestamps
        self._begun: dict[tuple[str, str, int, str], str] = {}  # unfinished lines

    def take(self, output: AppOutput) -> None:
        """Write the complete lines; buffer an unfinished one."""
        key = (output.function, output.call, output.index, output.channel)
        text = self._begun.pop(key, "") + output.data.decode("utf-8", "replace")
        end = 0
        for line in _LINE.finditer(text):
            self._write(output.function, output.channel, line[0])
            end = line.end()
        if len(text) - end > LONGEST:
            self._write(output.function, output.channel, f"{text[end:]}\n")
        elif end < len(text):
            self._begun[key] = text[end:]

    def close(self) -> None:
        """Write the unfinished lines."""
        begun, self._begun = self._begun, {}
        for (function, _, _, channel), text in begun.items():
            self._write(function, channel, f"{text}\n")

    def _write(self, function: str, source: str, line: str) -> None:
        channel = "stdout" if source == "stdout" else "stderr"
        before = f"{stamp()} " if self._timestamps else ""
        if self._named:
            before += _coloured(channel, f"{function} | ")
        console.write(channel, f"{before}{line}", source="app")


def stamp() -> str:
    """Return the current time as it is put before lines."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _coloured(channel: str, text: str) -> str:
    stream = getattr(sys, channel)
    if "NO_COLOR" in os.environ or stream is None or not stream.isatty():
        return text
    return f"\x1b[36m{text}\x1b[39m"
