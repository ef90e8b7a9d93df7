"""Options that ``%remote defaults`` set for all remote cells of a notebook."""

from __future__ import annotations

from collections.abc import Callable


class Defaults:
    """Options that are put in front of each ``%%remote`` line; options of the line override them.

    Args:
        check: Raises an error for text that has invalid options.
    """

    def __init__(self, check: Callable[[str], object]) -> None:
        self._check = check
        self.words = ""

    def take(self, words: str) -> None:
        """Set the options.

        Args:
            words: The options; empty text changes nothing, ``none`` removes them.

        Raises:
            UsageError: If an option is not one of ``%%remote``.
        """
        words = words.strip()
        if words and words != "none":
            self._check(words)
        self.words = "" if words == "none" else words or self.words

    def line(self, line: str) -> str:
        """Return the line of a cell with the defaults in front."""
        return f"{self.words} {line}".strip()

    def __str__(self) -> str:
        return self.words or "none"
