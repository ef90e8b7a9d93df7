"""Handles an interrupt of a caller that waits: the first one cancels the call, a second one detaches it.

Only an observer that tells the user so (`nbfn.client.call_observer.interrupted`) makes this wait for a second
interrupt; without one an interrupt cancels at once. An observer may also detach the call at the first one.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from nbfn.client import call_observer
from nbfn.client.calls import call_hints
from nbfn.exception import Detached
from nbfn.protocol.messages import FunctionInfo
from nbfn.runtime.sync import wait

#: Seconds after the first interrupt in which a second one detaches the call.
SECOND_PRESS = 1.0
#: Seconds to wait for a cancelled call to end, so that its last output is shown.
LAST_WORDS = 1.5
#: Detached calls that are kept.
MOST = 20


class WaitedCall(Protocol):
    """What is needed here of a call whose caller waits; `nbfn.client.calls.active_call.ActiveCall`."""

    id: str
    function: FunctionInfo

    def cancel(self) -> None:
        """Cancel all inputs; their outcomes still arrive."""


_detached: dict[str, WaitedCall] = {}


async def interrupted(call: WaitedCall, over: Future[Any], abandon: Callable[[], None]) -> None:
    """Cancel a call whose caller was interrupted, and wait a while for its end.

    Args:
        call: The call.
        over: Resolves when the call has ended.
        abandon: Cancels the call and forgets it.

    Raises:
        Detached: If the observer says so, or the caller is interrupted again. Within `SECOND_PRESS` the call continues
            undisturbed, later it has been cancelled already.
    """
    __tracebackhide__ = True
    answer = "cancel" if over.done() else call_observer.interrupted(call.id, call.function.name)
    if answer == "detach":
        raise Detached(call.id, call.function.name) from None
    if answer == "cancel":
        abandon()
        return
    try:
        with contextlib.suppress(builtins.TimeoutError):
            await wait(over, SECOND_PRESS)
        if not over.done():
            call.cancel()
            with contextlib.suppress(builtins.TimeoutError):
                await wait(over, LAST_WORDS)
    except KeyboardInterrupt:
        raise Detached(call.id, call.function.name) from None
    abandon()


def keep_detached(call: WaitedCall) -> None:
    """Keep a detached call, so that `detached_call` finds it."""
    _detached[call.id] = call
    while len(_detached) > MOST:
        del _detached[next(iter(_detached))]


def detached_call(call_id: str) -> WaitedCall | None:
    """Return a detached call of this process, if it is kept."""
    return _detached.get(call_id)


def note_detached(error: BaseException, *calls: str) -> None:
    """Add a note to an interrupt: the calls that were waited for continue."""
    if len(calls) == 1:
        handle = call_hints.handle_of(calls[0])
        error.add_note(f"detached: the call goes on; {handle} brings its handle back.")
    else:
        some = ", ".join(calls[:3]) + (", …" if len(calls) > 3 else "")
        handle = call_hints.handle_of("ID")
        error.add_note(
            f"detached: {len(calls)} calls go on ({some}); {handle} brings a handle back."
        )
