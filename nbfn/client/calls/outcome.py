"""Unpickles outcomes: the value or the error of one input, as the caller gets it."""

from __future__ import annotations

from typing import Any

from nbfn import exception
from nbfn.client.calls import call_hints
from nbfn.exception import NEEDS_TERMINAL
from nbfn.protocol.messages import Output, Payload
from nbfn.runtime.sync import raisable
from nbfn.serialization import remote_exception
from nbfn.serialization.payload import Serializer
from nbfn.types import InputStatus


def result_of(serializer: Serializer, output: Output, name: str, call_id: str) -> Any:
    """Return the value of an outcome, or raise its error. Runs on the caller's thread.

    Args:
        serializer: The serializer of this process.
        output: The outcome.
        name: The Function's name, for notes and messages.
        call_id: The call's id, for notes and messages.

    Raises:
        Exception: The error of the input, if it failed.
    """
    __tracebackhide__ = True
    if output.status != InputStatus.SUCCESS:
        raise raisable(_error_of(serializer, output, name, call_id), repr(name))
    if (payload := output.payload) is None:
        return None
    if not payload.segments:
        return value_of(serializer, payload, name)
    try:
        return value_of(serializer, payload, name)
    finally:
        serializer.discard(payload)


def value_of(serializer: Serializer, payload: Payload, name: str) -> Any:
    """Unpickle a value that a Function returned or yielded.

    Raises:
        ExecutionError: If it cannot be unpickled in this process.
    """
    __tracebackhide__ = True
    try:
        return serializer.load(payload)
    except exception.DeserializationError as error:
        raise exception.ExecutionError(
            f"Could not deserialize the result of {name!r} due to an error here: {error}"
        ) from error.__cause__


def _error_of(serializer: Serializer, output: Output, name: str, call_id: str) -> BaseException:
    """Return the error of a failed outcome, with a note on the worker and the attempt."""
    error: BaseException
    if output.fault is not None:
        fault = output.fault
        error = exception.from_fault(fault.code, fault.message, fault.details)
    elif output.payload is not None:
        error = remote_exception.load_exception(serializer, output.payload)
        serializer.discard(output.payload)
    else:
        error = exception.RemoteError(f"An input of {name!r} ended without a result ({call_id}).")
    if output.worker:
        which = f"{call_id}[{output.index}]" if output.index else call_id
        where = f"{output.worker[:8]}…{_attempt_of(output)}"
        error.add_note(f"{name or 'The call'} ran on {where} ({which})")
        if vars(error).get(NEEDS_TERMINAL) and (hint := call_hints.replay(which)):
            error.add_note(hint)
    return error


def _attempt_of(output: Output) -> str:
    """Return which attempt an outcome is of; "" for the first."""
    if output.attempt <= 1:
        return ""
    # Attempts whose worker was lost do not count.
    of = f" of {output.attempts}" if output.attempts >= output.attempt else ""
    return f", attempt {output.attempt}{of}"


def outcome_name(status: int) -> str:
    """Return the word for a status that observers get: success, failure or terminated."""
    if status == InputStatus.SUCCESS:
        return "success"
    return "terminated" if status == InputStatus.TERMINATED else "failure"
