"""``nbfn hub``: starts and stops the hub, and shows its status."""

from __future__ import annotations

import os
import signal
import sys
import time

import click

from nbfn.config import Places
from nbfn.runtime.time_span import format_span

#: Seconds that `nbfn hub stop` waits for the hub to end.
STOP_TIMEOUT = 30.0


@click.group()
def hub() -> None:
    """The hub, which schedules calls and starts workers."""


@hub.command()
@click.option("--embedded", is_flag=True, help="Exit if another hub runs, and when idle.")
def start(embedded: bool) -> None:
    """Run the hub in the foreground until it is stopped."""
    _start(embedded=embedded)


@hub.command()
@click.option(
    "--end-session",
    is_flag=True,
    help="Also if notebooks have sessions; these lose their variables.",
)
def stop(end_session: bool) -> int:
    """Stop the hub."""
    return _stop(end_session=end_session)


@hub.command()
def status() -> int:
    """Show the status of the hub; the exit code is 1 if no hub runs."""
    return _status()


def _start(*, embedded: bool) -> None:
    """Replace this process by ``python -m nbfn.hub``, so that a supervisor sees one pid."""
    arguments = [sys.executable, "-m", "nbfn.hub", *(["--embedded"] if embedded else [])]
    sys.stdout.flush()
    os.execv(sys.executable, arguments)  # noqa: S606 - argv, no shell


def _running() -> bool:
    from nbfn.client.discovery import is_running

    if os.environ.get("NBFN_HUB") or is_running(Places.of()):
        return True
    click.echo(f"No hub runs in {Places.of().home}.")
    return False


def _stop(*, end_session: bool) -> int:
    from nbfn.client.discovery import is_running

    if not _running():
        return 0
    _request_stop(end_session=end_session)
    deadline = time.monotonic() + STOP_TIMEOUT
    while is_running(Places.of()):
        if time.monotonic() > deadline:
            click.echo(
                f"The hub did not end within {STOP_TIMEOUT:.0f} s. See its log: {Places.of().hub_log}."
            )
            return 1
        time.sleep(0.02)
    click.echo("The hub has ended.")
    return 0


def _request_stop(*, end_session: bool) -> None:
    from nbfn.client.client import Client
    from nbfn.client.discovery import read_connection_file
    from nbfn.exception import VersionError

    client = Client(start=False)
    try:
        client.stop_hub(end_session=end_session)
    except VersionError:
        # The running hub has another protocol version, so it understands only the signal.
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
