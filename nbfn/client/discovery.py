"""Finds the hub of a home, and starts the embedded one if none runs.

A hub holds a lock on ``hub.lock`` until it ends, even by ``kill -9``, so the lock says whether there is one. Its
address is in ``hub.json``. If two clients start a hub at once, the second hub finds the lock taken and exits.
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

#: Seconds between two checks of the lock and the connection file while this waits for a hub.
LOOK_EVERY = 0.05
#: Hubs that may fail to start before the client fails.
MOST_FAILURES = 3

#: Hubs that this process started, so that each is reaped when it ends and none causes a ResourceWarning.
_started: list[subprocess.Popen[bytes]] = []


def read_connection_file(places: Places) -> dict[str, object]:
    """Return the content of the connection file; an empty dict if there is no readable one."""
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
    """Reap the hubs that this process started and that have ended."""
    _started[:] = [process for process in _started if process.poll() is None]


def forget() -> None:
    """Forget started hubs without waiting for them; in a forked child they belong to the parent."""
    for process in _started:
        process.returncode = 0
    _started.clear()


# The embedded hub outlives the process that started it, on purpose, so that causes no ResourceWarning.
atexit.register(forget)


class HubFinder:
    """Looks for a hub until one is found or it is clear that none will come.

    Args:
        places: The home of the hub.
        hub: The endpoint of a hub; if given, no hub is started.
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
        """The hub's endpoint: the given one, that of the connection file, or the default of the home."""
        if self._given:
            return self._given
        found = read_connection_file(self._places).get("endpoint")
        return found if isinstance(found, str) and found else self._places.endpoint

    @property
    def hint(self) -> str:
        """What a user can do if there is no hub."""
        if self._given:
            return "Check NBFN_HUB, or start a hub there with 'nbfn hub start'."
        return "Start one with 'nbfn hub start' or set NBFN_HOME/NBFN_HUB."

    def _is_starting(self) -> bool:
        """Return whether the hub that this process started has not ended; note its end otherwise."""
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        self._note_end(self._process.returncode)
        self._process = None
        return False

    def look(self) -> bool:
        """Start a hub if needed and allowed; return False if none will come."""
        if self._given or self._is_starting():
            return True
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
        except OSError as error:  # such as no descriptors; the next check may have some
            why = descriptors.describe_error(error)
            self.reason = why or f"It cannot be started: {error}."
            self._failures += not why
            return bool(why) or self._failures < MOST_FAILURES
        return True

    def _note_end(self, code: int) -> None:
        if code <= 0:
            return  # it found the lock taken, or was killed
        self._failures += 1
        log = self._places.hub_log
        with contextlib.suppress(OSError):
            last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
            self.reason = f"The hub stopped at once (exit {code}): {''.join(last)} See {log}."

    def found(self, pid: int) -> None:
        """Reset the failures when a hub has answered, and end a hub that this process started too late.

        Usually that one finds the lock taken and exits. If the hub that answered ended before that, it would stay.
        """
        self.again()
        if self._process is not None and self._process.pid != pid:
            self._process.terminate()

    def again(self) -> None:
        """Reset the failures."""
        self._failures = 0
        self.reason = ""
