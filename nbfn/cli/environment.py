"""``nbfn environment``: manages the namespaces of Apps and secrets."""

from __future__ import annotations

import click

from nbfn.api import environments
from nbfn.cli.formatting import json_option, moment, print_table, yes_option

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
    print_table(rows, _COLUMNS, as_json=as_json)


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
    """Rename an environment."""
    environments.update_environment(name, new_name=new_name)
    click.echo(f"Environment {name!r} was renamed to {new_name!r}.")


@environment.command()
@click.argument("name")
@yes_option
def delete(name: str, yes: bool) -> None:
    """Delete an environment; stops its Apps and deletes its secrets."""
    if not yes:
        click.confirm(f"Stop all Apps of {name!r} and delete its secrets?", abort=True, err=True)
    environments.delete_environment(name)
    click.echo(f"Environment {name!r} was deleted.")
