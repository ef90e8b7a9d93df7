"""What all tests share: a home of their own for a hub, and the proof that nothing is left of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nbfn
import nbfn_kernel
from nbfn.client import client, discovery
from nbfn.config import Places

# A shell that runs the tests in the background has them ignore SIGINT, nohup has them ignore SIGHUP,
# and some tests send these to themselves or to programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

#: Seconds that processes have to end after their hub was stopped.
GONE_WITHIN = 15.0
#: The folders of nbfn's own code.
PACKAGES = [Path(str(package.__file__)).parent for package in (nbfn, nbfn_kernel)]


def own_files(text: str) -> list[str]:
    """Return the paths of nbfn's own files in a text, a traceback say.

    The checkout may lie in a folder of any name, so ``"nbfn/" in text`` says nothing.
    """
    places = [str(folder) for folder in PACKAGES]
    places += [f"~{place.removeprefix(str(Path.home()))}" for place in places]  # as IPython shows
    found = "|".join(re.escape(place) for place in places)
    return re.findall(rf"(?:{found})/[\w/]*\.py", text)


def wait_until(condition: Callable[[], object], within: float = 10.0) -> None:
    """Return when a condition holds; fail when it does not in time."""
    ends = time.monotonic() + within
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"not so within {within} s")
        time.sleep(0.005)


@contextlib.contextmanager
def passing_modules(folder: Path) -> Iterator[None]:
    """Forget, at the end, what was imported from a folder meanwhile: the next test has such names, too."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def processes_of(home: Path) -> dict[int, str]:
    """Return the command lines of the processes that have this home."""
    mark = f"NBFN_HOME={home}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    )
    return found


def stop_hub(places: Places) -> None:
    """End the hub of these places, if one runs."""
    if discovery.is_running(places):
        stopper = client.Client(start=False)
        try:
            stopper.stop_hub(end_session=True)
        finally:
            stopper.close()
        wait_until(lambda: not discovery.is_running(places), GONE_WITHIN)
    discovery.reap()


def _close_client() -> None:
    if (mine := client.current()) is not None:
        mine.close()


@contextlib.contextmanager
def a_home() -> Iterator[Path]:
    """Have an ``NBFN_HOME`` of one's own; at the end nothing may be left of it."""
    base = Path(tempfile.mkdtemp(prefix="nb-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBFN_HOME", str(base))
        patch.delenv("NBFN_HUB", raising=False)
        places = Places.of()
        _close_client()  # of another home
        try:
            yield base
        finally:
            _close_client()
            try:
                stop_hub(places)
                with contextlib.suppress(AssertionError):  # told below, with names
                    wait_until(lambda: not processes_of(base), GONE_WITHIN)
            finally:
                left = processes_of(base)
                logs = {
                    path.name: path.read_text("utf-8", "replace")[-2000:]
                    for path in places.logs.glob("hub*")
                }
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                segments = [
                    path.name
                    for folder in (places.shm, places.spill)
                    if folder.is_dir()
                    for path in folder.iterdir()
                ]
                for path in (base, places.runtime, places.shm):
                    shutil.rmtree(path, ignore_errors=True)
            assert not left, f"processes left behind: {left}, logs: {logs}"
            assert not segments, f"shared memory left behind: {segments}"


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of the test's own; its hub, if one is started, is stopped at the end and leaves no process."""
    with a_home() as base:
        yield base
