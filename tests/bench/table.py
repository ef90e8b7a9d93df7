"""Rows of results: what was measured, what a budget allows, and whether it holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass

_HEADER = ("what", "nbfn", "peer", "ratio", "budget", "holds?")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``holds`` is None where no budget is set."""

    what: str
    nbfn: str
    peer: str = ""
    ratio: str = ""
    budget: str = ""
    holds: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Return what is printed."""
        verdict = {True: "holds", False: "does not hold", None: ""}[self.holds]
        return (*astuple(self)[:-1], verdict)

    def dumps(self) -> str:
        """Return the row as one line of JSON."""
        return json.dumps(asdict(self))


def loads(line: str) -> Row:
    """Return the row of a line of JSON."""
    return Row(**json.loads(line))


def render(rows: Iterable[Row]) -> str:
    """Return the table."""
    lines = [_HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    lines.insert(1, tuple("-" * width for width in widths))
    shown = (
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    return "\n".join(shown)


def machine() -> str:
    """Return one sentence about where this was measured."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, load average {load:.1f} (other processes' work is in every figure)"


def seconds(value: float) -> str:
    """Return a duration with three digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return (
                f"{value * factor:.3g} {unit}"
                if value * factor < 100
                else f"{value * factor:.0f} {unit}"
            )
    return f"{value * 1e9:.0f} ns"


def rate(value: float) -> str:
    """Return a number of things a second."""
    return f"{value:,.0f}/s"


def megabytes(value: float) -> str:
    """Return a number of bytes."""
    return f"{value / 1e6:.1f} MB"


def faster(theirs: float, ours: float) -> str:
    """Return how much faster ours is, or how much slower."""
    return f"{times(theirs / ours)} faster" if theirs >= ours else f"{times(ours / theirs)} slower"


def times(value: float) -> str:
    """Return a ratio."""
    return f"{value:.2f} ×" if value < 10 else f"{value:.0f} ×"
