"""Encodes log records of workers, and the logging levels and warning filters that workers take from the caller."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

#: The most bytes of encoded levels that are sent with a call.
MOST_LEVELS = 4096
#: The most characters of each text of a record, such as its message.
LONGEST_TEXT = 256 * 1024
#: Attributes of a record that are not sent, because its text contains them.
_LEFT_OUT = frozenset({"args", "exc_info", "msg", "message"})


class WarningFilter(msgspec.Struct, frozen=True, array_like=True):
    """An entry of `warnings.filters`; ``category`` is the class as "module:name"."""

    action: str
    message: str
    category: str
    module: str
    lineno: int


class LogLevels(msgspec.Struct, frozen=True, array_like=True):
    """The logging levels and warning filters of a process.

    Attributes:
        levels: The levels of loggers that set one, by logger name; the name of the root logger is "".
        disabled: The level that `logging.disable` set.
        captured: Whether `logging.captureWarnings` is on.
        filters: The warning filters; None for Python's default filters.
    """

    levels: dict[str, int]
    disabled: int = 0
    captured: bool = False
    filters: tuple[WarningFilter, ...] | None = None


class _Named(msgspec.Struct):
    """The required fields of a record."""

    name: str
    levelno: int


#: The levels of a process that has not configured logging.
DEFAULT = LogLevels({"": logging.WARNING})
_decoder = msgspec.msgpack.Decoder(LogLevels)


def dump_levels(levels: LogLevels) -> bytes:
    """Encode levels.

    Args:
        levels: The levels. If they are too large, those of deeply nested loggers are dropped.

    Returns:
        At most `MOST_LEVELS` bytes; b"" for the default levels.
    """
    if levels == DEFAULT:
        return b""
    data = msgspec.msgpack.encode(levels)
    if len(data) > MOST_LEVELS:  # keep those nearest to the root, which affect most loggers
        names = sorted(levels.levels, key=lambda name: (name.count("."), name))
        few = {name: levels.levels[name] for name in names[: len(names) // 2]}
        first = None if levels.filters is None else levels.filters[: len(levels.filters) // 2]
        return dump_levels(msgspec.structs.replace(levels, levels=few, filters=first))
    return data


def load_levels(data: bytes) -> LogLevels:
    """Decode levels from `dump_levels`; return the default levels if they cannot be decoded."""
    try:
        return _decoder.decode(data) if data else DEFAULT
    except msgspec.MsgspecError:
        return DEFAULT


def dump_record(record: logging.LogRecord, text: str) -> bytes:
    """Encode a log record.

    Args:
        record: The record.
        text: The formatted record, for receivers that only show it. It is encoded first, see `record_text`.
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
    """Decode a record from `dump_record`; return None if it cannot be decoded."""
    try:
        fields = msgspec.json.decode(data.partition(b"\0")[2], type=dict[str, Any])
        msgspec.convert(fields, _Named)
        record = logging.makeLogRecord(fields)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return record


def record_text(data: bytes) -> bytes:
    """Return the text of an encoded record, as lines of UTF-8."""
    return data.partition(b"\0")[0]
