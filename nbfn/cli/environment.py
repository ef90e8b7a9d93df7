"""``nbfn environment``: namespaces for Apps and secrets."""

from __future__ import annotations

import click

from nbfn.api import environments
from nbfn.cli.formatting import json_option, moment, show, yes_option

_COLUMNS = {"name": "Name", "apps": "Apps", "created": "Created"}


@click.group()
def environment() -> None:
    """Namespaces for Apps and secrets."""


@environment.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all environments."""
    rows = (
        {"name": row.name, "apps": row.apps, "created": moment(row.created)}
        for row in environments.list_environments()
    )
    show(rows, _COLUMNS, as_json=as_json)


@environment.command()
@click.argument("name")
def create(name: str) -> None:
    """Create an environment."""
    environments.create_environment(name)
    click.echo(f"Environment {name!r} was created.")


@environment.command()
@click.argument("name")
@click.option("--set-name", "new_name", required=True, help="The new name.")
def update(name: str, new_name: str) -> None:
    """Rename an environment, with all that is in it."""
    environments.update_environment(name, new_name=new_name)
    click.echo(f"Environment {name!r} is {new_name!r} now.")


@environment.command()
@click.argument("name")
@yes_option
def delete(name: str, yes: bool) -> None:
    """Delete an environment; its Apps are stopped, its secrets forgotten."""
    if not yes:
        click.confirm(f"Stop all apps of {name!r} and forget its secrets?", abort=True, err=True)
    environments.delete_environment(name)
    click.echo(f"Environment {name!r} was deleted.")
