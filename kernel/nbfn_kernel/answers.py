"""What a worker answers for an input: a status, and a value or an exception as a payload."""

from __future__ import annotations

import os
import sys
import traceback
from types import CodeType, TracebackType
from typing import NoReturn

from nbfn.exception import FunctionTimeoutError, SerializationError
from nbfn.types import InputStatus
from nbfn.wire.failure import dump_exception, format_exception
from nbfn.wire.messages import Payload
from nbfn.wire.payload import Carrier
from nbfn_kernel import objects

SUCCESS, FAILURE = int(InputStatus.SUCCESS), int(InputStatus.FAILURE)
TERMINATED, TIMEOUT = int(InputStatus.TERMINATED), int(InputStatus.TIMEOUT)
#: Modules whose frames are no business of the user's.
HIDDEN = frozenset({
    "asyncio.base_events", "cloudpickle.cloudpickle", "nbfn.wire.payload", "nbfn_kernel.crew", "nbfn_kernel.items",
    "nbfn.lifecycle", "nbfn_kernel.objects", "nbfn_kernel.runner", "nbfn_kernel.service",
    "nbfn_kernel.unit", "threading",
})  # fmt: skip
#: What a worker exits with whose user code raised KeyboardInterrupt: as a program that one ends.
INTERRUPTED = 130

Answer = tuple[int, Payload | None]


def success(carrier: Carrier, name: str, value: object) -> Answer:
    """Return the answer of an input that returned.

    Raises:
        InvalidError: If it returned a generator or a coroutine.
        SerializationError: If the value cannot be pickled.
    """
    if type(value) not in objects.PLAIN:
        objects.check_value(name, value)
    try:
        return SUCCESS, carrier.dump_result(value)
    except SerializationError as error:
        raise unsendable(name, error) from error.__cause__


def failure(carrier: Carrier, error: BaseException, *, printed: bool = False) -> Answer:
    """Return the answer of an input that raised; where nobody waits for it, print what it raised, too."""
    if printed:
        sys.stderr.write(format_exception(error, hide=HIDDEN))
    return FAILURE, dump_exception(carrier, error, hide=HIDDEN)


def late(carrier: Carrier, name: str, limit: float, trace: TracebackType | None = None) -> Answer:
    """Return the answer of an input that ran over its time."""
    error = FunctionTimeoutError(f"{name!r} ran longer than its timeout of {limit:g} s.")
    error.__traceback__ = trace
    return TIMEOUT, dump_exception(carrier, error, hide=HIDDEN)


def unsendable(name: str, error: SerializationError) -> SerializationError:
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


def die_interrupted(error: KeyboardInterrupt) -> NoReturn:
    """End the worker: user code raised KeyboardInterrupt, which asks for that."""
    traceback.print_exception(error, file=sys.__stderr__)
    if sys.__stderr__ is not None:
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
