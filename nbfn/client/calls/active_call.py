"""`ActiveCall`: the base class of calls that this process made or watches; `SingleCall`: one that `remote` waits for.

A call takes along the logging levels and warning filters of this process (`log_levels`).
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from msgspec.structs import replace

from nbfn import exception
from nbfn.client import call_observer, detached_apps
from nbfn.client.calls import interrupt, recent_failures
from nbfn.client.calls.outcome import outcome_name, result_of
from nbfn.config import Places
from nbfn.protocol import messages
from nbfn.protocol.call_states import ONE_SUCCEEDED, InputCounts
from nbfn.protocol.log_records import LogLevels, WarningFilter, dump_levels
from nbfn.protocol.messages import FunctionInfo, Message, Output, Payload, new_id
from nbfn.runtime.sync import wait
from nbfn.serialization.payload import Serializer
from nbfn.types import InputStatus

logger = logging.getLogger("nbfn.client")


#: Results of at least this many bytes are acknowledged to the hub.
ACKNOWLEDGED_BYTES = 64 * 1024


class Connection(Protocol):
    """What a call needs of a connection to the hub; `nbfn.client.connection.HubConnection`."""

    places: Places
    serializer: Serializer

    def send(self, message: Message | Callable[[], Iterable[Message]]) -> None:
        """Queue a message, or a function that returns messages on the client's thread. Any thread; does not block."""

    def run_soon(self, task: Callable[[], object]) -> None:
        """Run a task on the client's thread; at once if this is that thread."""

    async def request(self, make: Callable[[int], Message]) -> Any:
        """Send a request and return the answer of the hub."""

    def open(self, call: ActiveCall) -> None:
        """Begin a call: send it, now and after each reconnect, and pass its messages on to it."""

    def track(self, call: ActiveCall) -> ActiveCall:
        """Pass messages of a call on to it, without sending it."""

    def tracked(self, call_id: str) -> ActiveCall | None:
        """Return the active call of an id, if there is one."""

    def forget(self, call: ActiveCall, *, settled: bool) -> bool:
        """Remove a call; return False if it was removed before."""

    def keep_ended(self, call: ActiveCall) -> None:
        """Note that an ended map has inputs which can run again, for as long as the map exists."""


class CallableFunction(Protocol):
    """What a call needs of a registered Function; `nbfn.client.registration.function_ref.HydratedFunction`."""

    @property
    def client(self) -> Connection:
        """The connection to its hub."""

    @property
    def info(self) -> FunctionInfo:
        """What the hub knows of it."""

    @property
    def version(self) -> int:
        """The version to call; 0 for the newest."""

    def pickle(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, durable: bool = False
    ) -> Payload:
        """Pickle the arguments of one input."""


class ActiveCall:
    """A call that this process made or watches. `receive` and `fail` are called on the client's thread.

    Args:
        client: The connection that it uses.
        function: The Function.
        kind: remote, map, spawn or generator.
        version: The version to call; 0 for the newest.
        call_id: The id of an existing call; a new one when not given.
        total: How many inputs there will be; None while that is not known.
        sink: The sink of the existing call; that of the observer when not given.
    """

    #: Whether a caller waits for it, so that a lost hub must be found again.
    waiting = True
    #: The epoch of the hub that had forgotten the Function, and at which it was registered again.
    reopened = 0

    def __init__(
        self,
        client: Connection,
        function: FunctionInfo,
        kind: str,
        *,
        version: int,
        total: int | None = 1,
        call_id: str = "",
        sink: call_observer.CallSink | None = None,
    ) -> None:
        self.client = client
        self.function = function
        self.kind = kind
        self.version = version
        self.id = call_id or new_id("fc")
        self.total = total
        self.began = time.monotonic()
        self.counts = InputCounts()  # of the inputs that have ended
        self.levels = log_levels()
        self.sink: call_observer.CallSink
        if sink is not None:
            self.sink = sink
        elif call_observer.observer is None and kind != "map":
            self.sink = call_observer.TEXT
        else:
            self.sink = call_observer.begin(self._view())

    def _view(self) -> call_observer.CallView:
        function = self.function
        return call_observer.CallView(
            self.id,
            function.name,
            function.version,
            function.app,
            self.kind,
            self.total,
            time.time(),
            self.cancel,
            self,
        )

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """Return the messages that begin the call at the hub, with all inputs that have no outcome yet.

        Args:
            resent: Whether the hub may have them already, after a reconnect.
        """
        raise NotImplementedError

    def receive(self, message: Message) -> None:
        """Handle a message of the hub about this call."""
        raise NotImplementedError

    def fail(self, error: exception.Error) -> None:
        """End the call with an error: the hub refused it, or is gone."""
        raise NotImplementedError

    @property
    def done(self) -> int:
        """The number of inputs that have ended."""
        return self.counts.settled

    def count(self, new: Sequence[Output]) -> None:
        """Count outcomes, and report them to the sink."""
        if len(new) == 1 and new[0].status == InputStatus.SUCCESS:
            self.counts += ONE_SUCCEEDED
        else:
            self.counts += messages.count_outputs(new)
        self.report(new)

    def report(self, new: Sequence[Output] = ()) -> None:
        """Report to the sink how many inputs are in each state; those that have not ended wait, as far as is known."""
        if self.sink is call_observer.TEXT:
            return  # it shows no counts, and most calls of programs have it
        known = self.known_inputs
        counts = replace(self.counts, total=known, waiting=known - self.done)
        guarded(self.sink.outputs, counts, self.total is None, new)

    @property
    def known_inputs(self) -> int:
        """The number of inputs that are known so far."""
        return self.done if self.total is None else max(self.total, self.done)

    def end(
        self, status: str, error: BaseException | None = None, *, settled: bool = False
    ) -> None:
        """End the call, here and at the hub. Does nothing when called again.

        Args:
            status: success, failure or terminated.
            error: The error that ended it, if that was no outcome.
            settled: Whether all outcomes have arrived, so that the hub has released the call already.
        """
        if self.client.forget(self, settled=settled):
            self.notify_end(status, error)

    def notify_end(self, status: str, error: BaseException | None = None) -> None:
        """Report the end to the sink."""
        self.waiting = False
        self.client.run_soon(lambda: guarded(self.sink.finished, status, error))

    def retry_asked(self) -> tuple[int, str]:
        """Run inputs of an ended map again because another process asks for it.

        Returns:
            The number of inputs, and why none runs again if that is so.
        """
        raise NotImplementedError

    def cancel(self) -> None:
        """Cancel all inputs; their outcomes still arrive. In a detached run nothing is cancelled."""
        if not detached_apps.is_detached(self.function.app_id):
            self.client.send(messages.Cancel(0, self.id))


class SingleCall(ActiveCall):
    """A call with one input whose caller waits for the outcome."""

    def __init__(
        self,
        client: Connection,
        function: FunctionInfo,
        kind: str,
        payload: Payload,
        version: int,
        parent: str,
    ) -> None:
        self._input = messages.NewInput(0, payload)
        self._parent = parent
        self.outcome: Future[Output] = Future()
        super().__init__(client, function, kind, version=version)

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `ActiveCall.opening`."""
        yield messages.PutCall(
            self.id,
            self.function.id,
            self.version,
            self.kind,
            (self._input,),
            resent=resent,
            parent=self._parent,
            method=self.function.method,
            deployment=self.function.deployment,
            levels=self.levels,
            notify=self.sink.notify,
        )

    def receive(self, message: Message) -> None:
        """See `ActiveCall.receive`."""
        if isinstance(message, messages.Outputs):
            output = message.outputs[0]
            self.count(message.outputs[:1])
            if output.status not in {InputStatus.SUCCESS, InputStatus.TERMINATED}:
                recent_failures.keep(self.id, 0, self.function, self.version, self._input.payload)
            self.end(outcome_name(output.status), settled=True)
            settle(self.outcome, output)
            # Smaller results the hub drops after a while.
            if (weight := output.weight) >= ACKNOWLEDGED_BYTES:
                self.client.send(messages.ResultsTaken(self.id, weight))
            # Last, since freeing 100 MB takes as long as ten calls.
            self.client.serializer.reclaim(self._input.payload)

    def fail(self, error: exception.Error) -> None:
        """See `ActiveCall.fail`."""
        self.client.serializer.discard(self._input.payload)
        self.end("failure", error)
        settle(self.outcome, error=error)

    def abandon(self) -> None:
        """Cancel the call and forget it."""
        if self.outcome.done():
            return
        self.cancel()
        self.end("terminated")
        self.client.serializer.discard(self._input.payload)

    @property
    def was_not_loaded(self) -> bool:
        """Whether the worker could not load the Function."""
        return self.outcome.done() and self.outcome.result().status == InputStatus.INIT_FAILURE

    async def interrupted(self, by: BaseException) -> None:
        """Cancel the call after an interrupt of its caller; after a second one detach it.

        Raises:
            Detached: If it is detached.
        """
        __tracebackhide__ = True
        try:
            await interrupt.interrupted(self, self.outcome, self.abandon)
        except exception.Detached:
            interrupt.keep_detached(self)
            raise
        ended = self.outcome.done() and self.outcome.result().status == InputStatus.SUCCESS
        what = "had ended" if ended else "cancelled"
        by.add_note(f"{what}: {self.function.name} ({self.id})")

    async def result(self) -> Any:
        """Wait for the outcome and return the value; an interrupt cancels the call."""
        __tracebackhide__ = True
        try:
            output = await wait(self.outcome)
        except exception.Error:
            raise
        except KeyboardInterrupt as error:
            await self.interrupted(error)
            raise
        except BaseException:
            self.abandon()
            raise
        return result_of(self.client.serializer, output, self.function.name, self.id)


def guarded(function: Callable[..., object], *args: object) -> None:
    """Call a function of an observer on the client's thread; log its errors."""
    try:
        function(*args)
    except Exception:
        logger.exception("An observer of nbfn failed")


def settle(
    future: Future[Any], value: object = None, *, error: BaseException | None = None
) -> None:
    """Resolve a future unless it is resolved."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


# --- logging levels ---------------------------------------------------------------------------------

#: The default filters of Python, except in development builds.
_FIRST_FILTERS = (
    WarningFilter("default", "", "builtins:DeprecationWarning", "__main__", 0),
    WarningFilter("ignore", "", "builtins:DeprecationWarning", "", 0),
    WarningFilter("ignore", "", "builtins:PendingDeprecationWarning", "", 0),
    WarningFilter("ignore", "", "builtins:ImportWarning", "", 0),
    WarningFilter("ignore", "", "builtins:ResourceWarning", "", 0),
)

_level_marker = logging.getLogger("nbfn.levels")
_levels_known: tuple[Any, bytes] = (None, b"")


def log_levels() -> bytes:
    """Return the encoded levels and filters of this process, which are sent with each call.

    Python clears the caches of loggers whenever a level changes, so an entry in such a cache tells that none did.
    """
    global _levels_known
    cache: dict[Any, Any] = getattr(_level_marker, "_cache", {})
    now = (_captures(), tuple(warnings.filters))
    if "nbfn" not in cache or _levels_known[0] != now:
        cache["nbfn"] = True
        _levels_known = now, dump_levels(_current_levels())
    return _levels_known[1]


def _current_levels() -> LogLevels:
    root = logging.root
    loggers = list(root.manager.loggerDict.items())
    own = {
        name: logger.level
        for name, logger in loggers
        if isinstance(logger, logging.Logger) and logger.level and not _is_ours(name)
    }
    filters = tuple(map(_warning_filter, warnings.filters))
    return LogLevels(
        {"": root.level, **dict(sorted(own.items()))},
        root.manager.disable,
        _captures(),
        None if filters == _FIRST_FILTERS else filters,
    )


def _warning_filter(entry: Any) -> WarningFilter:
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


# --- limits --------------------------------------------------------------------------------------

#: Bytes of an input from which on a call is counted. Smaller ones cannot fill the limit: each waits in a thread.
COUNTED = 1024


class CallThrottle:
    """Counts the bytes of inputs in flight.

    Args:
        most: Bytes after which a further call waits.

    Attributes:
        full: Whether a call should wait for room.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self.full = most <= 0
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    async def room(self) -> None:
        """Wait until another call may begin."""
        while self.full:
            turn: Future[None] = Future()
            self._waiting.append(turn)
            self._wake()  # there may be room by now
            try:
                await wait(turn)
            finally:
                self._wake()  # so that the next one checks, also if this call does not begin

    def enter(self, weight: int) -> None:
        """Add the bytes of a call that begins."""
        with self._lock:
            self._weight += weight
            self.full = self._weight >= self._most

    def leave(self, weight: int) -> None:
        """Subtract the bytes of a call that has ended or is stored."""
        with self._lock:
            self._weight -= weight
            self.full = self._weight >= self._most
        self._wake()

    def _wake(self) -> None:
        while self._waiting and not self.full:
            turn = self._waiting.popleft()
            if not turn.done():
                settle(turn)
                return


#: The throttle of this process.
throttle = CallThrottle(48 * 1024 * 1024)
