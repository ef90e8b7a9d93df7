"""A connection that sends nothing: it keeps what a call would have told the hub, for the test to look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from nbfn.client.call_observer import TextSink
from nbfn.client.calls.active_call import ActiveCall
from nbfn.config import Places
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import InputCounts
from nbfn.serialization.payload import Serializer
from tests.conftest import wait_until


def function_info(**changes: Any) -> m.FunctionInfo:
    """Return what a hub says of a plain Function."""
    info = m.FunctionInfo(
        id="fu-1",
        app_id="ap-1",
        app="app",
        name="area",
        version=3,
        deployed=False,
        is_generator=False,
        is_async=False,
        signature="(x)",
        doc="",
        environment=m.Environment("/usr/bin/python", (), "/", "3.11", "3"),
        timeout=60.0,
        pool=m.PoolSettings(),
    )
    return msgspec.structs.replace(info, **changes)


class RecordingConnection:
    """Does what a `HubConnection` does for its calls, on the test's own thread, but for the sending.

    What calls hand over waits until `flush`, as it waits for the client's thread in a `HubConnection`.

    Args:
        folder: Of the shared memory.
    """

    def __init__(self, folder: Path) -> None:
        self.places = Places(folder / "home", folder / "run", folder / "shm").create()
        self.serializer = Serializer(self.places, "cl-test")
        self.calls_to_retry: list[ActiveCall] = []
        self.calls: dict[str, ActiveCall] = {}
        self.answers: deque[m.Message | Exception] = deque()  # to `request`, in turn
        self._outbox: deque[m.Message | Callable[[], Iterable[m.Message]]] = deque()

    # --- what calls use --------------------------------------------------------------------------

    def send(self, message: m.Message | Callable[[], Iterable[m.Message]]) -> None:
        self._outbox.append(message)

    def run_soon(self, task: Callable[[], object]) -> None:
        task()

    def open(self, call: ActiveCall) -> None:
        self.calls[call.id] = call
        self.send(lambda: call.opening(resent=False))

    def keep_ended(self, call: ActiveCall) -> None:
        self.calls_to_retry.append(call)

    def track(self, call: ActiveCall) -> ActiveCall:
        return self.calls.setdefault(call.id, call)

    def forget(self, call: ActiveCall, *, settled: bool) -> bool:
        if self.calls.get(call.id) is not call:
            return False
        del self.calls[call.id]
        if not settled:
            self.send(m.Release(call.id))
        return True

    async def request(self, make: Callable[[int], m.Message]) -> Any:
        self.send(make(1))
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    # --- what tests use --------------------------------------------------------------------------

    def flush(self) -> list[m.Message]:
        """Return the messages that have been handed over since the last time."""
        sent: list[m.Message] = []
        while self._outbox:
            item = self._outbox.popleft()
            sent.extend([item] if isinstance(item, m.Message) else item())
        return sent

    def reconnect(self) -> list[m.Message]:
        """Lose the hub, find it again, and return what it is told."""
        last = [item for item in self._outbox if isinstance(item, m.Release | m.Cancel)]
        self._outbox.clear()
        self._outbox.extend(last)
        for call in list(self.calls.values()):
            self._outbox.extend(call.opening(resent=True))
        return self.flush()


class RecordingSink(TextSink):
    """Keeps what an observer is told of a call: its counts, and how it ended."""

    detachable = True

    def __init__(self) -> None:
        self.counts: list[tuple[int, int, int | None]] = []
        self.again: list[int] = []
        self.ends: list[str] = []

    def outputs(self, counts: InputCounts, more: bool, new: Iterable[m.Output] = ()) -> None:
        settled, total = counts.settled, None if more else counts.total
        assert counts.total == settled + counts.running + counts.waiting
        self.counts.append((settled, counts.unsuccessful, total))

    def restarted(self, indices: Iterable[int]) -> None:
        self.again.extend(indices)

    def finished(self, status: str, error: BaseException | None) -> None:
        self.ends.append(status)


def told(connection: RecordingConnection, count: int) -> list[m.Message]:
    """Wait until so many inputs were handed over, and return the messages."""
    sent: list[m.Message] = []

    def enough() -> bool:
        sent.extend(connection.flush())
        return len(indices(sent)) >= count

    wait_until(enough)
    return sent


def all_told(connection: RecordingConnection) -> list[m.Message]:
    """Wait until a message says that there will be no more inputs, and return the messages."""
    sent: list[m.Message] = []

    def complete() -> bool:
        sent.extend(connection.flush())
        return any(closed(sent))

    wait_until(complete)
    return sent


def indices(sent: Iterable[m.Message]) -> list[int]:
    """Return the inputs that messages tell the hub of, in their order."""
    return [item.index for message in _with_inputs(sent) for item in message.inputs]


def closed(sent: Iterable[m.Message]) -> list[bool]:
    """Return of each message with inputs whether it says that they are the last."""
    return [message.closed for message in _with_inputs(sent)]


def kinds(sent: Iterable[m.Message]) -> list[str]:
    """Return the names of messages."""
    return [type(message).__name__ for message in sent]


def _with_inputs(sent: Iterable[m.Message]) -> Iterator[m.PutCall | m.PutInputs]:
    return (message for message in sent if isinstance(message, m.PutCall | m.PutInputs))


def small(n: int) -> m.Payload:
    """Return a payload of a few bytes."""
    return m.Payload(b"%d" % n)


def outputs(
    call: ActiveCall, *which: int, status: int = 1, payload: m.Payload | None = None
) -> m.Outputs:
    """Return what the hub says of inputs that have ended."""
    return m.Outputs(call.id, tuple(m.Output(index, status, payload) for index in which))
