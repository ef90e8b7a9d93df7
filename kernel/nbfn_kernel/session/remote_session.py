"""A session: a full Jupyter kernel, run as a child of a worker, that keeps its names between cells.

This is the worker's half of `remote_kernel`. `serve` is a Function like any other, so the hub places, watches and
cancels its call as any other. The notebook's kernel talks to the child directly, over ipc sockets in the hub's 0700
directory.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from nbfn.config import Places
from nbfn.exception import ExecutionError
from nbfn.protocol.messages import Payload
from nbfn.runtime.threads import without_limits
from nbfn.serialization.payload import Carrier

#: Seconds the child has to end when it is told to, before it is killed.
GRACE = 2.0
#: Seconds between looks whether the child's sockets are there.
LOOK = 0.005
#: Characters of the child's stderr that are told when it ends.
LAST_WORDS = 2000
#: The MIME type under which `give` sends values: never shown, the notebook's kernel takes it.
VALUES = "application/vnd.nbfn.values"

_CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
_START = (
    "import json, os, sys; sys.path[:] = json.loads(os.environ.pop('NBFN_SESSION_PATH')); "
    "from nbfn_kernel.session.remote_session import main; main()"
)
#: Of a worker, and not of the session in it: there it would mislead what asks where it runs.
_WORKERS_OWN = ("MODAL_TASK_ID", "MODAL_IS_REMOTE", "NBFN_WORKER")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Opened:
    """A session is there: the worker that holds it, and how to reach it."""

    worker: str
    pid: int
    connection: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A session's process has ended by itself."""

    exit_code: int  # negative: the signal that killed it
    memory_peak: int  # bytes
    last_words: str

    def __str__(self) -> str:
        if self.exit_code >= 0:
            how = f"exit code {self.exit_code}"
        else:
            number = -self.exit_code
            name = next((s.name for s in signal.Signals if s == number), "signal")
            out = ", or the system is out of memory" if number == signal.SIGKILL else ""
            how = f"killed by {name} ({number}){out}"
        return f"{how}, memory peak {self.memory_peak / 2**20:.0f} MB"


def serve(notebook: str, cpu: float | None = None) -> Iterator[Opened | Ended]:
    """Run a session until it ends or the call is cancelled.

    Args:
        notebook: The notebook's ``JPY_SESSION_NAME``, which the session takes over.
        cpu: The processors that it asked for; without that it uses all of them, as other kernels do.

    Yields:
        Opened: Once it can be reached.
        Ended: When it has ended by itself.
    """
    places = Places.of()
    sweep(places.runtime)
    child = _Child(
        places.runtime / f"k{os.getpid()}",
        notebook,
        dict(os.environ) if cpu else without_limits(os.environ),
    )
    try:
        child.wait_until_open()
        yield Opened(os.environ["NBFN_WORKER"], child.process.pid, child.connection)
        yield child.wait()
    finally:
        child.end()


class _Child:
    """The session's process.

    Args:
        base: The path that the names of its files begin with.
        notebook: See `serve`.
        environ: The worker's variables.
    """

    def __init__(self, base: Path, notebook: str, environ: Mapping[str, str]) -> None:
        self._base = base
        self.connection: dict[str, Any] = {
            "transport": "ipc",
            "ip": str(base),
            "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256",
            **{f"{name}_port": number for number, name in enumerate(_CHANNELS, 1)},
        }
        self._ended: Ended | None = None
        connection_file = _beside(base, ".json")
        _write_private(connection_file, json.dumps(self.connection).encode())
        kept = {k: v for k, v in environ.items() if k not in _WORKERS_OWN}
        environment = kept | {
            "JPY_PARENT_PID": str(os.getpid()),
            "JPY_SESSION_NAME": notebook,
            "NBFN_SESSION_OF": os.environ["NBFN_WORKER"],
            "NBFN_SESSION_PATH": json.dumps(sys.path),
        }
        self._log = _beside(base, ".log")
        _write_private(self._log, b"")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, "-f", str(connection_file)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # so that an interrupt reaches what its cells started as well
            )

    def wait_until_open(self) -> None:
        """Return when its sockets are there.

        Raises:
            ExecutionError: If it ended before.
        """
        sockets = [_beside(self._base, f"-{number}") for number in range(1, len(_CHANNELS) + 1)]
        while not all(path.exists() for path in sockets):
            if self.process.poll() is not None:
                raise ExecutionError(
                    f"The session's kernel ended while it started ({sys.executable}, exit code "
                    f"{self.process.returncode}). {self._last_words()}"
                )
            time.sleep(LOOK)

    def wait(self) -> Ended:
        """Wait for its end and say how that was."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(self.process.returncode, usage.ru_maxrss * 1024, self._last_words())

    def end(self) -> None:
        """See to it that nothing is left: the process, what its cells started, its files."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        remove_files(self._base)

    def _last_words(self) -> str:
        try:
            return self._log.read_text("utf-8", "replace")[-LAST_WORDS:].strip()
        except OSError:
            return ""


def _beside(base: Path, ending: str) -> Path:
    return base.with_name(base.name + ending)


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(data)


def _files(base: Path) -> Iterable[Path]:
    yield from (_beside(base, ending) for ending in (".json", ".log"))
    yield from base.parent.glob(f"{base.name}-*")


def remove_files(base: Path) -> None:
    """Remove the files of a session or console."""
    for path in _files(base):
        path.unlink(missing_ok=True)


def sweep(directory: Path) -> None:
    """Remove the files of sessions and consoles whose worker was killed."""
    for path in [*directory.glob("k*.json"), *directory.glob("c*.json")]:
        if path.stem[1:].isdigit() and not Path(f"/proc/{path.stem[1:]}").exists():
            remove_files(path.with_suffix(""))


# --- in the session ------------------------------------------------------------------------------


def main() -> None:
    """Be the session's kernel: an ordinary one that ends with its worker."""
    parent = int(os.environ["JPY_PARENT_PID"])
    with contextlib.suppress(AttributeError, OSError):  # where there is no prctl, ipykernel looks
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(argv=sys.argv[1:])


def carrier() -> Carrier:
    """Return what carries this session's values; its segments are swept as its worker's are."""
    return Carrier(Places.of(), f"{os.environ['NBFN_SESSION_OF']}.s{os.getpid()}")


def packed(values: Any) -> str:
    """Return payloads as text that code and JSON can hold."""
    return base64.b64encode(msgspec.msgpack.encode(values)).decode("ascii")


def unpacked(text: str) -> dict[str, Payload]:
    """Return what was `packed`."""
    return msgspec.msgpack.decode(base64.b64decode(text), type=dict[str, Payload])


def take(names: dict[str, Any], text: str) -> None:
    """Bind values that were sent here.

    Args:
        names: Where.
        text: The payloads by name, packed.

    Raises:
        DeserializationError: If one cannot be rebuilt here; those before it are bound.
    """
    own = carrier()
    payloads = unpacked(text)
    try:
        for name, payload in payloads.items():
            names[name] = own.load(payload)
    finally:
        for payload in payloads.values():
            own.discard(payload)


def give(names: Mapping[str, Any], wanted: list[str]) -> None:
    """Send the values of some names to the notebook's kernel.

    Raises:
        NameError: If there is no such name.
        SerializationError: If a value cannot be pickled.
    """
    from IPython.display import display

    own = carrier()
    for name in wanted:
        if name not in names:
            raise NameError(f"{name!r} is not defined in the session.")
    display({VALUES: packed({name: own.dump(names[name]) for name in wanted})}, raw=True)
