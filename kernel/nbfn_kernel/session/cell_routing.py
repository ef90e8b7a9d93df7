"""Splits a cell into the lines that run in the notebook's kernel and those that run in the session."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

#: The cell magic that runs in the notebook's kernel; all others run in the session, also ``%%remote``: the Functions of
#: its cell are names of the session.
CELL_MAGICS = ("local",)
#: Line magics that run in the notebook's kernel.
LINE_MAGICS = ("local", "push", "pull", "session")

#: The error for a local magic between lines of the session.
MIXED_HINT = (
    "{} runs in the notebook's kernel, and the lines around it run in the session. "
    "Move it to the beginning or the end of the cell, or to a cell of its own."
)

_CELL = re.compile(rf"%%({'|'.join(CELL_MAGICS)})\b")
_LINE = re.compile(rf"(?:[A-Za-z_][\w, ]*=\s*)?%({'|'.join(LINE_MAGICS)})\b")
#: Runs in the notebook's kernel, where nbfn is loaded; notebooks for other kernels begin with it.
_LOAD = re.compile(r"%(?:re)?load_ext\s+nbfn\s*$")
#: These choose and check the hub at which a session starts, so they run in the notebook's kernel while there is none.
_HUB = re.compile(r"%remote\s+(?:connect|disconnect|doctor|help)\b")
_UNKNOWN = re.compile(r"(?:Line magic function|Cell magic) `(%+\w+)` not found")


@dataclass(frozen=True, slots=True)
class RoutedCell:
    """The parts of a cell.

    Attributes:
        before: Lines that run first, in the notebook's kernel.
        in_session: Lines that run in the session, with their line numbers preserved; None if there are none.
        after: Lines that run last, in the notebook's kernel.
    """

    before: str
    in_session: str | None = None
    after: str = ""


class MixedCell(Exception):
    """A line of the notebook's kernel is between lines of the session."""


def _is_outside(line: str) -> bool:
    return runs_here(line) or _is_empty(line)


def _count_outside(lines: Sequence[str]) -> int:
    """Return how many of the first lines run here, with empty lines among them; 0 if all of these are empty."""
    outside = list(itertools.takewhile(_is_outside, lines))
    return len(outside) if any(map(runs_here, outside)) else 0


def split(code: str, *, has_session: bool = True) -> RoutedCell:
    """Split a cell into its parts.

    Args:
        code: The cell.
        has_session: Whether a session runs.

    Raises:
        MixedCell: If a local magic is between lines of the session.

    Examples:
        >>> split("%push a\\nprint(a)").there
        '#\\nprint(a)'
        >>> split("%%local\\nprint(a)").there is None
        True
    """
    if _CELL.match(code.lstrip()) or (not has_session and _HUB.match(code.lstrip())):
        return RoutedCell(code)
    lines = code.split("\n")
    if all(map(_is_outside, lines)):  # the session ignores a cell of empty lines
        return RoutedCell(code) if any(map(runs_here, lines)) else RoutedCell("", code)
    first = _count_outside(lines)
    if lines[first].startswith("%%"):  # the magic takes the rest of the cell
        return RoutedCell("\n".join(lines[:first]), "\n".join(lines[first:]))
    last = len(lines) - _count_outside(lines[::-1])
    for line in lines[first:last]:
        if found := _LINE.match(line):
            raise MixedCell(MIXED_HINT.format(f"%{found[1]}"))
    in_session = "#\n" * first + "\n".join(
        lines[first:last]
    )  # comments, since IPython drops empty lines
    return RoutedCell("\n".join(lines[:first]), in_session, "\n".join(lines[last:]))


def runs_here(line: str) -> bool:
    """Return whether a line is a magic that runs in the notebook's kernel."""
    return bool(_LINE.match(line) or _LOAD.match(line))


def is_local_position(code: str, cursor: int) -> bool:
    """Return whether the code at the cursor refers to names of the notebook's kernel."""
    if _CELL.match(code.lstrip()):
        return True
    line = code[code.rfind("\n", 0, cursor) + 1 :].split("\n", 1)[0]
    return runs_here(line) and not line.startswith("%pull")


def completion_start(code: str, cursor: int) -> int:
    """Return the offset from which code is completed: after ``%%local``, ``%local``, ``%push`` or ``%pull``.

    Examples:
        >>> names_from("%%local\\nab", 10), names_from("x = 1\\n%pull ab", 14), names_from("ab", 2)
        (8, 12, 0)
    """
    found = re.match(r"\s*%%local[ \t]*\n", code)
    start = found.end() if found else 0
    line = code.rfind("\n", 0, cursor) + 1
    if (magic := re.compile(r"%(?:push|pull|local)\s+").match(code, line)) is not None:
        start = magic.end()
    return start if start <= cursor else 0


def unknown_magic(ename: str, evalue: str) -> str:
    """Return the magic (``%x``, ``%%x``) that an error of IPython reports as unknown, or an empty string."""
    found = _UNKNOWN.search(evalue) if ename == "UsageError" else None
    return found[1] if found else ""


def unknown_name(ename: str, evalue: str) -> str:
    """Return the name that a `NameError` reports as undefined, or an empty string."""
    found = re.match(r"name '(\w+)' is not defined", evalue) if ename == "NameError" else None
    return found[1] if found else ""


def _is_empty(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def strip_local(lines: list[str]) -> list[str]:
    """Remove ``%%local`` and ``%local`` from a cell; an input transformer of IPython.

    ``%%local`` becomes an empty line, so that line numbers in tracebacks are right, except before another cell magic,
    which must be in the first line.
    """
    if lines and re.match(r"%%local\b\s*$", lines[0]):
        rest = lines[1:]
        return rest if rest and rest[0].startswith("%%") else ["\n", *rest]
    if lines and lines[0].startswith("%%"):
        return lines
    return [re.sub(r"^%local[ \t]+", "", line) for line in lines]
