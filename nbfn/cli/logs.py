"""Prints logs, with the options of ``nbfn app logs`` and ``nbfn container logs``."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from nbfn.cli.formatting import Moment
from nbfn.client.logs import MOST_TAILED, SOURCES, LogEntry, following, kept

#: The number of lines that are printed by default.
TAIL = 100

_OPTIONS = (
    click.option("-f", "--follow", is_flag=True, help="Print new lines as they are written."),
    click.option("--since", type=Moment(), help="Only lines after this time: 2h for two hours ago, or an ISO time."),
    click.option("--until", type=Moment(), help="Only lines before this time."),
    click.option(
        *("-n", "--tail"),
        type=click.IntRange(1, MOST_TAILED),
        help=f"Only the last N lines; default: {TAIL}, or all between --since and --until.",
    ),
    click.option("--search", default=None, metavar="TEXT", help="Only lines with this text."),
    click.option("--source", type=click.Choice(SOURCES), help="Only lines of this source."),
    click.option("--function-call", default="", metavar="ID", help="Only of this call."),
    click.option("--timestamps", is_flag=True, help="Put the time before each line."),
    click.option("--show-function-id", is_flag=True, help="Put the Function's id before each line."),
    click.option("--show-function-call-id", is_flag=True, help="Put the call's id before each line."),
    click.option("--show-container-id", is_flag=True, help="Put the worker's id before each line."),
)  # fmt: skip


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `print_logs` to a command."""
    return functools.reduce(
        lambda decorated, option: option(decorated), reversed(_OPTIONS), command
    )


def print_logs(
    scope: Mapping[str, str],
    *,
    follow: bool,
    since: datetime | None,
    until: datetime | None,
    tail: int | None,
    search: str | None,
    source: str | None,
    function_call: str,
    timestamps: bool,
    show_function_id: bool,
    show_function_call_id: bool,
    show_container_id: bool,
) -> None:
    """Print lines of logs to stdout.

    Args:
        scope: The ids of the App, Function or worker whose logs are printed.
        follow, since, until, tail, search, source, function_call: Select the lines.
        timestamps, show_function_id, show_function_call_id, show_container_id: Select the columns before each line.

    Raises:
        click.UsageError: If ``follow`` is combined with ``since`` or ``until``.
    """
    if follow and (since or until):
        raise click.UsageError("--follow cannot be combined with --since or --until.")
    ids = {**scope, "call": function_call}

    async def resolve() -> dict[str, str]:
        return ids

    filters: dict[str, Any] = {"since": since, "until": until, "source": source, "search": search}
    filters["tail"] = tail or (0 if since or until else TAIL)
    found: Iterable[LogEntry] = (
        following(resolve, **filters) if follow else kept(resolve, **filters)
    )
    shown = {
        "object_id": show_function_id,
        "function_call_id": show_function_call_id,
        "container_id": show_container_id,
    }
    fields = [field for field, wanted in shown.items() if wanted]
    with contextlib.suppress(KeyboardInterrupt) if follow else contextlib.nullcontext():
        _print(found, fields, timestamps=timestamps)


def _print(found: Iterable[LogEntry], fields: Sequence[str], *, timestamps: bool) -> None:
    for entry in found:
        prefix = (
            [entry.timestamp.astimezone().isoformat(timespec="milliseconds")] if timestamps else []
        )
        prefix += [getattr(entry, field) or "-" for field in fields]
        whole = entry.message.endswith("\n")
        click.echo(" ".join([*prefix, entry.message]), nl=bool(prefix) and not whole)
