"""``nbfn deploy``: deploys an App from a file, a module or a notebook."""

from __future__ import annotations

import contextlib

import click

from nbfn.api.deployment import STRATEGIES
from nbfn.cli import import_string
from nbfn.cli.formatting import env_option
from nbfn.cli.run import urls_of
from nbfn.runtime.sync import run


@click.command()
@click.option("--name", default=None, help="The name of the deployment; default: the App's name.")
@click.option("--tag", default="", help="A label shown in the history.")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="rolling",
    show_default=True,
    help="Whether existing workers finish their inputs (rolling), or are replaced at once (recreate).",
)
@click.option("-m", "as_module", is_flag=True, help="REF names a module, not a file.")
@click.option("--stream-logs", is_flag=True, help="Print its output until Ctrl-C.")
@env_option
@click.argument("ref", metavar="REF")
def deploy(
    name: str | None,
    tag: str,
    strategy: str,
    as_module: bool,
    stream_logs: bool,
    env: str,
    ref: str,
) -> None:
    """Deploy an App, so that its Functions can be found by name.

    REF is path.py, path.ipynb or, with -m, pkg.mod; append ::app where there are several Apps.
    """
    app = import_string.load(ref, as_module=as_module).app()
    found = run(app._deploy(name, environment_name=env or None, tag=tag, strategy=strategy))
    row = found.app
    if not found.changed:
        click.echo(
            f"App {row.name!r} ({row.id}) is unchanged (v{row.version}): deployment skipped."
        )
    else:
        click.echo(f"App {row.name!r} ({row.id}) was deployed as v{row.version}:")
        for line in urls_of(app):
            click.echo(line)
    if stream_logs:
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends it
            for entry in app.logs.stream():
                click.echo(entry.message, nl=False)
