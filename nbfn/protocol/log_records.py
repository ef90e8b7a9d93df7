"""Encodes log records, logging levels and warning filters, which workers take from the caller."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

#: The most bytes of encoded levels that are sent with a call.
MOST_LEVELS = 4096
#: Characters of a record's message, and of each other text of it.
LONGEST_TEXT = 256 * 1024
#: Attributes of a record that are not sent, since its text is.
_LEFT_OUT = frozenset({"args", "exc_info", "msg", "message"})


class WarningFilter(msgspec.Struct, frozen=True, array_like=True):
    """One of `warnings.filters`; ``category`` is a class as "module:name"."""

    action: str
    message: str
    category: str
    module: str
    lineno: int


class LogLevels(msgspec.Struct, frozen=True, array_like=True):
    """The logging levels and warning filters of a process.

    Attributes:
        levels: Of loggers that have one of their own, by name; the root's name is "".
        disabled: The level that `logging.disable` set.
        captured: Whether `logging.captureWarnings` is on.
        filters: Of warnings; None for those that Python begins with.
    """

    levels: dict[str, int]
    disabled: int = 0
    captured: bool = False
    filters: tuple[WarningFilter, ...] | None = None


class _Named(msgspec.Struct):
    """The required fields of a record."""

    name: str
    levelno: int


#: The levels of a process that has configured nothing.
DEFAULT = LogLevels({"": logging.WARNING})
_decoder = msgspec.msgpack.Decoder(LogLevels)


def dump_levels(levels: LogLevels) -> bytes:
    """Return encoded levels, at most `MOST_LEVELS` bytes; b"" for the default levels."""
    if levels == DEFAULT:
        return b""
    data = msgspec.msgpack.encode(levels)
    if len(data) > MOST_LEVELS:  # the nearest to the root are those that matter most
        names = sorted(levels.levels, key=lambda name: (name.count("."), name))
        few = {name: levels.levels[name] for name in names[: len(names) // 2]}
        first = None if levels.filters is None else levels.filters[: len(levels.filters) // 2]
        return dump_levels(msgspec.structs.replace(levels, levels=few, filters=first))
    return data


def load_levels(data: bytes) -> LogLevels:
    """Return the levels that `dump_levels` packed; the default ones where they cannot be read."""
    try:
        return _decoder.decode(data) if data else DEFAULT
    except msgspec.MsgspecError:
        return DEFAULT


def dump_record(record: logging.LogRecord, text: str) -> bytes:
    """Return a record as bytes.

    Args:
        record: The record.
        text: It as text, for those who only show it; it comes first, see `record_text`.
    """
    fields: dict[str, Any] = {
        name: value
        for name, value in vars(record).items()
        if name not in _LEFT_OUT and isinstance(value, str | int | float | bool | None)
    }
    fields["msg"] = record.getMessage()
    short = {n: v[:LONGEST_TEXT] if isinstance(v, str) else v for n, v in fields.items()}
    shown = text[:LONGEST_TEXT].encode("utf-8", "backslashreplace").replace(b"\0", b"")
    return shown + b"\0" + msgspec.json.encode(short)


def load_record(data: bytes) -> logging.LogRecord | None:
    """Return the record that `dump_record` packed, None where it cannot be read."""
    try:
        fields = msgspec.json.decode(data.partition(b"\0")[2], type=dict[str, Any])
        msgspec.convert(fields, _Named)
        record = logging.makeLogRecord(fields)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return record


def record_text(data: bytes) -> bytes:
    """Return the text of a packed record, as lines of UTF-8."""
    return data.partition(b"\0")[0]
