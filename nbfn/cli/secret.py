"""``nbfn secret``: manages stored environment variables for workers; stored values are never printed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nbfn.api.secret import Secret
from nbfn.cli.formatting import env_option, json_option, print_table, yes_option
from nbfn.config import default_environment
from nbfn.exception import AlreadyExistsError

_COLUMNS = {"name": "Name", "variables": "Variables", "created": "Created"}


@click.group()
def secret() -> None:
    """Environment variables for workers, stored under a name."""


@secret.command("list")
@env_option
@json_option
def list_(env: str, as_json: bool) -> None:
    """List secrets and the names of their variables."""
    found = [
        one.info() for one in Secret.objects.list(environment_name=env or default_environment())
    ]
    rows = (
        {"name": row.name, "variables": ", ".join(row.keys), "created": row.created_at}
        for row in found
    )
    print_table(rows, _COLUMNS, as_json=as_json)


@secret.command()
@click.argument("name")
@click.argument("variables", nargs=-1, metavar="KEY=VALUE...")
@click.option(
    "--from-dotenv",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A .env file.",
)
@click.option("--force", is_flag=True, help="Replace an existing secret.")
@env_option
def create(
    name: str, variables: tuple[str, ...], from_dotenv: Path | None, force: bool, env: str
) -> None:
    """Store a secret. For KEY=-, the value is asked for, or read from stdin if it is not a terminal."""
    values: dict[str, str] = {}
    if from_dotenv is not None:
        values |= Secret.from_dotenv(from_dotenv.parent, filename=from_dotenv.name).values
    values |= map(_variable, variables)
    if not values:
        raise click.UsageError("Pass at least one KEY=VALUE, or --from-dotenv.")
    environment_name = env or default_environment()
    try:
        if force:
            Secret.create_deployed(name, values, environment_name=environment_name, overwrite=True)
        else:
            Secret.objects.create(name, values, environment_name=environment_name)
    except AlreadyExistsError:
        raise click.ClickException(
            f"A secret {name!r} already exists. Replace it with --force."
        ) from None
    click.echo(f"Secret {name!r} was stored, with the variables {', '.join(sorted(values))}.")


def _variable(pair: str) -> tuple[str, str]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise click.UsageError(f"{pair!r} is not KEY=VALUE.")
    return key, _read_value(key) if value == "-" else value


def _read_value(key: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(key, hide_input=True, err=True))
    return sys.stdin.read().rstrip("\n")


@secret.command()
@click.argument("name")
@yes_option
@env_option
def delete(name: str, yes: bool, env: str) -> None:
    """Delete a secret."""
    if not yes:
        click.confirm(f"Delete secret {name!r}?", abort=True, err=True)
    Secret.objects.delete(name, environment_name=env or default_environment())
    click.echo(f"Secret {name!r} was deleted.")
