"""Messages between hub and worker. A worker runs one Function; each input that it runs has a lease."""

from __future__ import annotations

from nbfn.protocol.messages.base import Data, Message, Payload
from nbfn.protocol.messages.definition import Definition
from nbfn.protocol.messages.fields import Count, Ended, Id, Lease, Seconds, Token


class LeasedInput(Data):
    """An input that is leased to a worker."""

    lease: int
    call: str
    index: int
    attempt: int
    payload: Payload
    durable: bool = False  # whether the result is stored on disk, to outlive the processes
    method: str = ""  # of a class
    batch: int = (
        0  # the lease of the first input of its batch: consecutive inputs of a batch run together
    )
    unattended: bool = False  # whether it has no caller: its traceback is written to the logs


class Result(Data):
    """The outcome of a leased input; ``duration`` is in seconds.

    ``started`` is a time of the worker's monotonic clock, 0 for an input that did not run.
    """

    lease: Lease
    status: Ended
    payload: Payload | None
    duration: Seconds
    final: bool = False  # whether a retry would fail in the same way, so there is none
    started: Seconds = 0.0


class Bind(Message):
    """Load this version of a Function and answer `Bound`, or `BindFailed` if that fails."""

    function: str
    version: int
    definition: Definition
    variables: dict[str, str] = {}  # environment variables from its secrets and ``env``
    environment_name: str = ""
    threads: int = 0  # that numeric libraries use, unless its variables set another number

    def __repr__(self) -> str:
        return f"Bind({self.function!r}, {self.version}, {sorted(self.variables)})"


class Bound(Message):
    """Answer to `Bind`: the Function is loaded and the worker accepts inputs."""

    function: Id
    version: Count


class BindFailed(Message):
    """Answer to `Bind`: the Function could not be loaded; ``payload`` is the exception, ``text`` its text."""

    function: Id
    version: Count
    payload: Payload
    text: str


class Run(Message):
    """Run these inputs, in order.

    ``confirm`` acknowledges results like `Confirm`. ``goes_on`` means that the next message has the rest
    of the last batch. ``levels`` are the levels of the callers' loggers, by call, if they are not the
    default ones.
    """

    inputs: tuple[LeasedInput, ...]
    confirm: int = 0
    goes_on: bool = False
    levels: dict[str, bytes] = {}


class Results(Message):
    """Outcomes of leased inputs.

    The worker keeps them, and sends them again after a reconnect, until the hub has acknowledged ``seq``.
    ``sent`` is the time of its monotonic clock when it sends the message.
    """

    seq: Count
    results: tuple[Result, ...]
    sent: Seconds = 0.0


class Confirm(Message):
    """Acknowledge results up to this sequence number; the worker may drop them."""

    upto: int


class Yielded(Message):
    """Values that a generator yielded; ``start`` is the number of the first."""

    lease: Lease
    start: Count
    payloads: tuple[Payload, ...]


class ItemsTaken(Message):
    """Back-pressure: the consumer accepts items of this generator with numbers below ``upto``."""

    lease: int
    upto: int


class WantFeed(Message):
    """Back-pressure: this input accepts ``upto`` pieces (`Fed`) in total."""

    lease: Lease
    upto: Count


class Fed(Message):
    """One piece of the data that this input reads, see `FeedInput`."""

    lease: int
    data: bytes


class Emitted(Message):
    """Output of user code while this lease ran, or outside of any lease (0); see `Emission`.

    Output that is also kept in shared memory, in case the process dies, is numbered in pieces; ``number``
    is that of the last piece in this message.
    """

    lease: Lease
    channel: str
    data: bytes
    number: Count = 0


class Sync(Message):
    """Request `Synced` as soon as the hub has processed all earlier messages of this worker."""

    number: Token


class Synced(Message):
    """Answer to `Sync`."""

    number: int


class CancelInput(Message):
    """Stop this input if it runs, or drop it if it is queued.

    In both cases the worker answers with its `Result` (TERMINATED).
    """

    lease: int


class Recall(Message):
    """Return all leases of inputs that have not started; the answer is `Returned`."""


class Returned(Message):
    """Answer to `Recall`: leases of inputs that the worker has not started."""

    leases: tuple[Lease, ...]


class OpenConsole(Message):
    """Open a Jupyter console; the answer is `ConsoleOpened`."""

    request: int  # a number of the hub, not that of the client's request


class ConsoleOpened(Message):
    """Answer to `OpenConsole`: the connection file of the console, or an error."""

    request: Token
    connection_file: str
    error: str = ""


class Drain(Message):
    """Finish the running inputs, return the other leases, send `Goodbye` and exit."""


class Goodbye(Message):
    """The worker exits normally; ``signal`` is the signal that caused the exit, 0 for none."""

    signal: Count = 0
