"""Finding the hub of a home, and starting the embedded one when there is none.

A hub holds a lock on ``hub.lock`` for as long as it lives, so "is there a hub?" has one answer that
a ``kill -9`` cannot falsify. Its address is in ``hub.json``. Two clients that start one at once end
with one: the second finds the lock taken and exits.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from nbfn.exception import Error
from nbfn.protocol import descriptors

if TYPE_CHECKING:
    from nbfn.config import Places

#: Seconds between two looks at the lock and the connection file while a hub is awaited.
LOOK_EVERY = 0.05
#: Hubs that may fail to start before the client gives up.
MOST_FAILURES = 3

#: Hubs this process started. Kept, so that each is reaped when it ends and none is taken for forgotten.
_started: list[subprocess.Popen[bytes]] = []


def read_connection_file(places: Places) -> dict[str, object]:
    """Return what the hub of these places says of itself; empty when there is no readable file."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(places.connection_file.read_text("utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def is_running(places: Places) -> bool:
    """Return whether a hub holds the lock of these places."""
    try:
        descriptor = os.open(places.lock_file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def start(places: Places) -> subprocess.Popen[bytes]:
    """Start the embedded hub of these places, as a session of its own that outlives this process."""
    places.create()
    environment = os.environ | {"NBFN_HOME": str(places.home)}
    environment.pop("NBFN_HUB", None)
    with places.hub_log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "nbfn", "hub", "start", "--embedded"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=places.home,
            env=environment,
            start_new_session=True,
        )
    _started.append(process)
    return process


def reap() -> None:
    """Let go of hubs that this process started and that have ended."""
    _started[:] = [process for process in _started if process.poll() is None]


def forget() -> None:
    """Forget started hubs without waiting for them; those of a forked child are not its own."""
    for process in _started:
        process.returncode = 0
    _started.clear()


# The embedded hub outlives who started it, on purpose: nothing is to be said of it at the end.
atexit.register(forget)


class HubFinder:
    """Looks for a hub, again and again, until it is found or cannot be.

    Args:
        places: The home whose hub is wanted.
        hub: An endpoint that settles the question; then nothing is started.
        may_start: Whether to start the embedded hub when none runs.
    """

    def __init__(self, places: Places, hub: str | None, *, may_start: bool) -> None:
        self._places = places
        self._given = hub or os.environ.get("NBFN_HUB") or ""
        self.may_start = may_start
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self.reason = ""

    @property
    def endpoint(self) -> str:
        """Where the hub is, as far as can be told."""
        if self._given:
            return self._given
        found = read_connection_file(self._places).get("endpoint")
        return found if isinstance(found, str) and found else self._places.endpoint

    @property
    def hint(self) -> str:
        """What a user can do when there is no hub."""
        if self._given:
            return "Check NBFN_HUB, or start a hub there with 'nbfn hub start'."
        return "Start one with 'nbfn hub start' or set NBFN_HOME/NBFN_HUB."

    def look(self) -> bool:
        """Start a hub if one is needed and may be started; return False when none can come."""
        if self._given:
            return True
        if self._process is not None:
            if self._process.poll() is None:
                return True
            self._note_end(self._process.returncode)
            self._process = None
        reap()
        try:
            if is_running(self._places):
                return True
            if not self.may_start or self._failures >= MOST_FAILURES:
                return False
            self._process = start(self._places)
        except Error as error:
            self.reason = f"It cannot be started: {error}"
            return False
        except OSError as error:  # no descriptors, say; the next look may have some
            why = descriptors.why(error)
            self.reason = why or f"It cannot be started: {error}."
            self._failures += not why
            return bool(why) or self._failures < MOST_FAILURES
        return True

    def _note_end(self, code: int) -> None:
        if code <= 0:
            return  # another hub was first, or it was killed
        self._failures += 1
        log = self._places.hub_log
        with contextlib.suppress(OSError):
            last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
            self.reason = f"The hub stopped at once (exit {code}): {''.join(last)} See {log}."

    def found(self, pid: int) -> None:
        """Begin anew when a hub has answered, and end one that was started from here and comes too late.

        As a rule that one finds the lock taken and exits. Should the hub that answered end before it has
        looked, it would stay, and nobody wants it.
        """
        self.again()
        if self._process is not None and self._process.pid != pid:
            self._process.terminate()

    def again(self) -> None:
        """Begin anew, as for the first time."""
        self._failures = 0
        self.reason = ""
