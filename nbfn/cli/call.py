"""``nbfn call``: lists calls, cancels them, and runs their inputs without a result again."""

from __future__ import annotations

import click

from nbfn.api.call import FunctionCall
from nbfn.cli.formatting import json_option, print_table
from nbfn.client.client import Client
from nbfn.exception import InvalidError, NotFoundError
from nbfn.protocol.call_states import CallState, InputState
from nbfn.protocol.messages import CallRow
from nbfn.runtime.time_span import format_span

_COLUMNS = {
    "call_id": "Call ID",
    "function": "Function",
    "kind": "Kind",
    "state": "State",
    "total": "Total",
    **{str(state): str(state).capitalize() for state in InputState},
    "took": "Took",
    "origin": "Made by",
}


@click.group()
def call() -> None:
    """Calls: list them, cancel them, run again what has no result."""


@call.command("list")
@click.option(
    "--state", type=click.Choice([str(state) for state in CallState]), help="Only calls in it."
)
@click.option("--function", metavar="NAME", help="Only calls of this Function.")
@json_option
def list_(state: str | None, function: str | None, as_json: bool) -> None:
    """List calls, running ones first, with how many of their inputs are in each state."""
    rows = (
        {
            "call_id": row.id,
            "function": row.function,
            "kind": row.kind,
            "state": str(row.state),
            "total": None if row.more else row.total,
            **{str(state): count for state, count in row.counts.items()},
            "took": row.age if as_json else format_span(row.age),
            "origin": row.origin,
        }
        for row in _calls(Client.attach())
        if state in (None, row.state) and function in (None, row.function)
    )
    print_table(rows, _COLUMNS, as_json=as_json)


@call.command()
@click.argument("call_id")
def cancel(call_id: str) -> None:
    """Cancel a call: waiting inputs do not run, running ones are interrupted."""
    client = Client.attach()
    found = _full_id(client, call_id)
    client.cancel_call(found)
    click.echo(f"{found} is being cancelled.")


@call.command()
@click.argument("call_id")
def retry(call_id: str) -> None:
    """Run the inputs of an ended call again that failed, were cancelled or did not run."""
    client = Client.attach()
    found = _full_id(client, call_id)
    count = FunctionCall.from_id(found, client).retry()
    click.echo(f"{count:,} input{'s' if count != 1 else ''} of {found} run again.")


def _calls(client: Client) -> list[CallRow]:
    return [row for row in client.overview().calls if row.kind != "session"]


def _full_id(client: Client, beginning: str) -> str:
    """Return the id of a call that begins like this; an id that is not listed is returned as it is."""
    if not beginning.startswith("fc-"):
        raise InvalidError(f"{beginning!r} is not the id of a call (fc-…).")
    found = [row.id for row in _calls(client) if row.id.startswith(beginning.rstrip("…"))]
    if len(found) > 1:
        raise InvalidError(f"{len(found)} ids begin with {beginning!r}; give more characters.")
    if not found and len(beginning) < len("fc-") + 22:
        raise NotFoundError(f"No call has the id {beginning!r}. 'nbfn call list' shows them.")
    return found[0] if found else beginning
