"""``nbfn session``: lists and ends the sessions of notebooks on the remote kernel."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from nbfn.cli.formatting import json_option, print_table, yes_option
from nbfn.client.client import Client
from nbfn.exception import InvalidError, NotFoundError
from nbfn.protocol.messages import CallRow, WorkerRow

_COLUMNS = {
    "session_id": "Session ID",
    "notebook": "Notebook",
    "container_id": "Container ID",
    "pid": "PID",
    "start_time": "Started",
}


@dataclass(frozen=True, slots=True)
class _Session:
    """A session: its call, and its worker if it has started."""

    call: CallRow
    worker: WorkerRow | None

    @property
    def notebook(self) -> str:
        return self.call.origin or self.call.app

    def is_named(self, identifier: str) -> bool:
        """Return whether an id, or the beginning of one, is that of this session or its worker."""
        ids = [self.call.id, *([self.worker.id] if self.worker else [])]
        return any(known.startswith(identifier) for known in ids)


@click.group()
def session() -> None:
    """Sessions, in which notebooks on the remote kernel run their cells: list them, end them."""


@session.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the sessions of all notebooks."""
    now = time.time()
    rows = (
        {
            "session_id": found.call.id,
            "notebook": found.notebook,
            "container_id": found.worker.id if found.worker else None,
            "pid": found.worker.pid if found.worker else None,
            "start_time": datetime.fromtimestamp(now - found.call.since, UTC),
        }
        for found in _sessions(Client.attach())
    )
    print_table(rows, _COLUMNS, as_json=as_json)


@session.command()
@click.argument("session_id")
@yes_option
def stop(session_id: str, yes: bool) -> None:
    """End a session, by the id of the session or its worker; the notebook loses its variables."""
    client = Client.attach()
    found = [one for one in _sessions(client) if one.is_named(session_id.rstrip("…"))]
    if not found:
        raise NotFoundError(
            f"No session has the id {session_id!r}. 'nbfn session list' shows them."
        )
    if len(found) > 1:
        raise InvalidError(f"{len(found)} ids begin with {session_id!r}; give more characters.")
    if not yes:
        question = f"End the session of {found[0].notebook}? All its variables will be lost."
        click.confirm(question, abort=True, err=True)
    client.cancel_call(found[0].call.id, end_session=True)
    click.echo(f"The session of {found[0].notebook} is ending.")


def _sessions(client: Client) -> list[_Session]:
    overview = client.overview()
    workers = {row.session: row for row in overview.workers if row.session}
    running = [row for row in overview.calls if row.kind == "session" and not row.ended]
    return [_Session(row, workers.get(row.id)) for row in running]
