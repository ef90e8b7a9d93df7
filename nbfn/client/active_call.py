"""`ActiveCall`: the base class of calls that this process made or watches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from nbfn import exception
from nbfn.client import call_observer, detached_apps, log_records
from nbfn.config import Places
from nbfn.protocol import messages
from nbfn.protocol.messages import FunctionInfo, Message, Output, Payload, new_id
from nbfn.serialization.payload import Serializer

logger = logging.getLogger("nbfn.client")


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

    def forget(self, call: ActiveCall, *, settled: bool) -> bool:
        """Remove a call; return False if it was removed before."""


class CallableFunction(Protocol):
    """What a call needs of a registered Function; `nbfn.client.registration.hydrated_function.HydratedFunction`."""

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
    ) -> None:
        self.client = client
        self.function = function
        self.kind = kind
        self.version = version
        self.id = call_id or new_id("fc")
        self.total = total
        self.done = self.failed = 0
        self.levels = log_records.levels()
        if call_observer.observer is None and kind != "map":
            self.sink: call_observer.CallSink = call_observer.TEXT
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

    def count(self, new: Sequence[Output], failed: int) -> None:
        """Count outcomes, ``failed`` of which are failures, and report them to the sink."""
        self.done += len(new)
        self.failed += failed
        guarded(self.sink.outputs, self.done, self.failed, self.total, new)

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

    def cancel(self) -> None:
        """Cancel all inputs; their outcomes still arrive. In a detached run nothing is cancelled."""
        if not detached_apps.is_detached(self.function.app_id):
            self.client.send(messages.Cancel(0, self.id))


def guarded(function: Callable[..., object], *args: object) -> None:
    """Call a function of an observer on the client's thread; log its errors."""
    try:
        function(*args)
    except Exception:
        logger.exception("An observer of nbfn failed")
