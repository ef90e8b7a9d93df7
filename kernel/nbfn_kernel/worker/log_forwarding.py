"""Forwards log records and warnings to the caller of the input that runs, whose loggers handle the records.

Levels and filters are those of the caller.
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

from nbfn.protocol.log_records import DEFAULT, Filter, dump_record, load_levels
from nbfn.runtime.output_channels import LOG
from nbfn_kernel.worker import output_capture
from nbfn_kernel.worker.outbox import Outbox

#: Stands for levels that are to be put in force again before the next input.
_AGAIN = b"again"
#: Calls whose levels are kept; those that wait longest are forgotten.
MOST_CALLS = 256


class CallerLogLevels:
    """Sets the levels that a caller has, as long as its inputs run.

    Attributes:
        by_call: The packed levels of calls, as the hub tells them.
        current: Those that are in force.
    """

    def __init__(self) -> None:
        self.by_call: dict[str, bytes] = {}
        self.current = b""
        self._set: dict[str, int] = {}  # by logger: what was set here ...
        self._before: dict[str, int] = {}  # ... and what it was before
        self._levels = DEFAULT
        self._filters = list(warnings.filters)  # that this process began with
        self._lacking: bytes | None = (
            None  # levels with a category of warnings that is not loaded here ...
        )
        self._modules = 0  # ... when so many modules were

    def note(self, told: dict[str, bytes]) -> None:
        """Keep the levels of calls whose inputs are to run; called by the connection's thread."""
        for call, levels in told.items():
            self.by_call.pop(call, None)
            self.by_call[call] = levels
        while len(self.by_call) > MOST_CALLS:
            del self.by_call[next(iter(self.by_call))]

    def of(self, call: str) -> None:
        """Put the levels of a call's maker in force."""
        if (wanted := self.by_call.get(call, b"")) != self.current:
            self.apply(wanted)

    def apply(self, packed: bytes) -> None:
        """Put levels in force. What user code has changed meanwhile stays as it is."""
        if packed == self._lacking and len(sys.modules) == self._modules:
            return  # the category that its filters lack cannot have been loaded: looked at before each input
        self._lacking = None
        before, wanted = self._levels, load_levels(packed)
        self.current, self._levels = packed, wanted
        for name in {*self._set, *wanted.levels}:
            logger = logging.getLogger(name)
            if logger.level != self._set.get(name, logger.level):
                continue
            if (level := wanted.levels.get(name)) is not None:
                self._before.setdefault(name, logger.level)
                self._set[name] = level
            else:
                level = self._before.pop(name)
                del self._set[name]
            if level != logger.level:
                logger.setLevel(level)
        if wanted.disabled != before.disabled:
            logging.disable(wanted.disabled)
        if wanted.captured != before.captured:
            logging.captureWarnings(wanted.captured)
        if wanted.filters != before.filters and not self._filter(wanted.filters):
            self.current = _AGAIN
            self._lacking, self._modules = packed, len(sys.modules)
            self._levels = msgspec.structs.replace(wanted, filters=())

    def _filter(self, filters: tuple[Filter, ...] | None) -> bool:
        """Put filters of warnings in force; return False when a category is of a module that is not loaded yet."""
        if filters is None:
            warnings.resetwarnings()
            warnings.filters[:] = self._filters  # type: ignore[index]
            return True
        found = [(one, _category(one.category)) for one in filters]
        warnings.resetwarnings()
        for one, category in found:
            if category is not None:
                with contextlib.suppress(Exception):  # whatever somebody put among the filters
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
    """Sends records to the caller of the input that runs.

    A record that user code's own handler writes to stdout or stderr is shown by that.

    Args:
        outbox: Takes them.
        lease: Returns the lease that runs, or 0.
    """

    def __init__(self, outbox: Outbox, lease: Callable[[], int]) -> None:
        super().__init__()
        self._outbox = outbox
        self._lease = lease
        self.setFormatter(logging.Formatter(logging.BASIC_FORMAT))

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Make none: the outbox has one, and it is reentrant."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        try:
            if self._is_shown(record):
                return
            text = f"{self.format(record)}\n"
            lease = self._lease()
            if not lease or threading.get_ident() in output_capture.diverted:
                sys.stderr.write(text)
            elif output_capture.admit(lease, len(text)):
                self._outbox.write_packed(lease, LOG, dump_record(record, text))
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - as handlers of logging do
            self.handleError(record)

    def _is_shown(self, record: logging.LogRecord) -> bool:
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
    """Forward what is logged in this process from now on, but for what nbfn itself logs."""
    logging.getLogger("nbfn").propagate = False
    forwarder = LogForwarder(outbox, lease)
    logging.root.addHandler(forwarder)
    logging.root.setLevel(DEFAULT.levels[""])
    configure = logging.basicConfig

    def basic_config(**options: Any) -> None:
        """Configure as in a process without handlers, as user code expects that it is."""
        forwards = forwarder in logging.root.handlers
        logging.root.removeHandler(forwarder)
        try:
            configure(**options)
        finally:
            if forwards:
                logging.root.addHandler(forwarder)

    logging.basicConfig = basic_config
