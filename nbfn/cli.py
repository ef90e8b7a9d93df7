"""The ``nbfn`` command: the hub's start, stop and status."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from nbfn.config import Places
from nbfn.exception import Error

#: Seconds that `nbfn hub stop` waits for the hub to be gone.
STOP_WITHIN = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its arguments; the process's own when not given.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="nbfn", description="Functions for notebooks.")
    hub = parser.add_subparsers(dest="command", required=True).add_parser(
        "hub", help="the process that runs Functions"
    )
    verbs = hub.add_subparsers(dest="verb", required=True)
    start = verbs.add_parser("start", help="run the hub here until it is stopped")
    start.add_argument(
        "--embedded", action="store_true", help="exit when another runs already, and after idling"
    )
    verbs.add_parser("stop", help="drain and end the hub")
    verbs.add_parser(
        "status", help="say whether a hub runs and what it does; exit code 1 when none does"
    )
    given = parser.parse_args(argv)
    verb = {"start": lambda: _start(embedded=given.embedded), "stop": _stop, "status": _status}[
        given.verb
    ]
    try:
        return verb()
    except Error as error:
        print(f"nbfn: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _start(*, embedded: bool) -> int:
    """Become the hub: the same process goes on as ``python -m nbfn.hub``, so a supervisor sees one pid."""
    arguments = [sys.executable, "-m", "nbfn.hub", *(["--embedded"] if embedded else [])]
    sys.stdout.flush()
    os.execv(sys.executable, arguments)  # noqa: S606 - argv, no shell


def _running() -> bool:
    from nbfn.discovery import is_running

    if os.environ.get("NBFN_HUB") or is_running(Places.of()):
        return True
    print(f"No hub runs in {Places.of().home}.")
    return False


def _stop() -> int:
    from nbfn.client import Client
    from nbfn.discovery import is_running

    if not _running():
        return 0
    client = Client(start=False)
    try:
        client.stop_hub()
    finally:
        client.close()
    ends = time.monotonic() + STOP_WITHIN
    while is_running(Places.of()):
        if time.monotonic() > ends:
            print(
                f"The hub has not ended within {STOP_WITHIN:.0f} s; see {Places.of().logs / 'hub.log'}."
            )
            return 1
        time.sleep(0.02)
    print("The hub has ended.")
    return 0


def _status() -> int:
    from nbfn.client import Client

    if not _running():
        return 1
    client = Client(start=False)
    try:
        overview = client.overview()
    finally:
        client.close()
    hub = overview.hub
    print(f"nbfn hub {hub.version}, pid {hub.pid}, up {_duration(hub.uptime)}, home {hub.home}")
    for f in overview.functions:
        name = f"{f.app}/{f.name}" if f.app else f.name
        print(
            f"  {name} v{f.version}: {f.state}, {f.backlog} waiting, {f.running} running, "
            f"{f.workers} workers (min {f.min_containers}, max {f.max_containers})"
        )
    busy = sum(worker.state == "busy" for worker in overview.workers)
    print(f"  {len(overview.functions)} functions, {len(overview.workers)} workers ({busy} busy)")
    return 0


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min"
        if hours
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )
