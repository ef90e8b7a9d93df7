"""Every error nbfn raises on purpose, with the code that names it on the wire.

```
Exception
 └ Error                           error
    ├ InvalidError                 invalid             the call is wrong; fix it here
    │  ├ ConflictError             conflict            it collides with something that exists
    │  └ LocalFunctionError        local_function      a function that cannot be sent from where it is
    ├ NotFoundError                not_found           no such App, Function, Secret or call
    ├ AlreadyExistsError           already_exists      the name is taken
    ├ AuthError                    auth                the hub does not know you
    ├ PermissionDeniedError        permission_denied   it knows you, and says no
    ├ ExecutionError               execution           it cannot be done from here
    ├ SerializationError           serialization       a value cannot be pickled
    ├ DeserializationError         deserialization     a value cannot be rebuilt at the other end
    ├ TimeoutError                 timeout             (not the builtin)
    │  ├ FunctionTimeoutError      function_timeout    the body ran longer than `timeout`
    │  └ OutputExpiredError        output_expired      the result was kept long enough
    ├ RemoteError                  remote              it went wrong at the worker, without a type we have
    ├ ServiceError                 service             the hub or the way to it
    │  ├ ConnectionError           connection          no hub answers (not the builtin)
    │  ├ VersionError              version             the two ends do not fit together
    │  └ InternalError             internal            a defect of nbfn itself
    ├ ResourceExhaustedError       resource_exhausted  a limit was reached; try again later
    ├ RequestSizeError             request_size        one request is larger than can be taken
    ├ DataLossError                data_loss           what was kept can no longer be read
    ├ UnimplementedError           unimplemented       nbfn has no such thing
    ├ ClientClosed                 client_closed       this process's connection was closed
    ├ LogsFetchError               logs_fetch          logs could not be read
    └ InternalFailure              internal_failure    the worker was lost, not your code's fault
       ├ WorkerCrashed             worker_crashed      the worker died while running the input
       └ WorkerLost                worker_lost         an input that may run at most once lost its worker
UserWarning
 ├ DeprecationError, PendingDeprecationError          an older name; raised for what was removed
 ├ ServerWarning                                       the hub has something to say
 └ AsyncUsageWarning                                   a blocking method was called where a loop runs
BaseException
 ├ InputCancellation               cancelled           raised inside an input that is cancelled
 └ Detached                        detached            the caller was let go; the call goes on
```

Modal's names for what only its cloud has (images, sandboxes, mounts, volumes) are there too, at the end,
so that programs which catch them can be imported; nbfn raises none of those.
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
    """Raised when a call, an option or a name is wrong."""

    code = "invalid"


class ConflictError(InvalidError):
    """Raised when an object of that name exists and has another owner."""

    code = "conflict"


class LocalFunctionError(InvalidError):
    """Raised when a function cannot be sent from where it is defined."""

    code = "local_function"


class NotFoundError(Error):
    """Raised when no App, Function, Secret or call has that name or id."""

    code = "not_found"


class AlreadyExistsError(Error):
    """Raised when something is to be made under a name that is taken."""

    code = "already_exists"


class AuthError(Error):
    """Raised when the hub refuses to talk to this user."""

    code = "auth"


class PermissionDeniedError(Error):
    """Raised when this user may not do that."""

    code = "permission_denied"


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


class InternalError(ServiceError):
    """Raised for a defect of nbfn itself."""

    code = "internal"


class ResourceExhaustedError(Error):
    """Raised when a limit is reached; the same call may pass later."""

    code = "resource_exhausted"


class RequestSizeError(Error):
    """Raised when one request is larger than can be taken."""

    code = "request_size"


class DataLossError(Error):
    """Raised when what was kept can no longer be read."""

    code = "data_loss"


class UnimplementedError(Error):
    """Raised when nbfn has no such thing."""

    code = "unimplemented"


class ClientClosed(Error):
    """Raised when this process's connection to the hub was closed."""

    code = "client_closed"


class LogsFetchError(Error):
    """Raised when logs could not be read."""

    code = "logs_fetch"


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
        oom: Whether it was ended for holding more memory than its limit.
        memory_limit: That limit, in bytes, where it is known.
    """

    code = "worker_crashed"
    exit_code: int | None = None
    signal: int | None = None
    memory_peak: int | None = None
    stderr: str = ""
    oom: bool = False
    memory_limit: int | None = None


class WorkerLost(InternalFailure):
    """Raised when the worker of an input with ``at_most_once`` was lost: it may have run, and does not run again."""

    code = "worker_lost"


class InputCancellation(BaseException):
    """Raised in user code, on the main thread, when its input is cancelled."""

    code: ClassVar[str] = "cancelled"


#: The attribute of errors of code that asked for input in a worker.
NEEDS_TERMINAL = "_needs_terminal"


class Detached(BaseException):
    """Raised where somebody waits for a call that was detached: it goes on without them.

    No `Exception`, so that a loop that passes over errors ends as well.

    Args:
        call_id: The call.
        name: Its Function's name.
    """

    code: ClassVar[str] = "detached"

    def __init__(self, call_id: str = "", name: str = "") -> None:
        super().__init__(call_id, name)
        self.call_id = call_id
        self.name = name

    def __str__(self) -> str:
        return f"{self.name or 'The map'} goes on in the background ({self.call_id})."


class DeprecationError(UserWarning):
    """An older name was used; raised where what it named is gone."""


class PendingDeprecationError(UserWarning):
    """A name was used that will become an older one."""


class ServerWarning(UserWarning):
    """The hub has something to say about what was asked."""


class AsyncUsageWarning(UserWarning):
    """A blocking method was called where an event loop runs."""


# --- what only Modal's cloud has ---


class ImageBuildError(RemoteError):
    """Modal's: an image could not be built."""

    code = "image_build"


class SandboxTimeoutError(TimeoutError):
    """Modal's: a sandbox ran too long."""

    code = "sandbox_timeout"


class SandboxTerminatedError(Error):
    """Modal's: a sandbox was ended."""

    code = "sandbox_terminated"


class ExecTimeoutError(TimeoutError):
    """Modal's: a command in a sandbox ran too long."""

    code = "exec_timeout"


class InteractiveTimeoutError(TimeoutError):
    """Modal's error for an interactive session that timed out; nbfn never raises it."""

    code = "interactive_timeout"


class MountUploadTimeoutError(TimeoutError):
    """Modal's: files took too long to upload."""

    code = "mount_upload_timeout"


class VolumeUploadTimeoutError(TimeoutError):
    """Modal's: files took too long to upload to a volume."""

    code = "volume_upload_timeout"


class WorkspaceManagementError(Error):
    """Modal's: a workspace could not be changed."""

    code = "workspace_management"


#: Seconds between the first word of a simulated preemption and the end of the process.
PREEMPTION_GRACE = 30.0


def simulate_preemption(wait_seconds: float, jitter_seconds: float = 0) -> None:
    """Have this process interrupted as if its machine were taken away, to try what happens then.

    A worker is asked to exit (SIGTERM): its exit hooks run, its input runs again elsewhere, without using
    up ``retries``; 30 seconds later what is left is killed. Outside of a worker it is a KeyboardInterrupt.

    Args:
        wait_seconds: Until then.
        jitter_seconds: At most so much later, at random.

    Raises:
        InvalidError: If the time is not above 0.
    """
    if wait_seconds <= 0 or jitter_seconds < 0:
        raise InvalidError(
            f"simulate_preemption waits for more than 0 seconds, not {wait_seconds!r} + {jitter_seconds!r}."
        )
    worker, process = "MODAL_IS_REMOTE" in os.environ, os.getpid()

    def interrupt() -> None:
        # To the main thread: a system call there is not interrupted by a signal that another thread receives.
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
    # A class that only inherits its code, a user's say, must not come back in place of ours.
    found = {base.code: base} if "code" in vars(base) else {}
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
