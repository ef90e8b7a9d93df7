"""Reads the last lines that a process wrote to stderr, and cuts what is about nbfn's own code from a crash report."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

#: Lines, and bytes, of a worker's stderr that are told when it ends.
TAIL_LINES, TAIL_BYTES = 20, 8192
#: How faulthandler begins.
CRASH = "Fatal Python error"
#: From such a line on, what faulthandler wrote is about the worker itself, not about user code.
OWN_FRAMES = re.compile(
    r"nbfn_kernel/worker/(serial_executor|batch|concurrent_executor)\.py|^Extension modules: "
)
#: Such a line tells that it is about the thread that speaks with the hub: no frame is of user code.
OWN_THREAD = re.compile(r"nbfn_kernel/worker/hub_connection\.py")


def tail(path: Path) -> str:
    """Return the last lines of a text file, or the first ones of faulthandler's; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return last_lines(file.read().decode("utf-8", "replace"))
    except OSError:
        return ""


def last_lines(text: str) -> str:
    """Return the last lines of a text, or the first ones of what faulthandler wrote in it."""
    crash = text.rfind(CRASH)
    if crash >= 0:
        return "\n".join(without_own_frames(text[crash:]).splitlines()[:TAIL_LINES])
    return "\n".join(text[-TAIL_BYTES:].splitlines()[-TAIL_LINES:])


def without_own_frames(text: str) -> str:
    """Cut what faulthandler wrote where its list of frames comes to the worker's own."""
    lines = text.splitlines(keepends=True)
    crash = max((n for n, line in enumerate(lines) if line.startswith(CRASH)), default=len(lines))
    told = list(itertools.takewhile(lambda line: not OWN_FRAMES.search(line), lines[crash:]))
    if any(map(OWN_THREAD.search, told)):
        told = told[:1]
    return "".join([*lines[:crash], *told]).rstrip("\n") + "\n"
