"""Makes the messages in which the hub reports the progress of a call."""

from __future__ import annotations

from typing import Any

from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import Progress


def progress(
    call: str,
    waiting: int = 0,
    running: int = 0,
    *,
    state: str = "",
    total: int = 0,
    succeeded: int = 0,
    failed: int = 0,
    cancelled: int = 0,
    not_run: int = 0,
    **more: Any,
) -> Progress:
    """Return a progress message; the state is that of a call with these inputs and workers."""
    ended = succeeded + failed + cancelled + not_run
    counts = InputCounts(
        total or waiting + running + ended, succeeded, failed, cancelled, running, waiting, not_run
    )
    fields = {"retrying": 0, "workers": running, "starting": 0} | more
    if not state:
        starting = "starting" if fields["starting"] else "queued"
        state = "running" if running or ended else starting
    return Progress(call, state, counts, **fields)
