"""Runs a session: a Jupyter kernel in a child process of a worker.

This is the worker's half of `remote_kernel`. `serve` is the body of an ordinary Function, so the hub schedules,
monitors and cancels its call. The notebook's kernel connects to the child directly, over ipc sockets in a directory of
the hub with mode 0700.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from nbfn.config import Places
from nbfn.exception import ExecutionError
from nbfn.protocol.messages import Payload
from nbfn.runtime.byte_size import format_bytes
from nbfn.runtime.peak_memory import peak_memory
from nbfn.runtime.threads import without_limits
from nbfn.serialization.payload import Serializer

#: Seconds that the child has to end after SIGTERM, before it is killed.
TERMINATE_TIMEOUT = 2.0
#: Seconds between checks for the child's sockets.
POLL_INTERVAL = 0.005
#: The number of characters of the child's stderr that are reported when it ends.
STDERR_TAIL = 2000
#: The MIME type under which `send_values` sends values to the notebook's kernel, which does not show them.
VALUES = "application/vnd.nbfn.values"

_CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
_START = (
    "import json, os, sys; sys.path[:] = json.loads(os.environ.pop('NBFN_SESSION_PATH')); "
    "from nbfn_kernel.session.remote_session import main; main()"
)
#: Environment variables of a worker that are removed from its session.
_WORKER_VARIABLES = ("MODAL_TASK_ID", "MODAL_IS_REMOTE", "NBFN_WORKER")
#: Environment variables of a notebook's kernel that say which notebook and front end it has.
FRONT_END_VARIABLES = (
    "JPY_SESSION_NAME",
    "VSCODE_PID",
    "VSCODE_CWD",
    "COLAB_RELEASE_TAG",
    "PAPERMILL_INPUT_PATH",
    "NBFN_SAVES_STATIC",
)
#: Variables of nbfn that are those of the hub, not of the notebook.
_HUB_VARIABLES = ("NBFN_HOME", "NBFN_HUB", "NBFN_LAUNCHER")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Opened:
    """A session has started: its worker, its process, its host, its connection info and the time since 1970."""

    worker: str
    pid: int
    host: str
    connection: dict[str, Any]
    started: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The process of a session has ended without being cancelled."""

    exit_code: int  # negative: the signal that killed it
    memory_peak: int  # bytes
    stderr_tail: str

    def __str__(self) -> str:
        if self.exit_code >= 0:
            how = f"exit code {self.exit_code}"
        else:
            number = -self.exit_code
            name = next((s.name for s in signal.Signals if s == number), "signal")
            out = ", or the system is out of memory" if number == signal.SIGKILL else ""
            how = f"killed by {name} ({number}){out}"
        return f"{how}, memory peak {format_bytes(self.memory_peak)}"


def shared_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a notebook's kernel that its session inherits.

    These are the variables of the front end, so that displays in the session know it, and the settings of nbfn.
    """
    return {
        name: value
        for name, value in environ.items()
        if name in FRONT_END_VARIABLES
        or (name.startswith("NBFN_") and name not in (*_HUB_VARIABLES, *_WORKER_VARIABLES))
    }


def serve(variables: dict[str, str], cpu: float | None = None) -> Iterator[Opened | Ended]:
    """Run a session until it ends or the call is cancelled.

    Args:
        variables: Environment variables of the notebook's kernel that the session inherits; see `shared_variables`.
        cpu: The cores that the session requested; without it, numeric libraries use all cores, as in other kernels.

    Yields:
        Opened: When clients can connect to it.
        Ended: When its process has ended without being cancelled.
    """
    places = Places.of()
    remove_stale_files(places.runtime)
    session = _SessionProcess(
        places.runtime / f"k{os.getpid()}",
        variables,
        dict(os.environ) if cpu else without_limits(os.environ),
    )
    try:
        session.wait_until_open()
        yield Opened(
            os.environ["NBFN_WORKER"],
            session.process.pid,
            socket.gethostname(),
            session.connection,
            time.time(),
        )
        yield session.wait()
    finally:
        session.end()


class _SessionProcess:
    """The process of a session.

    Args:
        base: The common prefix of the paths of its files.
        variables: See `serve`.
        environ: The environment variables of the worker.
    """

    def __init__(
        self, base: Path, variables: Mapping[str, str], environ: Mapping[str, str]
    ) -> None:
        self._base = base
        self.connection: dict[str, Any] = {
            "transport": "ipc",
            "ip": str(base),
            "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256",
            **{f"{name}_port": number for number, name in enumerate(_CHANNELS, 1)},
        }
        self._ended: Ended | None = None
        connection_file = _with_ending(base, ".json")
        _write_private(connection_file, json.dumps(self.connection).encode())
        # The hub may have been started by another notebook, whose variables it has.
        of_others = (*_WORKER_VARIABLES, *FRONT_END_VARIABLES)
        inherited = {k: v for k, v in environ.items() if k not in of_others}
        environment = inherited | {
            **variables,
            "JPY_PARENT_PID": str(os.getpid()),
            "NBFN_SESSION_OF": os.environ["NBFN_WORKER"],
            "NBFN_SESSION_PATH": json.dumps(sys.path),
        }
        self._log = _with_ending(base, ".log")
        _write_private(self._log, b"")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, "-f", str(connection_file)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # so that an interrupt also reaches processes that its cells started
            )

    def wait_until_open(self) -> None:
        """Wait until its sockets exist.

        Raises:
            ExecutionError: If the process ended before.
        """
        sockets = [
            _with_ending(self._base, f"-{number}") for number in range(1, len(_CHANNELS) + 1)
        ]
        while not all(path.exists() for path in sockets):
            if self.process.poll() is not None:
                raise ExecutionError(
                    f"The kernel of the session ended while it started ({sys.executable}, exit code "
                    f"{self.process.returncode}). {self._stderr_tail()}"
                )
            time.sleep(POLL_INTERVAL)

    def wait(self) -> Ended:
        """Wait until the process ends; return its exit code, memory peak and the end of its stderr."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(self.process.returncode, peak_memory(usage), self._stderr_tail())

    def end(self) -> None:
        """End the process and the processes that its cells started, and remove its files."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(TERMINATE_TIMEOUT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        remove_files(self._base)

    def _stderr_tail(self) -> str:
        try:
            return self._log.read_text("utf-8", "replace")[-STDERR_TAIL:].strip()
        except OSError:
            return ""


def _with_ending(base: Path, ending: str) -> Path:
    return base.with_name(base.name + ending)


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(data)


def _files(base: Path) -> Iterable[Path]:
    yield from (_with_ending(base, ending) for ending in (".json", ".log"))
    yield from base.parent.glob(f"{base.name}-*")


def remove_files(base: Path) -> None:
    """Remove the files of a session or console.

    Args:
        base: The common prefix of their paths.
    """
    for path in _files(base):
        path.unlink(missing_ok=True)


def remove_stale_files(directory: Path) -> None:
    """Remove the files of sessions and consoles whose worker does not run any more."""
    for path in [*directory.glob("k*.json"), *directory.glob("c*.json")]:
        if path.stem[1:].isdigit() and not psutil.pid_exists(int(path.stem[1:])):
            remove_files(path.with_suffix(""))


# --- in the session ------------------------------------------------------------------------------


def main() -> None:
    """Run the session's kernel; it ends when its worker ends."""
    parent = int(os.environ["JPY_PARENT_PID"])
    with contextlib.suppress(
        AttributeError, OSError
    ):  # without prctl, ipykernel polls for the parent
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    from nbfn_kernel.session.local_kernel import LocalKernelApp

    signal.signal(signal.SIGTERM, _end)
    LocalKernelApp.launch_instance(argv=sys.argv[1:])


def _end(number: int, _frame: object) -> None:
    """Handle SIGTERM: disconnect from the hub, which then cancels the calls that the session waits for, and exit."""
    # On a thread with a time limit, since user code may hold a lock of the client.
    leaving = threading.Thread(target=atexit._run_exitfuncs, name="nbfn-session-end", daemon=True)
    leaving.start()
    leaving.join(TERMINATE_TIMEOUT / 2)
    os._exit(128 + number)


def serializer() -> Serializer:
    """Return a serializer for this session, whose shared memory is freed with that of its worker."""
    return Serializer(Places.of(), f"{os.environ['NBFN_SESSION_OF']}.s{os.getpid()}")


def pack(values: Any) -> str:
    """Encode payloads as ASCII text."""
    return base64.b64encode(msgspec.msgpack.encode(values)).decode("ascii")


def unpack(text: str) -> dict[str, Payload]:
    """Decode the text that `pack` returned."""
    return msgspec.msgpack.decode(base64.b64decode(text), type=dict[str, Payload])


def bind_values(names: dict[str, Any], text: str) -> None:
    """Bind values that the notebook's kernel sent, in the session.

    Args:
        names: The namespace of the session.
        text: The payloads by name, as `pack` returns them.

    Raises:
        DeserializationError: If a value cannot be unpickled; the values before it are bound.
    """
    own_carrier = serializer()
    payloads = unpack(text)
    try:
        for name, payload in payloads.items():
            names[name] = own_carrier.load(payload)
    finally:
        for payload in payloads.values():
            own_carrier.discard(payload)


def send_values(names: Mapping[str, Any], wanted: list[str]) -> None:
    """Send the values of names to the notebook's kernel, as a display.

    Args:
        names: The namespace of the session.
        wanted: The names.

    Raises:
        NameError: If a name is not defined.
        SerializationError: If a value cannot be pickled.
    """
    from IPython.display import display

    own_carrier = serializer()
    for name in wanted:
        if name not in names:
            raise NameError(f"{name!r} is not defined in the session.")
    display({VALUES: pack({name: own_carrier.dump(names[name]) for name in wanted})}, raw=True)
