"""``%remote doctor``: checks the connection between a notebook and its workers, and says how to fix problems."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from nbfn.client import discovery
from nbfn.client.client import Client
from nbfn.client.process_info import this_environment
from nbfn.config import Places, Settings
from nbfn.exception import Error
from nbfn.protocol.messages import Overview
from nbfn.runtime.byte_size import format_bytes

#: Bytes that should be free in shared memory and in the home.
ENOUGH = 512 * 1024 * 1024

#: The result of a check: whether it passed, and a sentence.
Finding = tuple[bool, str]


def findings() -> Iterator[Finding]:
    """Run all checks, and yield the result of each."""
    yield _settings()
    places = Places.of()
    yield _hub_runs(places)
    for name, path in (("shared memory", places.shm), ("the home", places.home)):
        yield _room(name, path)
    try:
        overview = Client.attach().overview()
    except Error as error:
        yield False, str(error)
        return
    yield True, f"the hub answers: nbfn {overview.hub.version}, pid {overview.hub.pid}"
    yield True, f"workers run {this_environment().executable}, as this notebook does"
    yield from _failing(overview)


def _settings() -> Finding:
    try:
        Settings.load()
    except Error as error:
        return False, str(error)
    return True, "the settings can be read"


def _hub_runs(places: Places) -> Finding:
    if hub := os.environ.get("NBFN_HUB"):
        return True, f"the hub of this notebook is {hub} (NBFN_HUB)"
    if discovery.is_running(places):
        return True, f"a hub runs for {places.home}"
    return True, f"no hub runs for {places.home} yet; the first call starts it"


def _room(name: str, path: Path) -> Finding:
    there = next((p for p in (path, *path.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    text = f"{format_bytes(free)} are free for {name} ({path})"
    return (
        free >= ENOUGH,
        text if free >= ENOUGH else f"only {text}: make room, or set NBFN_HOME elsewhere",
    )


def _failing(overview: Overview) -> Iterator[Finding]:
    rows = [row for row in overview.functions if row.state == "failing"]
    for row in rows:
        yield (
            False,
            f"workers of {row.name!r} do not start: see logs/hub.log in {overview.hub.home}",
        )
    for row in overview.functions:
        if row.waiting_for:
            yield False, f"{row.backlog} inputs of {row.name!r} wait: {row.waiting_for}"
    if not rows:
        yield (
            True,
            f"{len(overview.functions)} Functions, {len(overview.workers)} workers, none failing",
        )


def report(write: Callable[[str], object]) -> bool:
    """Write a line for each check.

    Args:
        write: Called with each line.

    Returns:
        Whether all checks passed.
    """
    well = True
    for good, text in findings():
        write(f"{'✓' if good else '✗'} {text}\n")
        well = well and good
    return well
