"""Displays rows of values: as a pandas DataFrame if pandas is installed, else as a simple table."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any


class Table(Sequence[Mapping[str, Any]]):
    """Rows with the same columns that display as a table.

    Args:
        rows: Dicts with the same keys in the same order.
        empty: The sentence to display if there are no rows.

    Examples:
        >>> Table([{"name": "embed", "version": 4}])
        name   version
        embed        4
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], empty: str = "Nothing.") -> None:
        self._rows = list(rows)
        self._empty = empty

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._rows)

    def __repr__(self) -> str:
        if not self._rows:
            return self._empty
        names = list(self._rows[0])
        cells = [names, *([_text(row[name]) for name in names] for row in self._rows)]
        widths = [max(len(row[n]) for row in cells) for n in range(len(names))]
        right = [isinstance(self._rows[0][name], int | float) for name in names]
        lines = (
            "  ".join(
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(row, widths, right, strict=True)
            ).rstrip()
            for row in cells
        )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self._rows:
            return f"<i>{escape(self._empty)}</i>"
        names = list(self._rows[0])
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_text(row[name]))}</td>" for name in names) + "</tr>"
            for row in self._rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: Any) -> str:
    if value is None:
        return "—"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def table(rows: Sequence[Mapping[str, Any]], empty: str) -> Any:
    """Return rows as a DataFrame if pandas is installed, else as a `Table`.

    Args:
        rows: Dicts with the same keys in the same order.
        empty: The sentence to display if there are no rows.

    Returns:
        The DataFrame or table.
    """
    if not rows or importlib.util.find_spec("pandas") is None:
        return Table(rows, empty)
    # Imported late: it takes half a second.
    return importlib.import_module("pandas").DataFrame(rows)
