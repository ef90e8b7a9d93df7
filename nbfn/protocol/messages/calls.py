"""Messages of calls: inputs that clients send, and outcomes, generator items and output that they receive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter

from nbfn.protocol.call_states import InputCounts, InputState
from nbfn.protocol.messages.base import Data, Fault, Message, Payload, total_weight
from nbfn.protocol.messages.fields import Count, Id, Index, LogLevels, Seconds, Token
from nbfn.types import InputStatus

#: Bytes that an outcome counts for in addition to its payload.
OUTPUT_BYTES = 64
#: The most items of a generator in transit, and their approximate bytes since the last credit of the worker. It is
#: also the credit with which a worker starts.
ITEM_WINDOW, ITEM_BYTES = 64, 8 * 1024 * 1024


class NewInput(Data):
    """The arguments of one new input of a call."""

    index: Count
    payload: Payload


class Output(Data):
    """The outcome of an input. An input has only one.

    ``payload`` is the pickled result or exception. If no worker produced a payload, ``fault`` describes
    the failure. ``duration`` is in seconds.
    """

    index: int
    status: int
    payload: Payload | None = None
    fault: Fault | None = None
    duration: float = 0.0
    worker: str = ""
    attempt: int = 1  # 0 if the input was cancelled before it started
    attempts: int = 0  # how many the retries of the Function allow; set for failures only

    @property
    def state(self) -> InputState:
        """The state in which it leaves its input."""
        if self.status == InputStatus.SUCCESS:
            return InputState.SUCCEEDED
        if self.status != InputStatus.TERMINATED:
            return InputState.FAILED
        return InputState.CANCELLED if self.attempt else InputState.NOT_RUN

    @property
    def weight(self) -> int:
        """The number of bytes that the outcome counts for in limits.

        A `Fault` counts for at least its message and attributes of the same length.
        """
        if self.fault is not None:
            return OUTPUT_BYTES + 4 * 2 * len(self.fault.message)
        payload = self.payload
        return OUTPUT_BYTES if payload is None else OUTPUT_BYTES + payload.weight


_fault = attrgetter("fault")


_COUNTS_OF_ONE = {
    InputState.SUCCEEDED: InputCounts(1, succeeded=1),
    InputState.FAILED: InputCounts(1, failed=1),
    InputState.CANCELLED: InputCounts(1, cancelled=1),
    InputState.NOT_RUN: InputCounts(1, not_run=1),
}


def count_outputs(outputs: Iterable[Output]) -> InputCounts:
    """Return in which states outputs leave their inputs."""
    outputs = tuple(outputs)
    if len(outputs) == 1:
        return _COUNTS_OF_ONE[outputs[0].state]
    found = Counter(output.state for output in outputs)
    return InputCounts(
        total=found.total(),
        succeeded=found[InputState.SUCCEEDED],
        failed=found[InputState.FAILED],
        cancelled=found[InputState.CANCELLED],
        not_run=found[InputState.NOT_RUN],
    )


def outputs_weight(outputs: Sequence[Output]) -> int:
    """Return the sum of the weights of outputs in bytes."""
    if len(outputs) == 1 or any(map(_fault, outputs)):
        return sum(output.weight for output in outputs)
    payloads = [payload for output in outputs if (payload := output.payload) is not None]
    return OUTPUT_BYTES * len(outputs) + total_weight(payloads)


class PutCall(Message):
    """Start a call. Usually the message has all inputs (``closed``). It may be sent repeatedly.

    A ``durable`` call is stored; the hub answers `Accepted` after the commit. Any other call is
    cancelled when its client leaves.
    """

    call: Id
    function: Id
    version: Count
    kind: str  # remote, map, spawn, generator, web
    inputs: tuple[NewInput, ...] = ()
    closed: bool = True
    durable: bool = False
    resent: bool = False
    parent: Id = ""  # call and index of the input that makes the call ("fc-...:3"), in a worker
    total: Count | None = None  # the number of inputs, if the caller knows it
    method: str = ""  # the name of the method, if the Function is a class
    deployment: Count = 0  # of the App; nested calls use the same deployment
    unattended: bool = False  # no caller receives failures: their tracebacks go to the logs
    settled: InputCounts = InputCounts()  # inputs whose outcomes its client has received
    again: bool = False  # whether the call has ended before, and these inputs run again
    age: Seconds = 0.0  # how long ago the client began the call
    levels: LogLevels = b""  # of the loggers of the caller
    notify: bool = False  # whether pages of the user show a notification when it ends


class PutInputs(Message):
    """Add inputs to an open call; ``closed`` marks the last ones."""

    call: Id
    inputs: tuple[NewInput, ...]
    closed: bool = False
    resent: bool = False


class Accepted(Message):
    """A durable call is stored: its inputs below ``upto``, or all inputs (``closed``)."""

    call: str
    upto: int = 0
    closed: bool = True


class CallRefused(Message):
    """Answer to a `PutCall` that the hub refuses; the call ends with this error."""

    call: str
    code: str
    message: str


class Window(Message):
    """Back-pressure: the client may have sent at most ``size`` inputs of the call that are not consumed yet."""

    call: str
    size: int


class Outputs(Message):
    """Outcomes of inputs of a call. Each of them is final."""

    call: str
    outputs: tuple[Output, ...]


class ResultsTaken(Message):
    """Back-pressure: the consumer of a map has taken further results, ``weight`` bytes in all (`Output.weight`).

    The hub dispatches no more inputs while too many bytes of results are not taken.
    """

    call: str
    weight: Count


class Progress(Message):
    """The progress of a call. It is sent at most ten times a second, when it changes."""

    call: str
    state: str  # a `CallState`
    counts: InputCounts
    retrying: int  # waiting inputs that failed and wait for the time of their next attempt
    workers: int
    starting: int
    waiting_for: str = ""
    newest: int = 0  # the newest version of its Function, if the call runs on another one
    more: bool = False  # whether more inputs may come, so that their total grows
    place: int = 0  # position in the queue of a call that only waits; 0 if it is far back
    worker: str = ""  # the worker of its last input
    attempt: int = 0  # the attempt of its last input


class Emission(Message):
    """Output of remote code.

    ``channel`` is stdout or stderr (``data`` is UTF-8), display, clear or update (``data`` is JSON), or
    log (see `nbfn.protocol.log_records`).
    """

    call: str
    index: int
    attempt: int
    channel: str
    data: bytes
    worker: str = ""


class TakeItems(Message):
    """Back-pressure: the consumer of a generator accepts items with numbers below ``upto``."""

    call: Id
    index: Count
    upto: Count


class Items(Message):
    """Values that a generator yielded; ``start`` is the number of the first."""

    call: str
    index: int
    start: int
    payloads: tuple[Payload, ...]


class FeedInput(Message):
    """One piece of the data that an input reads while it runs: a request body or a WebSocket message.

    `FeedWanted` limits how many pieces the client may send. A message without ``data`` may be sent at any
    time: the web client has disconnected, so the input is notified, or dropped if it has not started.
    """

    call: Id
    index: Count
    data: bytes


class FeedWanted(Message):
    """Back-pressure: the client may send ``upto`` pieces (`FeedInput`) in total to this attempt of an input."""

    call: str
    index: int
    attempt: int
    upto: int


class Cancel(Message):
    """Cancel a call, or some of its inputs; ``terminate`` also ends the workers that run them.

    The call of a session is refused without ``end_session``, unless its own client cancels it.
    """

    request: Token
    call: Id
    indices: tuple[Count, ...] | None = None
    terminate: bool = False
    end_session: bool = False
    failing: bool = False  # the caller stops the call because of an error


class Release(Message):
    """Stop sending outputs of a call to this client; cancel its queued inputs unless the call is durable."""

    call: Id


class Watch(Message):
    """Request the outputs of a call whose index is at least ``start`` and below ``end``, and its state.

    The hub sends the existing outputs, then `CallInfo` and, with ``follow``, all later outputs.
    """

    request: Token
    call: Id
    start: Index = 0
    end: Index | None = None
    follow: bool = True


class CallInfo(Message):
    """Answer to `Watch`."""

    request: int
    call: str
    function: str
    kind: str
    num_inputs: int
    closed: bool
    name: str = ""
    ended: bool = False  # every input has its outcome
    expired: bool = False  # the outcomes were deleted after their retention time
    state: str = ""  # a `CallState`
    counts: InputCounts = InputCounts()
    version: int = 0  # the version of the Function that runs the call or ran it last
    created: float = 0.0  # when it started or was last retried, in seconds since 1970
    kept_until: float = 0.0  # when its results expire, in seconds since 1970


class GetInput(Message):
    """Request the arguments of an input of a durable call that failed or has no outcome yet."""

    request: Token
    call: Id
    index: Index


class InputTold(Message):
    """Answer to `GetInput`: the Function version and the arguments; no payload if it was deleted."""

    request: int
    function: str
    version: int
    method: str
    payload: Payload | None


class RetryCall(Message):
    """Retry the inputs of a durable call that has ended without a result, with the newest version of its Function.

    ``token`` is unique for each retry, so a message that is sent again has no effect.
    """

    request: Token
    call: Id
    token: str


class RetryWanted(Message):
    """Ask the client that made a map, which has ended, to run its inputs without a result again."""

    call: str
    number: int


class RetryTaken(Message):
    """Answer to `RetryWanted`: the number of inputs that run again, or why none does."""

    number: Token
    count: Count
    problem: str = ""


class Detach(Message):
    """No process waits for a map any more; its client still collects its results."""

    call: Id


class CallRetried(Message):
    """Answer to `RetryCall`: the number of inputs that run again."""

    request: int
    count: int


class GetCallGraph(Message):
    """Request the call graph that contains a call: its callers, and all calls that these made."""

    request: Token
    call: Id


class Relative(Data):
    """One input in a call graph."""

    call: str
    index: int
    parent: str  # the caller's call and index, empty for a root
    status: int
    function: str
    module: str
    worker: str


class CallGraph(Message):
    """Answer to `GetCallGraph`: the inputs of the graph; each caller precedes the inputs that it called."""

    request: int
    inputs: tuple[Relative, ...]
