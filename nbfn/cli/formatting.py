"""Prints rows as a table or as JSON, and converts times."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from nbfn.runtime.time_span import parse_span


def print_table(
    rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool
) -> None:
    """Print rows as a table or as a JSON list.

    Args:
        rows: The values of each row, by key.
        columns: The titles of the columns, by key, in order.
        as_json: Whether to print JSON, with times in ISO 8601.
    """
    rows = list(rows)
    if as_json:
        values = [{key: _to_json(row[key]) for key in columns} for row in rows]
        click.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    texts = [[_to_text(row[key]) for key in columns] for row in rows]
    lines = [list(columns.values()), *texts]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip())


def _to_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    return str(value)


def moment(seconds: float | None) -> datetime | None:
    """Convert seconds since 1970 to a time; return None for None and 0."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


class Moment(click.ParamType):  # type: ignore[type-arg]
    """A time: a span before now (``30s``, ``2h``, ``1d``), or ISO 8601, by default in local time."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """See `click.ParamType`."""
        if isinstance(value, datetime):
            return value
        with contextlib.suppress(ValueError):
            return datetime.now(UTC) - parse_span(value)
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            self.fail(f"{value!r} is neither a span (30s, 2h, 1d) nor an ISO time.", param, ctx)


env_option = click.option("-e", "--env", default="", metavar="NAME", help="The environment.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
