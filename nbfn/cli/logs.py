"""Printing logs: the options of ``nbfn app logs`` and ``nbfn container logs``."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from nbfn.cli.formatting import Moment
from nbfn.client.logs import MOST_TAILED, SOURCES, LogEntry, following, kept

#: Lines that are printed when nothing else is asked for.
TAIL = 100

_OPTIONS = (
    click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on."),
    click.option("--since", type=Moment(), help="Only from then on: 2h ago, or an ISO time."),
    click.option("--until", type=Moment(), help="Only until then."),
    click.option(
        *("-n", "--tail"),
        type=click.IntRange(1, MOST_TAILED),
        help=f"Only the last lines; default: {TAIL}, or all of a span.",
    ),
    click.option("--search", default=None, metavar="TEXT", help="Only lines with this text."),
    click.option("--source", type=click.Choice(SOURCES), help="Only from there."),
    click.option("--function-call", default="", metavar="ID", help="Only of this call."),
    click.option("--timestamps", is_flag=True, help="Put the time before each line."),
    click.option("--show-function-id", is_flag=True, help="Put the Function's id before each line."),
    click.option("--show-function-call-id", is_flag=True, help="Put the call's id before each line."),
    click.option("--show-container-id", is_flag=True, help="Put the worker's id before each line."),
)  # fmt: skip


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `print_logs`."""
    return functools.reduce(lambda made, option: option(made), reversed(_OPTIONS), command)


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
    """Print lines to stdout.

    Args:
        scope: Whose, by id.
        follow, since, until, tail, search, source, function_call: Which lines.
        timestamps, show_function_id, show_function_call_id, show_container_id: What stands before each.
    """
    if follow and (since or until):
        raise click.UsageError("--follow goes with no --since or --until.")
    whose = {**scope, "call": function_call}

    async def named() -> dict[str, str]:
        return whose

    given: dict[str, Any] = {"since": since, "until": until, "source": source, "search": search}
    given["tail"] = tail or (0 if since or until else TAIL)
    found: Iterable[LogEntry] = following(named, **given) if follow else kept(named, **given)
    fields = [
        field
        for wanted, field in (
            (show_function_id, "object_id"),
            (show_function_call_id, "function_call_id"),
            (show_container_id, "container_id"),
        )
        if wanted
    ]
    with contextlib.suppress(KeyboardInterrupt) if follow else contextlib.nullcontext():
        _print(found, fields, timestamps=timestamps)


def _print(found: Iterable[LogEntry], fields: Sequence[str], *, timestamps: bool) -> None:
    for entry in found:
        before = (
            [entry.timestamp.astimezone().isoformat(timespec="milliseconds")] if timestamps else []
        )
        before += [getattr(entry, field) or "-" for field in fields]
        whole = entry.message.endswith("\n")
        click.echo(" ".join([*before, entry.message]), nl=bool(before) and not whole)
