"""Reads the largest resident memory of a process, which Linux tells in KiB and macOS in bytes."""

from __future__ import annotations

import resource
import sys

_UNIT = 1 if sys.platform == "darwin" else 1024


def peak_memory(usage: resource.struct_rusage) -> int:
    """Return the bytes of the peak in what `resource.getrusage` or `os.wait4` tells of a process."""
    return usage.ru_maxrss * _UNIT
