"""Decides where each line of a cell runs: in the session or in the notebook's kernel. Works on text only."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Cell magics that run here; all others are the session's.
CELL_MAGICS = ("local", "remote", "nbfn")
#: Line magics that run here.
LINE_MAGICS = ("local", "push", "pull", "session", "fn", "remote", "nbfn")

#: What is said of a magic of this side between lines of the other.
PLACE = (
    "{} runs here, and the lines around it run in the session. "
    "Put it at the beginning or the end of the cell, or into one of its own."
)

_CELL = re.compile(rf"%%({'|'.join(CELL_MAGICS)})\b")
_LINE = re.compile(rf"(?:[A-Za-z_][\w, ]*=\s*)?%({'|'.join(LINE_MAGICS)})\b")
#: As a notebook that was made for another kernel begins; nbfn is loaded here.
_LOAD = re.compile(r"%(?:re)?load_ext\s+nbfn\s*$")
_UNKNOWN = re.compile(r"(?:Line magic function|Cell magic) `(%+\w+)` not found")


@dataclass(frozen=True, slots=True)
class RoutedCell:
    """A cell, taken apart.

    Attributes:
        before: What runs here first.
        there: What runs in the session, at the lines it had; None when nothing does.
        after: What runs here last.
    """

    before: str
    there: str | None = None
    after: str = ""


class MixedCell(Exception):
    """A line that runs here stands between lines of the session."""


def split(code: str) -> RoutedCell:
    """Take a cell apart.

    Raises:
        MixedCell: Says what to do.

    Examples:
        >>> split("%push a\\nprint(a)").there
        '#\\nprint(a)'
        >>> split("%%local\\nprint(a)").there is None
        True
    """
    if _CELL.match(code.lstrip()):
        return RoutedCell(code)
    lines = code.split("\n")
    first, last = 0, len(lines)
    while first < last and (is_here(lines[first]) or _is_empty(lines[first])):
        first += 1
    if first == last:  # of nothing but empty lines the session makes nothing, too
        return RoutedCell(code) if any(map(is_here, lines)) else RoutedCell("", code)
    while not any(map(is_here, lines[:first])) and first:
        first -= 1
    if lines[first].startswith("%%"):  # the rest of the cell is that magic's
        return RoutedCell("\n".join(lines[:first]), "\n".join(lines[first:]))
    while is_here(lines[last - 1]) or (_is_empty(lines[last - 1]) and last > first + 1):
        last -= 1
    while last < len(lines) and not any(map(is_here, lines[last:])):
        last += 1
    for line in lines[first:last]:
        if found := _LINE.match(line):
            raise MixedCell(PLACE.format(f"%{found[1]}"))
    there = "#\n" * first + "\n".join(lines[first:last])  # IPython would drop empty lines
    return RoutedCell("\n".join(lines[:first]), there, "\n".join(lines[last:]))


def is_here(line: str) -> bool:
    """Whether a line is a magic that runs here."""
    return bool(_LINE.match(line) or _LOAD.match(line))


def is_about_here(code: str, cursor: int) -> bool:
    """Whether what stands at the cursor has to do with this kernel's names, not with the session's."""
    if _CELL.match(code.lstrip()):
        return True
    line = code[code.rfind("\n", 0, cursor) + 1 :].split("\n", 1)[0]
    return is_here(line) and not line.startswith("%pull")


def names_from(code: str, cursor: int) -> int:
    """Return where the text begins in which names are to be completed as in any code.

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
    """Return the magic (``%x``, ``%%x``) that IPython said it does not know, or nothing."""
    found = _UNKNOWN.search(evalue) if ename == "UsageError" else None
    return found[1] if found else ""


def unknown_name(ename: str, evalue: str) -> str:
    """Return the name that Python said is not defined, or nothing."""
    found = re.match(r"name '(\w+)' is not defined", evalue) if ename == "NameError" else None
    return found[1] if found else ""


def _is_empty(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def without_local(lines: list[str]) -> list[str]:
    """Take ``%%local`` and ``%local`` off a cell that runs here, as one of IPython's input transformers.

    A line is left in the place of ``%%local``, so that those of tracebacks are the cell's, unless another
    cell magic follows, which has to stand first.
    """
    if lines and re.match(r"%%local\b\s*$", lines[0]):
        rest = lines[1:]
        return rest if rest and rest[0].startswith("%%") else ["\n", *rest]
    if lines and lines[0].startswith("%%"):
        return lines
    return [re.sub(r"^%local[ \t]+", "", line) for line in lines]
