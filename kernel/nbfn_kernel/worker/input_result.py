"""Makes the result of an input: a status, and a value or an exception as a payload."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, TracebackType
from typing import Any, NoReturn

from nbfn.exception import (
    DataLossError,
    DeserializationError,
    FunctionTimeoutError,
    InvalidError,
    SerializationError,
)
from nbfn.protocol.messages import Payload
from nbfn.serialization.payload import Serializer
from nbfn.serialization.remote_exception import dump_exception, format_exception
from nbfn.types import InputStatus
from nbfn_kernel.worker import function_loader, output_capture, stdin
from nbfn_kernel.worker.target import Target

SUCCESS, FAILURE = int(InputStatus.SUCCESS), int(InputStatus.FAILURE)
TERMINATED, TIMEOUT = int(InputStatus.TERMINATED), int(InputStatus.TIMEOUT)
#: Modules whose frames are removed from tracebacks.
HIDDEN = frozenset({
    "asyncio.base_events", "cloudpickle.cloudpickle", "nbfn.declarations.lifecycle",
    "nbfn.serialization.payload", "nbfn_kernel.web.asgi",
    "nbfn_kernel.worker.batch", "nbfn_kernel.worker.concurrent_executor", "nbfn_kernel.worker.function_loader",
    "nbfn_kernel.worker.generator_stream", "nbfn_kernel.worker.input_result", "nbfn_kernel.worker.loaded_function",
    "nbfn_kernel.worker.serial_executor", "threading",
})  # fmt: skip
#: Types of errors that may be final; see `_is_final`.
_FINAL = (TypeError, InvalidError, SerializationError, DeserializationError, DataLossError)
#: The exit code of a worker whose user code raised KeyboardInterrupt, as of a program that Ctrl-C ends.
INTERRUPTED = 130

#: A status; a value or an exception; and whether the failure is final: every attempt would fail in the same way.
InputResult = tuple[int, Payload | None, bool]


def success(serializer: Serializer, name: str, value: object) -> InputResult:
    """Return the result of an input whose function returned a value.

    Raises:
        InvalidError: If the value is a generator or a coroutine.
        SerializationError: If the value cannot be pickled.
    """
    if type(value) not in function_loader.PLAIN_TYPES:
        function_loader.check_value(name, value)
    return SUCCESS, serializer.dump_result(value), False


def failure(
    serializer: Serializer,
    error: BaseException,
    target: Target,
    *,
    logged_as: int = 0,
    of_other_inputs: bool = False,
) -> InputResult:
    """Return the result of an input that failed.

    Args:
        serializer: Pickles the exception.
        error: The exception that was raised.
        target: The function or method that the input called.
        logged_as: The lease of an input whose caller may not read the result, so that the traceback is logged; else 0.
        of_other_inputs: Whether other inputs of the batch caused the error.
    """
    if type(error).__name__ == "BdbQuit":  # IPython shows nothing for it
        error = _debugger_exit(target.name, error)
    if final := not of_other_inputs and _is_final(error, target.function):
        error = _with_function_name(target.name, error)
    if logged_as:
        output_capture.log_failure(logged_as, format_exception(error, hide=HIDDEN))
    return FAILURE, dump_exception(serializer, error, hide=HIDDEN), final


def _is_final(error: BaseException, function: Callable[..., Any]) -> bool:
    """Return whether every attempt would fail with this error.

    That is so for arguments that do not fit and for values that cannot be pickled or unpickled. Such errors are raised
    outside of the function's code, so the traceback has no frame of it.
    """
    if _is_raised_by(error, stdin.__name__):
        return True
    if not isinstance(error, _FINAL) or isinstance(error.__cause__, OSError | MemoryError):
        return False
    tb = error.__traceback__
    while tb is not None and tb.tb_frame.f_globals.get("__name__") in HIDDEN:
        tb = tb.tb_next
    return tb is None or (isinstance(error, TypeError) and _is_argument_error(error, tb, function))


def _is_argument_error(
    error: TypeError, tb: TracebackType | None, function: Callable[..., Any]
) -> bool:
    """Return whether the wrapper of a decorated function called it with arguments that do not fit."""
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


def _debugger_exit(name: str, error: BaseException) -> BaseException:
    """Return the error to report in place of the exception by which a debugger ends a program."""
    exited = stdin.terminal_error(f"A debugger ended this call of {name!r}")
    return exited.with_traceback(error.__traceback__)


def _with_function_name(name: str, error: BaseException) -> BaseException:
    """Return an error of arguments or a result, with the name of the function added."""
    if isinstance(error, SerializationError):
        return _unpicklable_result(name, error)
    if isinstance(error, DeserializationError):
        named = DeserializationError(f"An argument of {name!r} cannot be unpickled. {error}")
        named.__cause__ = error.__cause__
        return named
    if isinstance(error, DataLossError):
        return DataLossError(f"An argument of {name!r} is lost. {error}")
    return error


def timed_out(
    serializer: Serializer,
    name: str,
    limit: float,
    trace: TracebackType | None = None,
    *,
    logged_as: int = 0,
) -> InputResult:
    """Return the result of an input that exceeded its timeout.

    Args:
        serializer: Pickles the exception.
        name: The name of the function.
        limit: The timeout, in seconds.
        trace: The traceback of the interrupted code.
        logged_as: As of `failure`.
    """
    error = FunctionTimeoutError(f"{name!r} ran longer than its timeout of {limit:g} s.")
    error.__traceback__ = trace
    if logged_as:
        output_capture.log_failure(logged_as, format_exception(error, hide=HIDDEN))
    return TIMEOUT, dump_exception(serializer, error, hide=HIDDEN), False


def _unpicklable_result(name: str, error: SerializationError) -> SerializationError:
    """Return the error of an input whose result cannot be pickled."""
    before, named, after = str(error).partition("Cannot pickle an object of type ")
    if before or not named:
        return error  # another reason, for example no disk space
    error_with_name = SerializationError(
        f"The result of {name!r} holds an object of type {after.partition(': ')[0]}, "
        "which cannot be pickled. Return what it was made of instead."
    )
    error_with_name.__cause__ = error.__cause__
    return error_with_name


def exit_child(error: BaseException | None) -> NoReturn:
    """Exit a forked child in which the user's function has returned or raised, with the exit code of a program."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        sys.stderr.write(format_exception(error, hide=HIDDEN))
        code = 1
    os._exit(code & 0xFF)


def exit_interrupted(error: KeyboardInterrupt, handler: CodeType | None = None) -> NoReturn:
    """Exit the worker after user code, or the signal handler ``handler``, raised KeyboardInterrupt."""
    if handler is not None:
        error.__traceback__ = cut_traceback(error.__traceback__, handler)
    if sys.__stderr__ is not None:
        sys.__stderr__.write(format_exception(error, hide=HIDDEN))
        sys.__stderr__.flush()
    os._exit(INTERRUPTED)


def cut_traceback(tb: TracebackType | None, handler: CodeType) -> TracebackType | None:
    """Remove the frames of a signal handler, and those below, from a traceback; return the traceback."""
    last = tb
    while last is not None and last.tb_next is not None:
        if last.tb_next.tb_frame.f_code is handler:
            last.tb_next = None
            break
        last = last.tb_next
    return tb
