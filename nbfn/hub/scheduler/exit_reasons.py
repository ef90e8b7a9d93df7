"""Describes how a worker ended, in words and as the attributes of `WorkerCrashed`."""

from __future__ import annotations

import signal as signals

from nbfn.hub.scheduler.events import WorkerExited
from nbfn.hub.scheduler.models import Pool
from nbfn.runtime.byte_size import format_bytes

#: How a worker ended whose connection broke and did not come back.
UNREACHABLE = "its connection ended and did not come back"


def how(event: WorkerExited) -> str:
    """Return in a few words how a process ended."""
    if event.memory_limit:
        return f"out of memory (limit {format_bytes(event.memory_limit)})"
    if event.signal is None:
        known = event.exit_code is not None
        return (
            f"exit code {event.exit_code}"
            if known
            else "nobody saw how: the hub was restarted, or the process ended that starts workers"
        )
    name = signal_name(event.signal)
    hint = ", by somebody or by a system out of memory" if name == "SIGKILL" else ""
    return f"killed by signal {event.signal}, {name}{hint}"


def told_to_end(signal: int) -> str:
    """Return how a worker ended that a signal told to end, in good order."""
    return f"told to end by signal {signal}, {signal_name(signal)}"


def signal_name(number: int) -> str:
    """Return what a signal is called."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return "unknown"


def peak(event: WorkerExited) -> str:
    """Return how much memory a process held at most, where that is known."""
    return f", peak memory {format_bytes(event.memory_peak)}" if event.memory_peak else ""


def last_lines(event: WorkerExited) -> str:
    """Return the last lines that a process wrote to stderr, below a heading."""
    return f"\nThe last lines it wrote to stderr:\n{event.stderr}" if event.stderr else ""


def details(pool: Pool, event: WorkerExited) -> dict[str, object]:
    """Return the attributes of `WorkerCrashed`."""
    return {
        "exit_code": event.exit_code,
        "signal": event.signal,
        "memory_peak": event.memory_peak,
        "stderr": event.stderr,
        "oom": bool(event.memory_limit),
        "memory_limit": event.memory_limit or pool.definition.resources.memory_limit,
    }
