"""Logging and warnings of remote code, on the caller's side.

The levels and filters of this process are sent with its calls, and log records come back. A record is handled by this
process's loggers, on the client's thread, before the result of the input that logged it. Text for this process's stdout
or stderr is shown among the remote prints; all other handlers (files, sockets, the user's own) get the record itself.
"""

from __future__ import annotations

import logging
import sys
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

from nbfn.protocol.log_records import LogLevels, WarningFilter, dump_levels, load_record

#: Seconds to wait for a handler that another thread is using; after that it misses records until it is free.
PATIENCE = 1.0
#: The names that Python and ipykernel give the streams.
_CHANNELS = {"<stdout>": "stdout", "stdout": "stdout", "<stderr>": "stderr", "stderr": "stderr"}

#: The default filters of Python, except in development builds.
_FIRST_FILTERS = (
    WarningFilter("default", "", "builtins:DeprecationWarning", "__main__", 0),
    WarningFilter("ignore", "", "builtins:DeprecationWarning", "", 0),
    WarningFilter("ignore", "", "builtins:PendingDeprecationWarning", "", 0),
    WarningFilter("ignore", "", "builtins:ImportWarning", "", 0),
    WarningFilter("ignore", "", "builtins:ResourceWarning", "", 0),
)

#: Handlers that were not free in time.
_held: weakref.WeakSet[logging.Handler] = weakref.WeakSet()
_marker = logging.getLogger("nbfn.levels")
_known: tuple[Any, bytes] = (None, b"")


def levels() -> bytes:
    """Return the encoded levels and filters of this process, which are sent with each call.

    Python clears the caches of loggers whenever a level changes, so an entry in such a cache tells that none did.
    """
    global _known
    cache: dict[Any, Any] = getattr(_marker, "_cache", {})
    now = (_captures(), tuple(warnings.filters))
    if "nbfn" not in cache or _known[0] != now:
        cache["nbfn"] = True
        _known = now, dump_levels(_levels())
    return _known[1]


def _levels() -> LogLevels:
    root = logging.root
    loggers = list(root.manager.loggerDict.items())
    own = {
        name: logger.level
        for name, logger in loggers
        if isinstance(logger, logging.Logger) and logger.level and not _is_ours(name)
    }
    filters = tuple(map(_filter, warnings.filters))
    return LogLevels(
        {"": root.level, **dict(sorted(own.items()))},
        root.manager.disable,
        _captures(),
        None if filters == _FIRST_FILTERS else filters,
    )


def _filter(entry: Any) -> WarningFilter:
    action, message, category, module, lineno = entry
    return WarningFilter(
        action,
        getattr(message, "pattern", message) or "",
        f"{category.__module__}:{category.__qualname__}",
        getattr(module, "pattern", module) or "",
        lineno,
    )


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in ("nbfn", "nbfn_kernel")


def _captures() -> bool:
    return getattr(logging, "_warnings_showwarning", None) is not None


def handle(data: bytes) -> Iterator[tuple[str, str]]:
    """Let the loggers of this process handle a record.

    Args:
        data: The encoded record.

    Yields:
        (channel, text) to be shown among the prints of remote code.
    """
    if (record := load_record(data)) is None:
        return
    logger = logging.getLogger(record.name)
    if logger.disabled or not logger.filter(record):
        return
    for handler in _handlers(logger):
        if record.levelno < handler.level:
            continue
        channel = _channel(handler)
        if not channel:
            _give(handler, record)
        elif handler.filter(record):
            yield channel, handler.format(record) + getattr(handler, "terminator", "\n")


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    found = False
    at: logging.Logger | None = logger
    while at is not None:
        for handler in tuple(at.handlers):
            found = True
            yield handler
        at = at.parent if at.propagate else None
    if not found and logging.lastResort is not None:
        yield logging.lastResort


def _channel(handler: logging.Handler) -> str:
    """Return "stdout" or "stderr" if a handler writes to that stream of this process, else ""."""
    stream = handler.stream if isinstance(handler, logging.StreamHandler) else None
    if stream is None or isinstance(handler, logging.FileHandler):
        return ""
    if stream is sys.stdout:
        return "stdout"
    if stream is sys.stderr:
        return "stderr"
    name = getattr(stream, "name", "")
    return _CHANNELS.get(name, "") if isinstance(name, str) else ""


def _give(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Pass a record to a handler, unless another thread holds its lock for long: it may wait for this one."""
    lock: Any = handler.lock
    if lock is None:
        handler.handle(record)
    elif lock.acquire(timeout=0 if handler in _held else PATIENCE):
        _held.discard(handler)
        try:
            handler.handle(record)
        finally:
            lock.release()
    else:
        _held.add(handler)
