"""The ``nbfn`` command, with one module for each group of commands, imported when it is used.

Results are printed to stdout, in plain text or JSON. Progress, and errors of one sentence each, are printed to stderr.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import click

from nbfn._version import __version__
from nbfn.cli import signals, user_traceback
from nbfn.exception import Error

#: The exit code of a command that was interrupted.
INTERRUPTED = 130
#: The module and the name of each command.
_COMMANDS = {
    "run": "run:run",
    "serve": "serve:serve",
    "deploy": "deploy:deploy",
    "app": "app:app",
    "call": "call:call",
    "container": "container:container",
    "session": "session:session",
    "environment": "environment:environment",
    "secret": "secret:secret",
    "hub": "hub:hub",
}


class Commands(click.Group):
    """A group that imports the module of a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group`."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group`."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"nbfn.cli.{module}"), name)
        return command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Functions for notebooks: run, deploy and monitor Apps.",
)
@click.version_option(__version__, "-V", "--version", message="nbfn %(version)s")
def commands() -> None:
    """Group the commands."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments; default: those of the process.

    Returns:
        The exit code: 0; 1 for an error; 2 for wrong usage; 130 for an interrupt.

    Raises:
        SystemExit: On SIGTERM or SIGHUP, with 128 plus the number of the signal.
    """
    given = None if argv is None else list(argv)
    try:
        with signals.exit_on_signals():
            return _run(given)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        signals.flush()


def _run(given: list[str] | None) -> int:
    try:
        code = commands.main(given, "nbfn", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort as abort:
        if isinstance(abort.__cause__, KeyboardInterrupt):
            return INTERRUPTED
        click.echo("Cancelled; nothing was changed.", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Error as error:
        user_traceback.show_cause(error)
        click.echo(f"nbfn: {error}", err=True)
        return 1
    return code if isinstance(code, int) else 0
