"""Encodes tracebacks as plain data, and decodes them to traceback objects whose frames have no variables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import FrameType, TracebackType

#: The most frames of a traceback; half of them are from the beginning and half from the end.
MAX_FRAMES = 200

#: The only variable of a rebuilt frame.
NO_VARIABLES = "The variables of this frame stayed on the worker that it ran on."

#: The encoding of a frame: file, function, (line, end line, column, end column), module, file of the module.
FrameEntry = tuple[str, str, tuple[int | None, ...], str, str]


def encode_traceback(tb: TracebackType | None) -> list[FrameEntry]:
    """Return the frames of a traceback as data; at most `MAX_FRAMES`, without the middle ones."""
    entries: list[FrameEntry] = []
    while tb is not None:
        code, names = tb.tb_frame.f_code, tb.tb_frame.f_globals
        module, file = str(names.get("__name__", "?")), str(names.get("__file__", ""))
        entries.append((code.co_filename, code.co_name, _position(tb), module, file))
        tb = tb.tb_next
    if len(entries) > MAX_FRAMES:
        entries[MAX_FRAMES // 2 : -MAX_FRAMES // 2] = []
    return entries


def decode_traceback(entries: Sequence[FrameEntry]) -> TracebackType | None:
    """Create traceback objects. Each frame is that of a stub that raises at the encoded position.

    Args:
        entries: The frames from `encode_traceback`.

    Returns:
        The traceback; None if there are no frames.
    """
    result: TracebackType | None = None
    for filename, name, position, module, file in reversed(entries):
        code = _STUB.replace(
            co_filename=filename,
            co_name=name,
            co_qualname=name,
            co_firstlineno=position[0] or 1,
            co_linetable=_line_table(len(_STUB.co_code) // 2, position),
        )
        names = {"__name__": module, **({"__file__": file} if file else {})}
        try:
            exec(code, names, {"variables": NO_VARIABLES})  # noqa: S102 - the stub is constant
        except ZeroDivisionError as raised:
            top = raised.__traceback__
            assert top is not None
            assert top.tb_next is not None
            frame, last = top.tb_next.tb_frame, top.tb_next.tb_lasti
            result = TracebackType(result, frame, last, position[0] or 1)
    return result


def is_rebuilt(frame: FrameType) -> bool:
    """Return whether `decode_traceback` created a frame."""
    return frame.f_locals.get("variables") is NO_VARIABLES


_STUB = compile("1 / 0", "<stub>", "exec")


def _position(tb: TracebackType) -> tuple[int | None, ...]:
    found = next(itertools.islice(tb.tb_frame.f_code.co_positions(), tb.tb_lasti // 2, None), ())
    return (tb.tb_lineno, *found[1:]) if len(found) == 4 else (tb.tb_lineno, None, None, None)


def _line_table(units: int, position: tuple[int | None, ...]) -> bytes:
    """Return a line table with this position for every instruction (see CPython's Objects/locations.md)."""
    line, end_line, column, end_column = (-1 if part is None else part for part in position)
    if min(line, end_line, column, end_column) < 0 or end_line < line:
        kind, rest = 13, b"\0"  # no columns
    else:
        numbers = (end_line - line, column + 1, end_column + 1)
        kind, rest = 14, b"\0" + b"".join(_varint(number) for number in numbers)
    table = b""
    while units > 0:
        table += bytes([0x80 | kind << 3 | min(units, 8) - 1]) + rest
        units -= 8
    return table


def _varint(number: int) -> bytes:
    data = []
    while number >= 64:
        data.append(64 | number & 63)
        number >>= 6
    return bytes([*data, number])
