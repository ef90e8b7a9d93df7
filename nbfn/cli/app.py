"""``nbfn app``: lists Apps, shows their logs and history, and stops them."""

from __future__ import annotations

import re
from typing import Any

import click

from nbfn.api.deployment import STRATEGIES, deployer
from nbfn.cli.formatting import env_option, json_option, moment, print_table, yes_option
from nbfn.cli.logs import log_options, print_logs
from nbfn.client.client import Client
from nbfn.exception import InvalidError, NotFoundError
from nbfn.protocol import messages
from nbfn.protocol.messages import AppRow
from nbfn.runtime.sync import run

_APPS = {
    "app_id": "App ID",
    "description": "Description",
    "state": "State",
    "tasks": "Tasks",
    "created_at": "Created",
    "stopped_at": "Stopped",
}
_HISTORY = {
    "version": "Version",
    "time": "Time",
    "client": "Client",
    "deployed_by": "Deployed by",
    "commit": "Commit",
    "tag": "Tag",
}
_ENDED = ("stopped", "stopping")
_strategy = click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="rolling",
    show_default=True,
    help="Whether existing workers finish their inputs (rolling), or are replaced at once (recreate).",
)


@click.group()
def app() -> None:
    """Apps: list them, see their logs and history, stop them."""


def find_app(identifier: str, env: str) -> AppRow:
    """Return an App by its id, or by its name: the deployed App, else the only running one.

    Args:
        identifier: The id or name.
        env: The environment; empty for the default one.

    Raises:
        NotFoundError: If there is no such App.
        InvalidError: If several Apps run under that name.
    """
    client = Client.attach()
    try:
        return client.find_app(identifier, env)
    except NotFoundError:
        rows = client.apps(env)
        live = [row for row in rows if row.name == identifier and row.state not in _ENDED]
        if not live:
            raise
    if len(live) > 1:
        ids = ", ".join(row.id for row in live)
        raise InvalidError(f"{len(live)} Apps run as {identifier!r}. Pass the id of one: {ids}.")
    return live[0]


@app.command("list")
@env_option
@json_option
def list_(env: str, as_json: bool) -> None:
    """List the Apps of an environment, the newest first."""
    rows = (
        {
            "app_id": row.id,
            "description": row.name or "(unnamed)",
            "state": row.state,
            "tasks": row.workers,
            "created_at": moment(row.created),
            "stopped_at": moment(row.stopped),
        }
        for row in Client.attach().apps(env)
    )
    print_table(rows, _APPS, as_json=as_json)


@app.command()
@click.argument("app", metavar="APP")
@log_options
@click.option("--function", default="", metavar="NAME", help="Only of this Function (name or id).")
@click.option("--container", default="", metavar="ID", help="Only of this worker.")
@env_option
def logs(app: str, function: str, container: str, env: str, **options: Any) -> None:
    """Print the output of an App's inputs; by default the last 100 lines."""
    row = find_app(app, env)
    scope = {"app": row.id, "function": _function_id(row, function), "worker": container}
    print_logs(scope, **options)


def _function_id(row: AppRow, name: str) -> str:
    if not name or name.startswith("fu-"):
        return name
    client = Client.attach()
    return run(client.request(lambda n: messages.Lookup(n, row.id, name))).info.id  # type: ignore[no-any-return]


@app.command()
@click.argument("app", metavar="APP")
@env_option
@yes_option
@click.option(
    "--end-session",
    is_flag=True,
    help="Also if notebooks have sessions in it; these lose their variables.",
)
def stop(app: str, env: str, yes: bool, end_session: bool) -> None:
    """Stop an App, by name or id; cancels its inputs and frees its name."""
    row = find_app(app, env)
    named = f"App {row.name!r} ({row.id})" if row.name else f"App {row.id}"
    if row.state in _ENDED:
        click.echo(f"{named} is already stopped.")
        return
    if not yes:
        click.confirm(f"{named} has {row.workers} workers. Stop it?", abort=True, err=True)
    Client.attach().stop_app(row.id, end_session=end_session)
    click.echo(f"{named} was stopped.")


@app.command()
@click.argument("app", metavar="APP")
@env_option
@json_option
def history(app: str, env: str, as_json: bool) -> None:
    """List an App's deployments, the newest first."""
    rows = (
        {
            "version": f"v{row.version}",
            "time": moment(row.at),
            "client": row.client,
            "deployed_by": row.by,
            "commit": row.commit,
            "tag": row.tag,
        }
        for row in Client.attach().app_history(find_app(app, env).id)
    )
    print_table(rows, _HISTORY, as_json=as_json)


class _Version(click.ParamType):  # type: ignore[type-arg]
    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"v[1-9]\d*", value):
            self.fail(f"{value!r} is not a version. Write v{value.lstrip('v') or 'N'}.", param, ctx)
        return int(value[1:])


@app.command()
@click.argument("app", metavar="APP")
@click.argument("version", type=_Version(), required=False, default=0, metavar="[vN]")
@_strategy
@env_option
def rollback(app: str, version: int, strategy: str, env: str) -> None:
    """Deploy an earlier version of an App again: vN, or the one before the current version."""
    row = find_app(app, env)
    now = Client.attach().rollback_app(row.id, version, strategy=strategy, by=deployer())
    click.echo(
        f"App {row.name!r} was deployed as v{now.version}, with the Functions of v{version or row.version - 1}."
    )


@app.command()
@click.argument("app", metavar="APP")
@env_option
def rollover(app: str, env: str) -> None:
    """Replace the workers of an App; the existing ones finish their inputs and end."""
    row = find_app(app, env)
    now = Client.attach().rollback_app(row.id, -1, by=deployer())
    click.echo(
        f"App {row.name!r} was deployed as v{now.version}, the same as v{row.version}, with new workers."
    )
