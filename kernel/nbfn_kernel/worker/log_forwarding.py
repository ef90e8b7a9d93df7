"""Forwards log records and warnings of the running input to its caller, whose loggers handle them.

Log levels and warning filters in the worker are those of the caller.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import msgspec

from nbfn.protocol.log_records import DEFAULT, WarningFilter, dump_record, load_levels
from nbfn.runtime.output_channels import LOG
from nbfn_kernel.worker import output_capture
from nbfn_kernel.worker.outbox import Outbox

#: The value of `CallerLogLevels.current` after levels were applied in part, so that the next input applies them again.
_REAPPLY = b"again"
#: The largest number of calls whose levels are stored; the oldest are evicted.
MAX_CALLS = 256


class CallerLogLevels:
    """Applies the log levels and warning filters of a caller while its inputs run.

    Attributes:
        by_call: The packed levels by call id, as the hub sends them.
        current: The packed levels that are applied.
    """

    def __init__(self) -> None:
        self.by_call: dict[str, bytes] = {}
        self.current = b""
        self._set: dict[str, int] = {}  # the level that was set here, by logger ...
        self._before: dict[str, int] = {}  # ... and the level before that
        self._levels = DEFAULT
        self._filters = list(warnings.filters)  # as the process started with them
        self._incomplete: bytes | None = (
            None  # levels with a warning category that is not imported here ...
        )
        self._modules = 0  # ... and the number of imported modules then

    def store(self, levels_by_call: dict[str, bytes]) -> None:
        """Store the levels of calls whose inputs will run; called by the connection's thread."""
        for call, levels in levels_by_call.items():
            self.by_call.pop(call, None)
            self.by_call[call] = levels
        while len(self.by_call) > MAX_CALLS:
            del self.by_call[next(iter(self.by_call))]

    def apply_for(self, call: str) -> None:
        """Apply the levels of a call's caller."""
        if (wanted := self.by_call.get(call, b"")) != self.current:
            self.apply(wanted)

    def apply(self, packed: bytes) -> None:
        """Apply levels, except to loggers whose level user code has changed."""
        if packed == self._incomplete and len(sys.modules) == self._modules:
            return  # no module was imported since, so the missing category is still missing
        self._incomplete = None
        before, wanted = self._levels, load_levels(packed)
        self.current, self._levels = packed, wanted
        for name in {*self._set, *wanted.levels}:
            self._apply_level(logging.getLogger(name), name, wanted.levels.get(name))
        if wanted.disabled != before.disabled:
            logging.disable(wanted.disabled)
        if wanted.captured != before.captured:
            logging.captureWarnings(wanted.captured)
        if wanted.filters != before.filters and not self._apply_filters(wanted.filters):
            self.current = _REAPPLY
            self._incomplete, self._modules = packed, len(sys.modules)
            self._levels = msgspec.structs.replace(wanted, filters=())

    def _apply_level(self, logger: logging.Logger, name: str, level: int | None) -> None:
        """Set the level of a logger, or its own one if None; one that the user's code has set since is kept."""
        if logger.level != self._set.get(name, logger.level):
            return
        if level is not None:
            self._before.setdefault(name, logger.level)
            self._set[name] = level
        else:
            level = self._before.pop(name)
            del self._set[name]
        if level != logger.level:
            logger.setLevel(level)

    def _apply_filters(self, filters: tuple[WarningFilter, ...] | None) -> bool:
        """Apply warning filters; return False if a category is in a module that is not imported."""
        if filters is None:
            warnings.resetwarnings()
            warnings.filters[:] = self._filters  # type: ignore[index]
            return True
        found = [(one, _category(one.category)) for one in filters]
        warnings.resetwarnings()
        for one, category in found:
            if category is not None:
                with contextlib.suppress(Exception):  # a filter may hold arbitrary values
                    warnings.filterwarnings(
                        one.action,  # type: ignore[arg-type]
                        one.message,
                        category,
                        one.module,
                        one.lineno,
                        append=True,
                    )
        return all(category is not None for _, category in found)


def _category(name: str) -> type[Warning] | None:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None


class LogForwarder(logging.Handler):
    """Sends log records to the caller of the running input.

    Records that a handler of user code writes to stdout or stderr are not sent.

    Args:
        outbox: Queues the records for the hub.
        lease: Returns the running lease, or 0.
    """

    def __init__(self, outbox: Outbox, lease: Callable[[], int]) -> None:
        super().__init__()
        self._outbox = outbox
        self._lease = lease
        self.setFormatter(logging.Formatter(logging.BASIC_FORMAT))

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Create no lock: the outbox has a reentrant one."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        try:
            if self._has_console_handler(record):
                return
            text = f"{self.format(record)}\n"
            lease = self._lease()
            if not lease or threading.get_ident() in output_capture.console_outputs:
                sys.stderr.write(text)
            elif output_capture.admit(lease, len(text)):
                self._outbox.write_packed(lease, LOG, dump_record(record, text))
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)

    def _has_console_handler(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            for handler in logger.handlers:
                if handler is not self and record.levelno >= handler.level and _is_console(handler):
                    return True
            logger = logger.parent if logger.propagate else None
        return False


def _is_console(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    return stream is not None and stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)


def install(outbox: Outbox, lease: Callable[[], int]) -> None:
    """Forward log records of this process from now on, except those of nbfn's loggers.

    Args:
        outbox: Queues the records for the hub.
        lease: Returns the running lease, or 0.
    """
    logging.getLogger("nbfn").propagate = False
    forwarder = LogForwarder(outbox, lease)
    logging.root.addHandler(forwarder)
    logging.root.setLevel(DEFAULT.levels[""])
    configure = logging.basicConfig

    def basic_config(**options: Any) -> None:
        """Call `logging.basicConfig`, which does nothing if there is a handler, without the forwarder."""
        forwards = forwarder in logging.root.handlers
        logging.root.removeHandler(forwarder)
        try:
            configure(**options)
        finally:
            if forwards:
                logging.root.addHandler(forwarder)

    logging.basicConfig = basic_config
