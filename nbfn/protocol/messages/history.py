"""Messages with which clients read the history of calls, and the inputs of a call."""

from __future__ import annotations

from nbfn.protocol.messages.base import Data, Fault, Message, Payload
from nbfn.protocol.messages.fields import Count, Id, Seconds, Token
from nbfn.protocol.messages.monitoring import CallRow


class GetCalls(Message):
    """Request calls, newest first: those that have not ended, the last ended ones, and stored ones.

    A filter that is empty or 0 matches every call. ``before`` is ``next`` of the previous answer.
    """

    request: Token
    states: tuple[str, ...] = ()
    since: Seconds = 0.0  # seconds since 1970
    search: str = ""  # a part of the name of its Function, App or notebook, or of its id
    limit: Count = 100
    before: str = ""


class Calls(Message):
    """Answer to `GetCalls`; ``next`` is empty after the last calls."""

    request: int
    now: float  # seconds since 1970
    calls: tuple[CallRow, ...]
    next: str = ""


class GetInputs(Message):
    """Request inputs of a call with an index above ``after``.

    Of a call that is not stored, the hub knows the inputs that have not ended, and the last failures.
    """

    request: Token
    call: Id
    states: tuple[str, ...] = ()  # all if empty
    first: Count = 0  # the first index
    limit: Count = 100


class InputRow(Data):
    """One input of a call.

    ``payload`` is the pickled exception of a failed input, and the result of a call with one input. ``attempt`` is 0
    before the first one.
    """

    index: int
    state: str
    attempt: int = 0
    worker: str = ""
    duration: float | None = None
    payload: Payload | None = None
    fault: Fault | None = None


class Inputs(Message):
    """Answer to `GetInputs`: the call, and inputs by index; ``next`` is the next ``first``, or None."""

    request: int
    now: float
    call: CallRow
    inputs: tuple[InputRow, ...]
    next: int | None = None
    kept_until: float | None = None  # of a stored call, in seconds since 1970
    expired: bool = False
    waiting_for: str = ""
