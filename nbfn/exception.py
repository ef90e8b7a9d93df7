"""Defines the exceptions of nbfn, and the code that identifies each of them between processes.

```
Exception
 └ Error                           error
    ├ InvalidError                 invalid             an argument, option or name is not valid
    │  ├ ConflictError             conflict            an object of that name has another owner
    │  └ LocalFunctionError        local_function      a function cannot be sent from where it is defined
    ├ NotFoundError                not_found           no such App, Function, Secret or call
    ├ AlreadyExistsError           already_exists      the name is in use
    ├ AuthError                    auth                the hub does not accept this user
    ├ PermissionDeniedError        permission_denied   this user may not do this operation
    ├ ExecutionError               execution           the operation is not possible in this process
    ├ SerializationError           serialization       a value cannot be pickled
    ├ DeserializationError         deserialization     a value cannot be unpickled by the receiver
    ├ TimeoutError                 timeout             (not the builtin)
    │  ├ FunctionTimeoutError      function_timeout    the function ran longer than `timeout`
    │  └ OutputExpiredError        output_expired      the result was deleted after its retention time
    ├ RemoteError                  remote              an exception in a worker that has no class here
    ├ ServiceError                 service             the hub or the connection to it failed
    │  ├ ConnectionError           connection          no hub answers (not the builtin)
    │  ├ VersionError              version             versions of the protocol or of Python differ
    │  └ InternalError             internal            a defect of nbfn itself
    ├ ResourceExhaustedError       resource_exhausted  a limit was reached; retry later
    ├ RequestSizeError             request_size        one request is too large
    ├ DataLossError                data_loss           stored data can no longer be read
    ├ UnimplementedError           unimplemented       nbfn does not have this feature
    ├ ClientClosed                 client_closed       the connection of this process was closed
    ├ LogsFetchError               logs_fetch          logs could not be read
    └ InternalFailure              internal_failure    the worker was lost for reasons outside the input
       ├ WorkerCrashed             worker_crashed      the worker died while running the input
       └ WorkerLost                worker_lost         an input that may run at most once lost its worker
UserWarning
 ├ DeprecationError, PendingDeprecationError          a deprecated name was used, or one that was removed
 ├ ServerWarning                                       a warning of the hub about a request
 └ AsyncUsageWarning                                   a blocking method was called where a loop runs
BaseException
 ├ InputCancellation               cancelled           raised inside an input that is cancelled
 └ Detached                        detached            the call was detached from its caller and continues
```

The module also defines Modal's exceptions for features that only its cloud has (images, sandboxes, mounts,
volumes), so that programs that catch them can be imported. nbfn never raises those.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from typing import Any, ClassVar


class Error(Exception):
    """Base of every nbfn error."""

    code: ClassVar[str] = "error"


class InvalidError(Error):
    """Raised when an argument, an option or a name is not valid."""

    code = "invalid"


class ConflictError(InvalidError):
    """Raised when an object of that name exists and belongs to another owner."""

    code = "conflict"


class LocalFunctionError(InvalidError):
    """Raised when a function cannot be sent from where it is defined."""

    code = "local_function"


class NotFoundError(Error):
    """Raised when no App, Function, Secret or call has that name or id."""

    code = "not_found"


class AlreadyExistsError(Error):
    """Raised when an object cannot be created because its name is in use."""

    code = "already_exists"


class AuthError(Error):
    """Raised when the hub does not accept the connection of this user."""

    code = "auth"


class PermissionDeniedError(Error):
    """Raised when this user may not do the operation."""

    code = "permission_denied"


class ExecutionError(Error):
    """Raised when an operation is not possible in this process."""

    code = "execution"


class SerializationError(Error):
    """Raised when a value cannot be pickled."""

    code = "serialization"


class DeserializationError(Error):
    """Raised when a value cannot be rebuilt from its pickle."""

    code = "deserialization"


class TimeoutError(Error):  # noqa: A001 - Modal's name; deliberately not the builtin
    """Base of the time-out errors of nbfn; not the builtin ``TimeoutError``."""

    code = "timeout"


class FunctionTimeoutError(TimeoutError):
    """Raised when a function ran longer than its ``timeout``."""

    code = "function_timeout"


class OutputExpiredError(TimeoutError):
    """Raised when a result was deleted because its retention time has passed."""

    code = "output_expired"


class RemoteError(Error):
    """Raised for an exception in a worker whose class cannot be rebuilt in this process."""

    code = "remote"


class ServiceError(Error):
    """Base of errors of the hub and of the connection to it."""

    code = "service"


class ConnectionError(ServiceError):  # noqa: A001 - Modal's name; deliberately not the builtin
    """Raised when no hub answers; not the builtin ``ConnectionError``."""

    code = "connection"


class VersionError(ServiceError):
    """Raised when two processes use different versions of the protocol or of Python."""

    code = "version"


class InternalError(ServiceError):
    """Raised for a defect of nbfn itself."""

    code = "internal"


class ResourceExhaustedError(Error):
    """Raised when a limit is reached; the same call may succeed later."""

    code = "resource_exhausted"


class RequestSizeError(Error):
    """Raised when a single request is larger than the limit."""

    code = "request_size"


class DataLossError(Error):
    """Raised when stored data can no longer be read."""

    code = "data_loss"


class UnimplementedError(Error):
    """Raised when nbfn does not have the requested feature."""

    code = "unimplemented"


class ClientClosed(Error):
    """Raised when the connection of this process to the hub was closed."""

    code = "client_closed"


class LogsFetchError(Error):
    """Raised when logs could not be read."""

    code = "logs_fetch"


class InternalFailure(Error):
    """Raised when the worker was lost for reasons outside the input."""

    code = "internal_failure"


class WorkerCrashed(InternalFailure):
    """Raised when worker processes died twice while they ran the input.

    Attributes:
        exit_code: The exit code of the process; None if a signal ended it.
        signal: The number of the signal that ended the process, or None.
        memory_peak: The largest measured resident memory in bytes, or None.
        stderr: The last lines that the process wrote to standard error.
        oom: Whether the process was killed because it exceeded its memory limit.
        memory_limit: The memory limit in bytes; None if it is not known.
    """

    code = "worker_crashed"
    exit_code: int | None = None
    signal: int | None = None
    memory_peak: int | None = None
    stderr: str = ""
    oom: bool = False
    memory_limit: int | None = None


class WorkerLost(InternalFailure):
    """Raised when the worker of an input with ``at_most_once`` was lost.

    The input may have run, and is not retried.
    """

    code = "worker_lost"


class InputCancellation(BaseException):
    """Raised in user code, on the main thread, when its input is cancelled."""

    code: ClassVar[str] = "cancelled"


#: The attribute that marks the error of code that requested keyboard input in a worker.
NEEDS_TERMINAL = "_needs_terminal"


class Detached(BaseException):
    """Raised in code that waits for a call when the call is detached; the call continues in the background.

    It is not an `Exception`, so that a loop that ignores exceptions ends as well.

    Args:
        call_id: The id of the call.
        name: The name of the Function.
    """

    code: ClassVar[str] = "detached"

    def __init__(self, call_id: str = "", name: str = "") -> None:
        super().__init__(call_id, name)
        self.call_id = call_id
        self.name = name

    def __str__(self) -> str:
        return f"{self.name or 'The map'} goes on in the background ({self.call_id})."


class DeprecationError(UserWarning):
    """Warns that a deprecated name was used; raised as an exception if the name was removed."""


class PendingDeprecationError(UserWarning):
    """Warns that a name was used that will be deprecated."""


class ServerWarning(UserWarning):
    """A warning that the hub sends about a request."""


class AsyncUsageWarning(UserWarning):
    """Warns that a blocking method was called where an event loop runs."""


# --- exceptions for features that only Modal's cloud has ---


class ImageBuildError(RemoteError):
    """Modal's error for an image that could not be built; nbfn never raises it."""

    code = "image_build"


class SandboxTimeoutError(TimeoutError):
    """Modal's error for a sandbox that ran too long; nbfn never raises it."""

    code = "sandbox_timeout"


class SandboxTerminatedError(Error):
    """Modal's error for a sandbox that was terminated; nbfn never raises it."""

    code = "sandbox_terminated"


class ExecTimeoutError(TimeoutError):
    """Modal's error for a command in a sandbox that ran too long; nbfn never raises it."""

    code = "exec_timeout"


class InteractiveTimeoutError(TimeoutError):
    """Modal's error for an interactive session that timed out; nbfn never raises it."""

    code = "interactive_timeout"


class MountUploadTimeoutError(TimeoutError):
    """Modal's error for a file upload that timed out; nbfn never raises it."""

    code = "mount_upload_timeout"


class VolumeUploadTimeoutError(TimeoutError):
    """Modal's error for an upload to a volume that timed out; nbfn never raises it."""

    code = "volume_upload_timeout"


class WorkspaceManagementError(Error):
    """Modal's error for a workspace that could not be changed; nbfn never raises it."""

    code = "workspace_management"


#: Seconds between SIGTERM and SIGKILL in a simulated preemption.
PREEMPTION_GRACE = 30.0


def simulate_preemption(wait_seconds: float, jitter_seconds: float = 0) -> None:
    """Interrupt this process after a delay, as if its machine were preempted, to test how code handles it.

    A worker receives SIGTERM: its exit hooks run, and its input is redelivered to another worker without
    using up ``retries``. If the process still runs 30 seconds later, it is killed. Outside of a worker,
    KeyboardInterrupt is raised in the main thread.

    Args:
        wait_seconds: Seconds until the interruption.
        jitter_seconds: The most seconds of a random additional delay.

    Raises:
        InvalidError: If ``wait_seconds`` is not above 0, or ``jitter_seconds`` is negative.
    """
    if wait_seconds <= 0 or jitter_seconds < 0:
        raise InvalidError(
            f"simulate_preemption waits for more than 0 seconds, not {wait_seconds!r} + {jitter_seconds!r}."
        )
    worker, process = "MODAL_IS_REMOTE" in os.environ, os.getpid()

    def interrupt() -> None:
        # Signal the main thread: only a signal that it receives itself interrupts its system call.
        main = threading.main_thread().ident or 0
        signal.pthread_kill(main, signal.SIGTERM if worker else signal.SIGINT)
        if worker:
            _later(PREEMPTION_GRACE, lambda: os.kill(process, signal.SIGKILL))

    _later(wait_seconds + random.uniform(0, jitter_seconds), interrupt)  # noqa: S311 - no secret


def _later(seconds: float, action: Any) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def _by_code(base: type[Error]) -> dict[str, type[Error]]:
    # A subclass that inherits its code, such as one of user code, must not replace the class of nbfn.
    found = {base.code: base} if "code" in vars(base) else {}
    for child in base.__subclasses__():
        found |= _by_code(child)
    return found


def from_fault(code: str, message: str, details: dict[str, Any] | None = None) -> Error:
    """Create the error that another process has identified by its code.

    Args:
        code: The code of one of the exceptions; an unknown code and "cancelled" give `RemoteError`.
        message: The message for the user.
        details: Attributes to set on the error, such as ``exit_code``.

    Returns:
        The error. It is not raised.
    """
    error = _by_code(Error).get(code, RemoteError)(message)
    for name, value in (details or {}).items():
        setattr(error, name, value)
    return error
