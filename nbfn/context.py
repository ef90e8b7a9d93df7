"""Stores the input that a worker currently runs, and whether this process is a worker.

The worker sets this state; user code and nbfn read it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from nbfn.exception import ExecutionError

_current: ContextVar[tuple[str, int] | None] = ContextVar("nbfn_current_input", default=None)
_name_input: Callable[[str, int], str] | None = None
_stop_fetching: Callable[[], None] | None = None
_latest_input: Callable[[], tuple[str, int] | None] | None = None

#: The worker calls it with (call id, index) before each input, and with None after the last.
set_current = _current.set
#: Returns (call id, index) of the current input, or None outside an input.
current = _current.get


def enter_worker(
    name_input: Callable[[str, int], str],
    stop_fetching: Callable[[], None] | None = None,
    latest_input: Callable[[], tuple[str, int] | None] | None = None,
) -> None:
    """Mark this process as a worker.

    Args:
        name_input: Function that returns the public id of an input for a call id and an index.
        stop_fetching: Function that makes the worker exit after the inputs that it runs now.
        latest_input: Function that returns the call id and index of the running input that began last,
            or None if no input runs.
    """
    global _name_input, _stop_fetching, _latest_input
    _name_input, _stop_fetching, _latest_input = name_input, stop_fetching, latest_input


def stop_fetching() -> None:
    """Make this worker exit after the inputs that it runs now.

    Raises:
        ExecutionError: If this process is not a worker.
    """
    if _stop_fetching is None:
        raise ExecutionError("stop_fetching_inputs() is for code that runs in a worker.")
    _stop_fetching()


def is_local() -> bool:
    """Return whether this code runs in the notebook or script itself, not in a worker."""
    return _name_input is None


def current_input_id() -> str | None:
    """Return the id (``in-...``) of the current input, or None outside an input."""
    current = _current.get()
    return _name_input(*current) if current and _name_input else None


def current_input() -> str:
    """Return the `input_name` of the current input; empty outside an input."""
    running = _current.get()
    return input_name(running) if running else ""


def spawning_input() -> str:
    """Return the `input_name` of the input whose code spawns a call; empty outside an input.

    Threads that user code starts have no current input. Their output, and the output of the calls that they spawn,
    is attributed to the running input that began last.
    """
    running = _current.get() or (_latest_input() if _latest_input is not None else None)
    return input_name(running) if running else ""


def input_name(running: tuple[str, int]) -> str:
    """Return the name that the hub uses for an input: ``<call id>:<index>``.

    Args:
        running: The call id and the index.
    """
    return f"{running[0]}:{running[1]}"


def current_function_call_id() -> str | None:
    """Return the id (``fc-...``) of the call of the current input, or None outside an input."""
    current = _current.get()
    return current[0] if current else None
