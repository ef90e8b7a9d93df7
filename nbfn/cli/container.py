"""``nbfn container``: lists, shows and stops workers, which Modal calls containers."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

import click

from nbfn.cli.app import find_app
from nbfn.cli.formatting import env_option, json_option, print_table, yes_option
from nbfn.cli.logs import log_options, print_logs
from nbfn.client.client import Client

_COLUMNS = {
    "container_id": "Container ID",
    "app_id": "App ID",
    "app": "App",
    "function": "Function",
    "state": "State",
    "pid": "PID",
    "start_time": "Started",
}


@click.group()
def container() -> None:
    """Workers: list them, see their logs, stop them."""


@container.command("list")
@click.option("--app-id", default="", help="Only workers of this App.")
@env_option
@json_option
def list_(app_id: str, env: str, as_json: bool) -> None:
    """List the workers of Apps."""
    client = Client.attach()
    apps = {row.id for row in client.apps(env)}
    if app_id:
        apps &= {find_app(app_id, env).id}
    now = time.time()
    rows = (
        {
            "container_id": row.id,
            "app_id": row.app_id,
            "app": row.app,
            "function": row.function,
            "state": "session" if row.session else row.state,
            "pid": row.pid,
            "start_time": datetime.fromtimestamp(now - row.age, UTC),
        }
        for row in client.overview().workers
        if row.app_id in apps
    )
    print_table(rows, _COLUMNS, as_json=as_json)


@container.command()
@click.argument("container_id")
@log_options
def logs(container_id: str, **options: Any) -> None:
    """Print the output of inputs on a worker; by default the last 100 lines."""
    print_logs({"worker": container_id}, **options)


@container.command()
@click.argument("container_id")
@click.option("--graceful", is_flag=True, help="Let it finish its inputs.")
@yes_option
@click.option(
    "--end-session",
    is_flag=True,
    help="Also if it runs a notebook's session, which loses its variables.",
)
def stop(container_id: str, graceful: bool, yes: bool, end_session: bool) -> None:
    """Stop a worker; its inputs run again on other workers. 'nbfn session stop' ends a session."""
    if not yes:
        click.confirm(f"Stop worker {container_id}?", abort=True, err=True)
    Client.attach().stop_worker(container_id, graceful=graceful, end_session=end_session)
    click.echo(f"Worker {container_id} is stopping.")


@container.command()
@click.argument("container_id")
@click.option("--file", "only_file", is_flag=True, help="Only print the connection file.")
def attach(container_id: str, only_file: bool) -> None:
    """Open a Jupyter console on a worker, also while it runs an input."""
    file = Client.attach().attach_console(container_id)
    if only_file:
        click.echo(file)
    elif importlib.util.find_spec("jupyter_console") is None:
        click.echo(
            f"The console's connection file: {file}\n"
            "Install the package jupyter-console, or open the console with\n"
            f"  jupyter console --existing {file}"
        )
    else:
        os.execv(  # noqa: S606 - replaces this process by the console
            sys.executable, [sys.executable, "-m", "jupyter_console", "--existing", file]
        )
