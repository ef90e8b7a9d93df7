"""Options that ``%remote defaults`` set for all remote cells of a notebook."""

from __future__ import annotations


class Defaults:
    """Words that stand in front of each ``%%remote`` line; what the line itself says wins."""

    def __init__(self) -> None:
        self.words = ""

    def line(self, line: str) -> str:
        """Return a cell's line with the defaults in front."""
        return f"{self.words} {line}".strip()

    def __str__(self) -> str:
        return self.words or "none"
