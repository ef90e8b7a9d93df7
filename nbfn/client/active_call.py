"""`ActiveCall`: a call that this process made or watches, as its connection to the hub knows it."""

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
from nbfn.serialization.payload import Carrier

logger = logging.getLogger("nbfn.client")


class Connection(Protocol):
    """What a call needs of the connection to the hub; `nbfn.client.connection.HubConnection`."""

    places: Places
    carrier: Carrier

    def send(self, message: Message | Callable[[], Iterable[Message]]) -> None:
        """Send a message, or what a function returns on the client's thread. Any thread; does not block."""

    def run_soon(self, task: Callable[[], object]) -> None:
        """Run something on the client's thread; at once when this is it."""

    async def request(self, make: Callable[[int], Message]) -> Any:
        """Ask the hub and return its answer."""

    def open(self, call: ActiveCall) -> None:
        """Begin a call: from now on its messages reach it, and it is told again to a hub that comes back."""

    def track(self, call: ActiveCall) -> ActiveCall:
        """Have a call's messages reach it without telling the hub."""

    def forget(self, call: ActiveCall, *, settled: bool) -> bool:
        """End a call here; False when that was done before."""


class CallableFunction(Protocol):
    """What a call needs of a registered Function; `nbfn.client.registration.definition.HydratedFunction`."""

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
    """One call that this process made or watches. All ``receive`` and ``fail`` happen on the client's thread.

    Args:
        client: The client it is made through.
        function: What is called.
        kind: remote, map, spawn or generator.
        version: The version to call; 0 for the newest.
        call_id: Of a call that exists; a new id when not given.
        total: Inputs there will be, None while that is not known.
    """

    #: Whether somebody waits for it, so that a lost hub must be found again.
    waiting = True
    #: The hub (its epoch) that did not know the Function and was told again.
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
        """Return what tells the hub of the call, with everything that has no outcome yet."""
        raise NotImplementedError

    def receive(self, message: Message) -> None:
        """Take what the hub says of this call."""
        raise NotImplementedError

    def fail(self, error: exception.Error) -> None:
        """End: the hub refused the call, or is gone."""
        raise NotImplementedError

    def count(self, new: Sequence[Output], failed: int) -> None:
        """Note outcomes, ``failed`` of them failures, and tell the sink."""
        self.done += len(new)
        self.failed += failed
        guarded(self.sink.outputs, self.done, self.failed, self.total, new)

    def end(
        self, status: str, error: BaseException | None = None, *, settled: bool = False
    ) -> None:
        """Let go of the call, here and at the hub; a second time does nothing.

        Args:
            status: success, failure or terminated.
            error: What ended it, when that was no outcome.
            settled: Whether every outcome is here, so that the hub has let go by itself.
        """
        if self.client.forget(self, settled=settled):
            self.tell_end(status, error)

    def tell_end(self, status: str, error: BaseException | None = None) -> None:
        """Tell the sink of the end."""
        self.waiting = False
        self.client.run_soon(lambda: guarded(self.sink.finished, status, error))

    def cancel(self) -> None:
        """Cancel all its inputs; their outcomes still arrive. Of a run that goes on nothing is cancelled."""
        if not detached_apps.goes_on(self.function.app_id):
            self.client.send(messages.Cancel(0, self.id))


def guarded(function: Callable[..., object], *args: object) -> None:
    """Call somebody else's code on the client's thread; an error of it is logged and harms nothing here."""
    try:
        function(*args)
    except Exception:
        logger.exception("An observer of nbfn failed")
