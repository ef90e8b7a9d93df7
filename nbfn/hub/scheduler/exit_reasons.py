"""Describes how a worker ended, as text and as the attributes of `WorkerCrashed`."""

from __future__ import annotations

import signal as signals

from nbfn.hub.scheduler.events import WorkerExited
from nbfn.hub.scheduler.models import Pool
from nbfn.runtime.byte_size import format_bytes

#: The reason for a worker that lost its connection and did not reconnect.
UNREACHABLE = "its connection ended and it did not reconnect"


def how(event: WorkerExited) -> str:
    """Return how a process ended, as a short text."""
    if event.memory_limit:
        return f"out of memory (limit {format_bytes(event.memory_limit)})"
    if event.signal is None:
        known = event.exit_code is not None
        return (
            f"exit code {event.exit_code}"
            if known
            else "exit status unknown: the hub was restarted, or the process that starts workers ended"
        )
    name = signal_name(event.signal)
    hint = ", by another process or by a system out of memory" if name == "SIGKILL" else ""
    return f"killed by signal {event.signal}, {name}{hint}"


def shut_down_by(signal: int) -> str:
    """Return how a worker ended that shut down normally after a signal."""
    return f"told to end by signal {signal}, {signal_name(signal)}"


def signal_name(number: int) -> str:
    """Return the name of a signal."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return "unknown"


def peak(event: WorkerExited) -> str:
    """Return the peak memory of a process as text, if it is known."""
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
