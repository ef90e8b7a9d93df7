"""Converts the peak resident memory of a process to bytes: Linux reports KiB, macOS bytes."""

from __future__ import annotations

import resource
import sys

_UNIT = 1 if sys.platform == "darwin" else 1024


def peak_memory(usage: resource.struct_rusage) -> int:
    """Return the peak resident memory of a process in bytes.

    Args:
        usage: The result of `resource.getrusage` or `os.wait4`.
    """
    return usage.ru_maxrss * _UNIT
