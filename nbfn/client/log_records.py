"""Logging and warnings across processes, at the caller: its levels and filters go along with its calls, what remote
code logs comes back.

A record is handled by the caller's own loggers, on the client's thread, before the result of the input that logged
it. What a handler would write to this process's stdout or stderr is shown where remote prints are, in their order;
all other handlers (files, sockets, one's own) get the record itself.
"""

from __future__ import annotations

import logging
import sys
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

from nbfn.protocol.log_records import Filter, Levels, dump_levels, load_record

#: Seconds that a handler which another thread is using has to become free; then it misses records until it is.
PATIENCE = 1.0
#: What Python and ipykernel call the streams.
_CHANNELS = {"<stdout>": "stdout", "stdout": "stdout", "<stderr>": "stderr", "stderr": "stderr"}

#: The filters of a Python that was told nothing, but for development builds.
_FIRST_FILTERS = (
    Filter("default", "", "builtins:DeprecationWarning", "__main__", 0),
    Filter("ignore", "", "builtins:DeprecationWarning", "", 0),
    Filter("ignore", "", "builtins:PendingDeprecationWarning", "", 0),
    Filter("ignore", "", "builtins:ImportWarning", "", 0),
    Filter("ignore", "", "builtins:ResourceWarning", "", 0),
)

#: Handlers that were not free in time.
_held: weakref.WeakSet[logging.Handler] = weakref.WeakSet()
_marker = logging.getLogger("nbfn.levels")
_known: tuple[Any, bytes] = (None, b"")


def levels() -> bytes:
    """Return which records and warnings this process wants of the code that it calls.

    Python forgets what loggers have cached whenever a level changes: as long as the mark is there,
    none did.
    """
    global _known
    cache: dict[Any, Any] = getattr(_marker, "_cache", {})
    now = (_captures(), tuple(warnings.filters))
    if "nbfn" not in cache or _known[0] != now:
        cache["nbfn"] = True
        _known = now, dump_levels(_levels())
    return _known[1]


def _levels() -> Levels:
    root = logging.root
    loggers = list(root.manager.loggerDict.items())
    own = {
        name: logger.level
        for name, logger in loggers
        if isinstance(logger, logging.Logger) and logger.level and not _is_ours(name)
    }
    filters = tuple(map(_filter, warnings.filters))
    return Levels(
        {"": root.level, **dict(sorted(own.items()))},
        root.manager.disable,
        _captures(),
        None if filters == _FIRST_FILTERS else filters,
    )


def _filter(entry: Any) -> Filter:
    action, message, category, module, lineno = entry
    return Filter(
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
    """Give a record to the loggers of this process.

    Args:
        data: The record, packed.

    Yields:
        (channel, text) that is to be shown among what remote code prints.
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
    """Return which of this process's streams a handler writes to; nothing for any other handler."""
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
    """Have a handler handle a record, unless another thread holds it for long: that may wait for this one."""
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
