"""``nbfn hub``: start, stop and status of the hub."""

from __future__ import annotations

import os
import signal
import sys
import time

import click

from nbfn.config import Places
from nbfn.runtime.time_span import format_span

#: Seconds that `nbfn hub stop` waits for the hub to be gone.
STOP_WITHIN = 30.0


@click.group()
def hub() -> None:
    """The process that runs Functions."""


@hub.command()
@click.option("--embedded", is_flag=True, help="Exit when another runs already, and after idling.")
def start(embedded: bool) -> None:
    """Run the hub here until it is stopped."""
    _start(embedded=embedded)


@hub.command()
def stop() -> int:
    """Drain and end the hub."""
    return _stop()


@hub.command()
def status() -> int:
    """Say whether a hub runs and what it does; exit code 1 when none does."""
    return _status()


def _start(*, embedded: bool) -> None:
    """Become the hub: the same process goes on as ``python -m nbfn.hub``, so a supervisor sees one pid."""
    arguments = [sys.executable, "-m", "nbfn.hub", *(["--embedded"] if embedded else [])]
    sys.stdout.flush()
    os.execv(sys.executable, arguments)  # noqa: S606 - argv, no shell


def _running() -> bool:
    from nbfn.client.discovery import is_running

    if os.environ.get("NBFN_HUB") or is_running(Places.of()):
        return True
    click.echo(f"No hub runs in {Places.of().home}.")
    return False


def _stop() -> int:
    from nbfn.client.discovery import is_running

    if not _running():
        return 0
    _tell_to_end()
    ends = time.monotonic() + STOP_WITHIN
    while is_running(Places.of()):
        if time.monotonic() > ends:
            click.echo(
                f"The hub has not ended within {STOP_WITHIN:.0f} s; see {Places.of().hub_log}."
            )
            return 1
        time.sleep(0.02)
    click.echo("The hub has ended.")
    return 0


def _tell_to_end() -> None:
    from nbfn.client.client import Client
    from nbfn.client.discovery import read_connection_file
    from nbfn.exception import VersionError

    client = Client(start=False)
    try:
        client.stop_hub()
    except VersionError:
        # After an upgrade the hub that still runs understands its signal, and nothing else.
        pid = read_connection_file(Places.of()).get("pid")
        if os.environ.get("NBFN_HUB") or not isinstance(pid, int):
            raise
        os.kill(pid, signal.SIGTERM)
    finally:
        client.close()


def _status() -> int:
    from nbfn.client.client import Client

    if not _running():
        return 1
    client = Client(start=False)
    try:
        overview = client.overview()
    finally:
        client.close()
    hub = overview.hub
    click.echo(
        f"nbfn hub {hub.version}, pid {hub.pid}, up {format_span(hub.uptime)}, home {hub.home}"
    )
    for f in overview.functions:
        name = f"{f.app}/{f.name}" if f.app else f.name
        click.echo(
            f"  {name} v{f.version}: {f.state}, {f.backlog} waiting, {f.running} running, "
            f"{f.workers} workers (min {f.min_containers}, max {f.max_containers})"
        )
    busy = sum(worker.state == "busy" for worker in overview.workers)
    click.echo(
        f"  {len(overview.functions)} functions, {len(overview.workers)} workers ({busy} busy)"
    )
    return 0
