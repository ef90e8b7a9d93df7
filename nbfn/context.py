"""Tells user code where it runs and which input is current; the worker sets it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from nbfn.exception import ExecutionError

_current: ContextVar[tuple[str, int] | None] = ContextVar("nbfn_current_input", default=None)
_name_input: Callable[[str, int], str] | None = None
_stop_fetching: Callable[[], None] | None = None
_latest_input: Callable[[], tuple[str, int] | None] | None = None

#: Called by the worker with (call id, index) before each input, and with None after the last.
set_current = _current.set
#: Returns (call id, index) of the input being run, or None outside an input.
current = _current.get


def enter_worker(
    name_input: Callable[[str, int], str],
    stop_fetching: Callable[[], None] | None = None,
    latest_input: Callable[[], tuple[str, int] | None] | None = None,
) -> None:
    """Tell this module that it is in a worker.

    Args:
        name_input: Makes the public id of an input from its call's id and its index.
        stop_fetching: Has the worker end after what it runs.
        latest_input: Returns the call id and index of the input that began last and runs, if one does.
    """
    global _name_input, _stop_fetching, _latest_input
    _name_input, _stop_fetching, _latest_input = name_input, stop_fetching, latest_input


def stop_fetching() -> None:
    """Have this worker end after what it runs.

    Raises:
        ExecutionError: Outside of a worker.
    """
    if _stop_fetching is None:
        raise ExecutionError("stop_fetching_inputs() is for code that runs in a worker.")
    _stop_fetching()


def is_local() -> bool:
    """Whether this code runs outside a worker: in the notebook or script itself."""
    return _name_input is None


def current_input_id() -> str | None:
    """Return the id (``in-...``) of the input being run, or None outside an input."""
    current = _current.get()
    return _name_input(*current) if current and _name_input else None


def current_input() -> str:
    """Return what the hub knows the input being run by: its call's id and its index; empty outside an input."""
    running = _current.get()
    return input_name(running) if running else ""


def spawning_input() -> str:
    """Return what the hub knows the input by whose code spawns a call.

    Threads that user code starts have no context of an input; what they print is the output of the input that began
    last, and so is what their spawned calls print.
    """
    running = _current.get() or (_latest_input() if _latest_input is not None else None)
    return input_name(running) if running else ""


def input_name(running: tuple[str, int]) -> str:
    """Return the hub's name of an input: its call's id and its index."""
    return f"{running[0]}:{running[1]}"


def current_function_call_id() -> str | None:
    """Return the id (``fc-...``) of the call that the input being run belongs to, or None."""
    current = _current.get()
    return current[0] if current else None
