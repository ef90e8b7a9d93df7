"""Options that ``%remote defaults`` set for all remote cells of a notebook."""

from __future__ import annotations

from collections.abc import Callable


class Defaults:
    """Words that stand in front of each ``%%remote`` line; what the line itself says wins.

    Args:
        check: Refuses words that are no options.
    """

    def __init__(self, check: Callable[[str], object]) -> None:
        self._check = check
        self.words = ""

    def take(self, words: str) -> None:
        """Set the options; no words only leave them as they are, ``none`` ends them.

        Raises:
            UsageError: If a word is no option of ``%%remote``.
        """
        words = words.strip()
        if words and words != "none":
            self._check(words)
        self.words = "" if words == "none" else words or self.words

    def line(self, line: str) -> str:
        """Return a cell's line with the defaults in front."""
        return f"{self.words} {line}".strip()

    def __str__(self) -> str:
        return self.words or "none"
