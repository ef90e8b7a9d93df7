"""A client calls Functions: inputs on their way in, outcomes, items and prints on their way out."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from nbfn.protocol.messages.base import Data, Fault, Message, Payload, total_weight
from nbfn.protocol.messages.fields import Count, Id, Index, LogLevels, Token

#: Bytes that an outcome counts for beside its payload.
OUTPUT_BYTES = 64
#: Items of a generator that may be under way, and their approximate bytes since the last credit of the worker.
#: A worker begins with as many.
ITEM_WINDOW, ITEM_BYTES = 64, 8 * 1024 * 1024


class NewInput(Data):
    """One set of arguments, on its way in."""

    index: Count
    payload: Payload


class Output(Data):
    """The one outcome of an input. ``payload`` is the value or the exception; ``fault`` stands
    in when no worker could make one.
    """

    index: int
    status: int
    payload: Payload | None = None
    fault: Fault | None = None
    duration: float = 0.0
    worker: str = ""
    attempt: int = 1
    attempts: int = 0  # how many its Function's retries allow; set for failures only

    @property
    def weight(self) -> int:
        """What it counts for in limits, in bytes; of a failure that the hub tells at least its sentence
        and attributes that are as long.
        """
        if self.fault is not None:
            return OUTPUT_BYTES + 4 * 2 * len(self.fault.message)
        payload = self.payload
        return OUTPUT_BYTES if payload is None else OUTPUT_BYTES + payload.weight


_fault = attrgetter("fault")


def outputs_weight(outputs: Sequence[Output]) -> int:
    """Return the sum of the weights of outputs."""
    if len(outputs) == 1 or any(map(_fault, outputs)):
        return sum(output.weight for output in outputs)
    payloads = [payload for output in outputs if (payload := output.payload) is not None]
    return OUTPUT_BYTES * len(outputs) + total_weight(payloads)


class PutCall(Message):
    """Begin a call, mostly with all its inputs (``closed``). Resending it is harmless.

    A ``durable`` call is stored and answered by `Accepted` after the commit; any other lives as
    long as its client.
    """

    call: Id
    function: Id
    version: Count
    kind: str  # remote, map, spawn, generator, web
    inputs: tuple[NewInput, ...] = ()
    closed: bool = True
    durable: bool = False
    resent: bool = False
    parent: Id = ""  # the caller's call and index ("fc-...:3"), when called from inside a worker
    total: Count | None = None  # inputs there will be, where the caller knows
    method: str = ""  # which one, when the Function is a class
    deployment: Count = 0  # of the App: what is called from inside stays with it, too
    unattended: bool = False  # its failures have no reader: the logs have their tracebacks
    levels: LogLevels = b""  # of the caller's loggers


class PutInputs(Message):
    """More inputs of an open call; ``closed`` says that these were the last."""

    call: Id
    inputs: tuple[NewInput, ...]
    closed: bool = False
    resent: bool = False


class Accepted(Message):
    """A durable call is on disk: its inputs below ``upto``, or all there will be (``closed``)."""

    call: str
    upto: int = 0
    closed: bool = True


class CallRefused(Message):
    """A `PutCall` could not be taken; it ends with this error."""

    call: str
    code: str
    message: str


class Window(Message):
    """The client may have this many inputs of the call sent and not yet consumed."""

    call: str
    size: int


class Outputs(Message):
    """Outcomes of inputs, each final."""

    call: str
    outputs: tuple[Output, ...]


class ResultsTaken(Message):
    """The consumer of a map has had results of this many bytes more (`Output.weight`); the hub has no
    more inputs run when too many are not taken.
    """

    call: str
    weight: Count


class Progress(Message):
    """Where a call stands, at most ten times a second while it changes."""

    call: str
    queued: int
    running: int
    retrying: int
    workers: int
    starting: int
    waiting_for: str = ""
    newest: int = 0  # version of its Function, where that is another than the one it runs on
    done: int = 0
    failed: int = 0
    total: int | None = None
    place: int = 0  # of a call that only waits: how many calls' turns until its own, 0 for far off
    worker: str = ""  # of its last input, ...
    attempt: int = 0  # ... and its attempt


class Emission(Message):
    """What remote code wrote: ``channel`` is stdout, stderr (``data`` is UTF-8) or display,
    clear, update (``data`` is JSON), or log (see `nbfn.protocol.log_records`).
    """

    call: str
    index: int
    attempt: int
    channel: str
    data: bytes
    worker: str = ""


class TakeItems(Message):
    """The consumer of a generator input is ready for items up to (not including) number
    ``upto``.
    """

    call: Id
    index: Count
    upto: Count


class Items(Message):
    """Values that a generator input yielded, from number ``start`` on."""

    call: str
    index: int
    start: int
    payloads: tuple[Payload, ...]


class FeedInput(Message):
    """One more piece of what an input reads while it runs (a web request's body, a WebSocket's
    messages), sent only as far as `FeedWanted` allows. Without ``data``, at any time: who asked is gone;
    the input is told so, or dropped if it has not begun.
    """

    call: Id
    index: Count
    data: bytes


class FeedWanted(Message):
    """An input reads: the client may send ``upto`` pieces (`FeedInput`) in all to this attempt."""

    call: str
    index: int
    attempt: int
    upto: int


class Cancel(Message):
    """Cancel a call, or some inputs of it; ``terminate`` ends the workers that run them as well."""

    request: Token
    call: Id
    indices: tuple[Count, ...] | None = None
    terminate: bool = False


class Release(Message):
    """I need nothing more of this call: what is queued is cancelled unless the call is durable,
    outputs are no longer sent to me.
    """

    call: Id


class Watch(Message):
    """Send me the outputs that this call has with an index from ``start`` to before ``end``, then
    its state (`CallInfo`), and if I ``follow`` it, all outputs to come.
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
    expired: bool = False  # ... which was kept long enough and is gone
    done: int = 0
    failed: int = 0
    cancelled: bool = False
    version: int = 0  # of the Function, that it runs on or ran on last
    created: float = 0.0  # when it began, or was retried last; seconds since 1970
    kept_until: float = 0.0  # its results, likewise


class GetInput(Message):
    """Tell the arguments of an input of a durable call that failed, or has no outcome yet."""

    request: Token
    call: Id
    index: Index


class InputTold(Message):
    """Answer to `GetInput`: which version was called with what; without a payload when that is gone."""

    request: int
    function: str
    version: int
    method: str
    payload: Payload | None


class RetryCall(Message):
    """Run the inputs of an ended durable call that failed again, with the newest version of its Function.

    ``token`` is new for each retry: a repeated message starts nothing.
    """

    request: Token
    call: Id
    token: str


class CallRetried(Message):
    """Answer to `RetryCall`: how many inputs run again."""

    request: int
    count: int


class GetCallGraph(Message):
    """Ask for the whole family of a call: who called it, and whom it called."""

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
    """Answer to `GetCallGraph`: the inputs of the family, callers before those they called."""

    request: int
    inputs: tuple[Relative, ...]
