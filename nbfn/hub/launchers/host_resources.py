"""What this machine has, as far as the operating system tells without anybody's library."""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil

#: Where control groups say how much memory there may be; version 2, then 1.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory() -> int:
    """Return the bytes of memory that processes here may have together."""
    total = int(psutil.virtual_memory().total)
    for path in _MEMORY_LIMITS:
        try:
            said = Path(path).read_text().strip()
        except OSError:
            continue
        if said.isdigit():
            total = min(total, int(said))
    return total


def gpus(devices: Path = Path("/dev")) -> tuple[str, ...]:
    """Return what each GPU is called in CUDA_VISIBLE_DEVICES; that variable may have hidden some."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        named = [name.strip() for name in visible.split(",")]
        stop = next((n for n, name in enumerate(named) if name in {"", "-1"}), len(named))
        return tuple(named[:stop])
    found = (re.fullmatch(r"nvidia(\d+)", path.name) for path in devices.glob("nvidia*"))
    return tuple(str(number) for number in sorted(int(match[1]) for match in found if match))
