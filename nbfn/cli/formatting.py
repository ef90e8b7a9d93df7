"""Rows for people, in columns, or for programs, as JSON; and times."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from nbfn.runtime.time_span import parse_span


def show(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool) -> None:
    """Print rows.

    Args:
        rows: By column.
        columns: Their keys and titles, in order.
        as_json: Whether as a JSON list, keys as they are, times in ISO 8601.
    """
    rows = list(rows)
    if as_json:
        plain = [{key: _for_json(row[key]) for key in columns} for row in rows]
        click.echo(json.dumps(plain, indent=2, ensure_ascii=False))
        return
    texts = [[_for_people(row[key]) for key in columns] for row in rows]
    lines = [list(columns.values()), *texts]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    for line in lines:
        click.echo("  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip())


def _for_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _for_people(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    return str(value)


def moment(seconds: float | None) -> datetime | None:
    """Return the time that a number of seconds since 1970 is; None for none."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


class Moment(click.ParamType):  # type: ignore[type-arg]
    """A time: a span before now (``30s``, ``2h``, ``1d``) or ISO 8601, local unless it says otherwise."""

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


env_option = click.option("-e", "--env", default="", metavar="NAME", help="Environment.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: a JSON list.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
