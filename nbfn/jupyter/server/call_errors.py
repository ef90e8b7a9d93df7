"""Groups the failures of a call by type, text and line, as the widget of a map does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from nbfn.jupyter.server.schema import ErrorGroup
from nbfn.protocol.messages import InputRow
from nbfn.serialization.remote_exception import read_traceback

#: The most groups, the most indexes of one, and the most characters of a message.
MOST_GROUPS, MOST_INDEXES, LONGEST = 50, 100, 1000

_VARYING = re.compile(r"\d+(?:\.\d+)?|0x[0-9a-f]+")
_FRAME = re.compile(r'^ *(?:\| )*File "(?P<file>.*)", line (?P<line>\d+), in (?P<name>.*)$', re.M)
_LAST = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")


@dataclass
class _Group:
    type: str
    message: str
    where: str
    traceback: str
    count: int = 0
    indexes: list[int] = field(default_factory=list)


def traceback_of(row: InputRow) -> str:
    """Return the traceback of a failed input as text; nothing of the exception is imported or run."""
    if row.payload is not None and not row.payload.spilled:
        return read_traceback(row.payload.data)
    return row.fault.message if row.fault is not None else "The traceback is too large to be shown."


def groups(rows: Iterable[InputRow]) -> list[ErrorGroup]:
    """Return the groups of failed inputs, the largest first.

    Args:
        rows: The inputs.
    """
    found: dict[tuple[str, str, str], _Group] = {}
    for row in rows:
        text = traceback_of(row)
        kind, message, where = _parts(text, row)
        key = (kind, _VARYING.sub("…", message), where)
        if key not in found and len(found) >= MOST_GROUPS:
            key, kind, message, where, text = ("", "", ""), "other errors", "", "", ""
        group = found.setdefault(key, _Group(kind, message, where, text))
        group.count += 1
        if len(group.indexes) < MOST_INDEXES:
            group.indexes.append(row.index)
    ordered = sorted(found.values(), key=lambda group: -group.count)
    return [
        ErrorGroup(
            count=group.count,
            type=group.type,
            message=group.message[:LONGEST],
            where=group.where,
            indexes=tuple(group.indexes),
            traceback=group.traceback,
        )
        for group in ordered
    ]


def last_line(row: InputRow) -> str:
    """Return the type and the message of the error of a failed input."""
    kind, message, _ = _parts(traceback_of(row), row)
    return f"{kind}: {message}"[:LONGEST] if message else kind


def _parts(text: str, row: InputRow) -> tuple[str, str, str]:
    """Return the type, the message and the line of an error."""
    if row.payload is None and row.fault is not None:
        name = "".join(part.capitalize() for part in row.fault.code.split("_"))
        return name, row.fault.message.splitlines()[0] if row.fault.message else "", ""
    lines = [line for line in text.rstrip().splitlines() if line and not line[0].isspace()]
    frames = list(_FRAME.finditer(text))
    where = f"{frames[-1]['file']}, line {frames[-1]['line']}" if frames else ""
    for line in reversed(lines):  # the last lines may be notes, or more lines of the message
        if (match := _LAST.match(line)) is not None:
            return match["type"], match["message"] or "", where
    return "Error", lines[-1] if lines else "", where
