"""Displays log entries as lines with their time, and parses ``--since``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from html import escape
from typing import Any

from IPython.core.error import UsageError

from nbfn.client.logs import LogEntry
from nbfn.runtime.time_span import parse_span


class LogView(Sequence[LogEntry]):
    """Log entries that display as text.

    Args:
        entries: The entries, the oldest first.
    """

    def __init__(self, entries: Sequence[LogEntry]) -> None:
        self._entries = list(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        return self._entries[index]

    def __repr__(self) -> str:
        return "\n".join(map(_line, self._entries)) or "Nothing was written."

    def _repr_html_(self) -> str:
        if not self._entries:
            return "<i>Nothing was written.</i>"
        return f"<pre>{escape(repr(self))}</pre>"


def _line(entry: LogEntry) -> str:
    source = "" if entry.source == "stdout" else f"  {entry.source}"
    when = entry.timestamp.astimezone()
    return f"{when:%H:%M:%S}  {entry.container_id[:9]:9}{source}  {entry.message.rstrip()}"


def parse_since(text: str) -> timedelta:
    """Return the time span that ``--since`` gives, such as ``10m``.

    Raises:
        UsageError: If it is not a span.
    """
    try:
        return parse_span(text)
    except ValueError as error:
        raise UsageError(f"--since {text} is not valid. {error}") from None
