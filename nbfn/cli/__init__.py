"""The ``nbfn`` command: one file a group of commands, each loaded when it is used.

What a command was asked for goes to stdout, plain and easy to take apart; how it gets on, and
errors, one sentence each, go to stderr.
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
#: Commands and where they are.
_COMMANDS = {
    "run": "run:run",
    "serve": "serve:serve",
    "deploy": "deploy:deploy",
    "app": "app:app",
    "container": "container:container",
    "environment": "environment:environment",
    "secret": "secret:secret",
    "hub": "hub:hub",
}


class Commands(click.Group):
    """The commands, in the order of the table, loaded one by one."""

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
    help="Functions for notebooks: run and deploy Apps, and see what becomes of them.",
)
@click.version_option(__version__, "-V", "--version", message="nbfn %(version)s")
def commands() -> None:
    """Hold the commands."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its arguments; the process's own when not given.

    Returns:
        The exit code: 0, 1 for what went wrong, 2 for what was asked wrongly, 130 when interrupted.

    Raises:
        SystemExit: When told to end by SIGTERM or SIGHUP: 128 and the signal's number.
    """
    given = None if argv is None else list(argv)
    try:
        with signals.in_good_order():
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
        click.echo("Nothing was done.", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Error as error:
        user_traceback.show_cause(error)
        click.echo(f"nbfn: {error}", err=True)
        return 1
    return code if isinstance(code, int) else 0
