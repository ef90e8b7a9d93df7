"""The hub has its workers run inputs: one Function for each worker, one lease for each input."""

from __future__ import annotations

from nbfn.protocol.messages.base import Data, Message, Payload
from nbfn.protocol.messages.definition import Definition
from nbfn.protocol.messages.fields import Count, Ended, Id, Lease, Seconds, Token


class LeasedInput(Data):
    """One input, granted to one worker under one lease number."""

    lease: int
    call: str
    index: int
    attempt: int
    payload: Payload
    durable: bool = False  # its result goes to disk: it must outlive processes
    method: str = ""  # of a class
    batch: int = (
        0  # the lease of the first one of its batch: neighbours with the same are run as one
    )
    unattended: bool = False  # it has no caller: its traceback is written to the logs


class Result(Data):
    """What a worker says of a leased input that ended."""

    lease: Lease
    status: Ended
    payload: Payload | None
    duration: Seconds
    final: bool = False  # a failure that every attempt would end in: it is not retried


class Bind(Message):
    """Become this Function version: load it, then say `Bound`."""

    function: str
    version: int
    definition: Definition
    variables: dict[str, str] = {}  # of its secrets and its ``env``, resolved
    environment_name: str = ""
    threads: int = 0  # that numeric libraries use, where its variables say nothing else

    def __repr__(self) -> str:
        return f"Bind({self.function!r}, {self.version}, {sorted(self.variables)})"


class Bound(Message):
    """The Function is loaded; inputs are welcome."""

    function: Id
    version: Count


class BindFailed(Message):
    """The Function could not be loaded; ``payload`` is the exception."""

    function: Id
    version: Count
    payload: Payload
    text: str


class Run(Message):
    """Run these inputs, in order. ``confirm``: results up to that sequence number are safe and
    may be forgotten. ``goes_on``: the rest of the last batch is in the next message. ``levels``:
    of the loggers of those who made the calls, where they are not the default ones.
    """

    inputs: tuple[LeasedInput, ...]
    confirm: int = 0
    goes_on: bool = False
    levels: dict[str, bytes] = {}


class Results(Message):
    """Inputs that ended. Kept by the worker, and sent again after a reconnect, until ``seq`` is
    confirmed.
    """

    seq: Count
    results: tuple[Result, ...]


class Confirm(Message):
    """Results up to this sequence number are safe and may be forgotten."""

    upto: int


class Yielded(Message):
    """Values that a generator input yielded, from number ``start`` on."""

    lease: Lease
    start: Count
    payloads: tuple[Payload, ...]


class ItemsTaken(Message):
    """The consumer wants items of this generator input up to number ``upto``."""

    lease: int
    upto: int


class WantFeed(Message):
    """This input reads: it takes ``upto`` pieces (`Fed`) in all."""

    lease: Lease
    upto: Count


class Fed(Message):
    """One more piece of what this input reads; see `FeedInput`."""

    lease: int
    data: bytes


class Emitted(Message):
    """What user code wrote while this lease ran, or outside of any (0); see `Emission`.

    Text that is kept in case the process dies is numbered; ``number`` is that of the last piece in here.
    """

    lease: Lease
    channel: str
    data: bytes
    number: Count = 0


class Sync(Message):
    """Answer with `Synced` when all that this worker sent before is taken."""

    number: Token


class Synced(Message):
    """Answer to `Sync`."""

    number: int


class CancelInput(Message):
    """Stop this input if it runs, drop it if it waits; answer with its `Result` (TERMINATED)
    either way.
    """

    lease: int


class Recall(Message):
    """Give back what you have not begun, as `Returned`."""


class Returned(Message):
    """Leases given back, never begun."""

    leases: tuple[Lease, ...]


class OpenConsole(Message):
    """Open a Jupyter console; `ConsoleOpened`."""

    request: int  # the hub's number, not the client's


class ConsoleOpened(Message):
    """Answer to `OpenConsole`: the console's connection file, or why there is none."""

    request: Token
    connection_file: str
    error: str = ""


class Drain(Message):
    """Finish what runs, give back the rest, say `Goodbye` and exit."""


class Goodbye(Message):
    """The worker exits in good order; ``signal``: because of that one, 0 for none."""

    signal: Count = 0
