"""The result of an input: a status, and a value or an exception as a payload."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, TracebackType
from typing import Any, NoReturn

from nbfn.exception import (
    DeserializationError,
    FunctionTimeoutError,
    InvalidError,
    SerializationError,
)
from nbfn.protocol.messages import Payload
from nbfn.serialization.payload import Carrier
from nbfn.serialization.remote_exception import dump_exception, format_exception
from nbfn.types import InputStatus
from nbfn_kernel.worker import function_loader, output_capture, stdin
from nbfn_kernel.worker.target import Target

SUCCESS, FAILURE = int(InputStatus.SUCCESS), int(InputStatus.FAILURE)
TERMINATED, TIMEOUT = int(InputStatus.TERMINATED), int(InputStatus.TIMEOUT)
#: Modules whose frames are no business of the user's.
HIDDEN = frozenset({
    "asyncio.base_events", "cloudpickle.cloudpickle", "nbfn.declarations.lifecycle",
    "nbfn.serialization.payload", "nbfn_kernel.web.asgi",
    "nbfn_kernel.worker.batch", "nbfn_kernel.worker.concurrent_executor", "nbfn_kernel.worker.function_loader",
    "nbfn_kernel.worker.generator_stream", "nbfn_kernel.worker.input_result", "nbfn_kernel.worker.loaded_function",
    "nbfn_kernel.worker.serial_executor", "threading",
})  # fmt: skip
#: Types of errors that may be final.
_FINAL = (TypeError, InvalidError, SerializationError, DeserializationError)
#: What a worker exits with whose user code raised KeyboardInterrupt: as a program that one ends.
INTERRUPTED = 130

#: A status, a value or an exception, and whether every attempt would end in this failure.
InputResult = tuple[int, Payload | None, bool]


def success(carrier: Carrier, name: str, value: object) -> InputResult:
    """Return the answer of an input that returned.

    Raises:
        InvalidError: If it returned a generator or a coroutine.
        SerializationError: If the value cannot be pickled.
    """
    if type(value) not in function_loader.PLAIN:
        function_loader.check_value(name, value)
    return SUCCESS, carrier.dump_result(value), False


def failure(
    carrier: Carrier,
    error: BaseException,
    target: Target,
    *,
    logged_as: int = 0,
    others: bool = False,
) -> InputResult:
    """Return the answer of an input that failed.

    Args:
        carrier: Of this process.
        error: What it raised.
        target: What it called.
        logged_as: The lease of an input whose failure nobody may look at: its traceback goes to the logs.
        others: Whether the error is that of other inputs of its batch.
    """
    if (
        type(error).__name__ == "BdbQuit"
    ):  # IPython takes that for the end of a cell, and shows nothing
        error = _left_debugger(target.name, error)
    if final := not others and _is_final(error, target.function):
        error = _named(target.name, error)
    if logged_as:
        output_capture.log_failure(logged_as, format_exception(error, hide=HIDDEN))
    return FAILURE, dump_exception(carrier, error, hide=HIDDEN), final


def _is_final(error: BaseException, function: Callable[..., Any]) -> bool:
    """Return whether every attempt fails with this error: arguments or a result that do not fit or travel.

    Such an error is raised outside of the function's code, so that no frame of it is in the traceback.
    """
    if _is_raised_by(error, stdin.__name__):
        return True
    if not isinstance(error, _FINAL) or isinstance(error.__cause__, OSError | MemoryError):
        return False
    tb = error.__traceback__
    while tb is not None and tb.tb_frame.f_globals.get("__name__") in HIDDEN:
        tb = tb.tb_next
    return tb is None or (isinstance(error, TypeError) and _is_of_call(error, tb, function))


def _is_of_call(error: TypeError, tb: TracebackType | None, function: Callable[..., Any]) -> bool:
    """Return whether a decorator's wrapper called the function itself with arguments that do not fit it."""
    called = inspect.unwrap(getattr(function, "__func__", function))
    if called is function or not isinstance(called, FunctionType):
        return False
    while tb is not None:
        if tb.tb_frame.f_code is called.__code__:
            return False
        tb = tb.tb_next
    return str(error).startswith(f"{called.__qualname__}() ")


def _is_raised_by(error: BaseException, module: str) -> bool:
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    return tb is not None and tb.tb_frame.f_globals.get("__name__") == module


def _left_debugger(name: str, error: BaseException) -> BaseException:
    """Return what stands for the exception by which a debugger ends a program."""
    left = stdin.needs_terminal(f"A debugger ended this call of {name!r}")
    return left.with_traceback(error.__traceback__)


def _named(name: str, error: BaseException) -> BaseException:
    """Return an error of arguments or a result with the name of their function."""
    if isinstance(error, SerializationError):
        return _unsendable(name, error)
    if isinstance(error, DeserializationError):
        named = DeserializationError(f"An argument of {name!r} cannot be unpickled. {error}")
        named.__cause__ = error.__cause__
        return named
    return error


def late(
    carrier: Carrier,
    name: str,
    limit: float,
    trace: TracebackType | None = None,
    *,
    logged_as: int = 0,
) -> InputResult:
    """Return the answer of an input that ran over its time; ``logged_as`` as of `failure`."""
    error = FunctionTimeoutError(f"{name!r} ran longer than its timeout of {limit:g} s.")
    error.__traceback__ = trace
    if logged_as:
        output_capture.log_failure(logged_as, format_exception(error, hide=HIDDEN))
    return TIMEOUT, dump_exception(carrier, error, hide=HIDDEN), False


def _unsendable(name: str, error: SerializationError) -> SerializationError:
    """Return the error of an input whose result cannot be pickled."""
    before, named, after = str(error).partition("Cannot pickle an object of type ")
    if before or not named:
        return error  # no room, say
    told = SerializationError(
        f"The result of {name!r} holds an object of type {after.partition(': ')[0]}, "
        "which cannot be pickled. Return what it was made of instead."
    )
    told.__cause__ = error.__cause__
    return told


def end_child(error: BaseException | None) -> NoReturn:
    """End a forked child that came back from the user's code, as the end of a program would."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        sys.stderr.write(format_exception(error, hide=HIDDEN))
        code = 1
    os._exit(code & 0xFF)


def die_interrupted(error: KeyboardInterrupt, handler: CodeType | None = None) -> NoReturn:
    """End the worker: user code raised KeyboardInterrupt, or ``handler`` did, which asks for that."""
    if handler is not None:
        error.__traceback__ = without(error.__traceback__, handler)
    if sys.__stderr__ is not None:
        sys.__stderr__.write(format_exception(error, hide=HIDDEN))
        sys.__stderr__.flush()
    os._exit(INTERRUPTED)


def without(tb: TracebackType | None, handler: CodeType) -> TracebackType | None:
    """Cut a traceback where user code was stopped, before the frames of the signal handler."""
    last = tb
    while last is not None and last.tb_next is not None:
        if last.tb_next.tb_frame.f_code is handler:
            last.tb_next = None
            break
        last = last.tb_next
    return tb
