"""Every error nbfn raises on purpose, with the code that names it on the wire.

```
Exception
 └ Error                        error
    ├ InvalidError              invalid            the call is wrong; fix it here
    │  └ ConflictError          conflict           it collides with something that exists
    ├ NotFoundError             not_found          no such App, Function or call
    ├ AuthError                 auth               the hub does not know you
    ├ ExecutionError            execution          it cannot be done from here
    ├ SerializationError        serialization      a value cannot be pickled
    ├ DeserializationError      deserialization    a value cannot be rebuilt at the other end
    ├ TimeoutError              timeout            (not the builtin)
    │  ├ FunctionTimeoutError   function_timeout   the body ran longer than `timeout`
    │  └ OutputExpiredError     output_expired     the result was kept long enough
    ├ RemoteError               remote             it went wrong at the worker, without a type we
    have ├ ServiceError              service            the hub or the way to it │  ├
    ConnectionError        connection         no hub answers (not the builtin) │  └ VersionError
    version            the two ends do not fit together ├ ResourceExhaustedError
    resource_exhausted a limit was reached; try again later └ InternalFailure
    internal_failure   the worker was lost, not your code's fault
       └ WorkerCrashed          worker_crashed     the worker died while running the input
BaseException
 └ InputCancellation            cancelled          raised inside an input that is cancelled
```
"""

from __future__ import annotations

from typing import Any, ClassVar


class Error(Exception):
    """Base of every nbfn error."""

    code: ClassVar[str] = "error"


class InvalidError(Error):
    """Raised when a call, an option or a name is wrong."""

    code = "invalid"


class ConflictError(InvalidError):
    """Raised when something of that name exists and belongs to somebody else."""

    code = "conflict"


class NotFoundError(Error):
    """Raised when no App, Function or call has that name or id."""

    code = "not_found"


class AuthError(Error):
    """Raised when the hub refuses to talk to this user."""

    code = "auth"


class ExecutionError(Error):
    """Raised when an operation cannot be done in this process."""

    code = "execution"


class SerializationError(Error):
    """Raised when a value cannot be pickled."""

    code = "serialization"


class DeserializationError(Error):
    """Raised when a value cannot be rebuilt from its pickle."""

    code = "deserialization"


class TimeoutError(Error):  # noqa: A001 - Modal's name; deliberately not the builtin
    """Base of nbfn's own time-outs; not the builtin ``TimeoutError``."""

    code = "timeout"


class FunctionTimeoutError(TimeoutError):
    """Raised when a body ran longer than its Function's ``timeout``."""

    code = "function_timeout"


class OutputExpiredError(TimeoutError):
    """Raised when a result has been kept for its time and is gone."""

    code = "output_expired"


class RemoteError(Error):
    """Raised for what went wrong in a worker and has no type that can be rebuilt here."""

    code = "remote"


class ServiceError(Error):
    """Base of trouble with the hub or the way to it."""

    code = "service"


class ConnectionError(ServiceError):  # noqa: A001 - Modal's name; deliberately not the builtin
    """Raised when no hub answers; not the builtin ``ConnectionError``."""

    code = "connection"


class VersionError(ServiceError):
    """Raised when two ends speak different protocols or run different Pythons."""

    code = "version"


class ResourceExhaustedError(Error):
    """Raised when a limit is reached; the same call may pass later."""

    code = "resource_exhausted"


class InternalFailure(Error):
    """Raised when the worker was lost for reasons outside the input."""

    code = "internal_failure"


class WorkerCrashed(InternalFailure):
    """Raised when the worker process died while running the input, twice.

    Attributes:
        exit_code: What the process exited with, or None when a signal ended it.
        signal: The number of the signal that ended it, or None.
        memory_peak: The largest resident memory seen, in bytes, or None.
        stderr: The last lines it wrote to stderr.
    """

    code = "worker_crashed"
    exit_code: int | None = None
    signal: int | None = None
    memory_peak: int | None = None
    stderr: str = ""


class InputCancellation(BaseException):
    """Raised in user code, on the main thread, when its input is cancelled."""

    code: ClassVar[str] = "cancelled"


def _by_code(base: type[Error]) -> dict[str, type[Error]]:
    found = {base.code: base}
    for child in base.__subclasses__():
        found |= _by_code(child)
    return found


def from_fault(code: str, message: str, details: dict[str, Any] | None = None) -> Error:
    """Rebuild the error that another process named by code.

    Args:
        code: A code of the tree above; an unknown one gives `RemoteError`, a cancelled input too.
        message: The sentence for the user.
        details: Attributes to set on it, such as ``exit_code``.

    Returns:
        The error, not raised.
    """
    error = _by_code(Error).get(code, RemoteError)(message)
    for name, value in (details or {}).items():
        setattr(error, name, value)
    return error
