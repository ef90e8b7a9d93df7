"""What an interrupt of a waiting caller does: the first cancels the call, a second one lets it go on alone.

Only where somebody watches (`nbfn.client.call_observer.interrupted`) is a second press waited for; elsewhere an
interrupt cancels at once.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from nbfn.client import call_observer
from nbfn.client.active_call import ActiveCall
from nbfn.client.calls import call_hints
from nbfn.exception import Detached
from nbfn.runtime.sync import wait

#: Seconds after the first interrupt in which a second one lets the call go on.
SECOND_PRESS = 1.0
#: Seconds that a cancelled call has to end, so that its last words are heard.
LAST_WORDS = 1.5
#: Calls without a caller whose outcomes are kept.
MOST = 20

_left: dict[str, ActiveCall] = {}


async def interrupted(call: ActiveCall, over: Future[Any], abandon: Callable[[], None]) -> None:
    """Cancel a call whose caller was interrupted, and wait a while for its end.

    Args:
        call: The call.
        over: Is resolved when the call has ended.
        abandon: Cancels it and forgets it here.

    Raises:
        Detached: If the caller is interrupted again: at first the call goes on as if nothing had happened,
            later it has been told to stop.
    """
    __tracebackhide__ = True
    if over.done() or not call_observer.interrupted(call.id, call.function.name):
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


def leave(call: ActiveCall) -> None:
    """Keep a call that goes on without its caller, for whoever asks for it again."""
    _left[call.id] = call
    while len(_left) > MOST:
        del _left[next(iter(_left))]


def left(call_id: str) -> ActiveCall | None:
    """Return a call of this process that goes on without its caller."""
    return _left.get(call_id)


def goes_on(error: BaseException, *calls: str) -> None:
    """Note on an interrupt of a wait that what was waited for has not been cancelled."""
    if len(calls) == 1:
        handle = call_hints.handle_of(calls[0])
        error.add_note(f"detached: the call goes on; {handle} brings its handle back.")
    else:
        some = ", ".join(calls[:3]) + (", …" if len(calls) > 3 else "")
        handle = call_hints.handle_of("ID")
        error.add_note(
            f"detached: {len(calls)} calls go on ({some}); {handle} brings a handle back."
        )
