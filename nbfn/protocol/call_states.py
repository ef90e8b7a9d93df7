"""The states of calls and of their inputs, and the counts of inputs: every display uses these words."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct


class CallState(StrEnum):
    """The state of a call."""

    QUEUED = "queued"
    """No input has started, and workers are busy or at their limit."""
    STARTING = "starting"
    """No input has started, and workers are being started."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """It has ended, and an input failed, or its caller stopped it because of an error."""
    CANCELLED = "cancelled"
    """It has ended because it was cancelled, or because its caller left."""
    DETACHED = "detached"
    """It has not ended, and no process waits for it."""

    @property
    def ended(self) -> bool:
        """Whether the call has ended."""
        return self in (CallState.SUCCEEDED, CallState.FAILED, CallState.CANCELLED)


class InputState(StrEnum):
    """The state of an input."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """It had started and was stopped."""
    RUNNING = "running"
    WAITING = "waiting"
    NOT_RUN = "not run"
    """Its call ended before it started."""


class InputCounts(Struct, frozen=True, gc=False):
    """How many inputs of a call are in each state; the sum of the states is ``total``."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0
    waiting: int = 0
    not_run: int = 0

    @property
    def settled(self) -> int:
        """The number of inputs that will not run, or have run to their end."""
        return self.succeeded + self.failed + self.cancelled + self.not_run

    @property
    def unsuccessful(self) -> int:
        """The number of inputs that ended without a result; a retry runs these."""
        return self.failed + self.cancelled + self.not_run

    def items(self) -> Iterator[tuple[InputState, int]]:
        """Yield each state with its number of inputs, in the order in which displays list them."""
        for state in InputState:
            yield state, int(getattr(self, state.name.lower()))


def counts_text(counts: InputCounts) -> str:
    """Return the states that inputs are in, with their numbers.

    Examples:
        >>> counts_text(InputCounts(300, succeeded=8, failed=1, not_run=291))
        '8 succeeded, 1 failed, 291 not run'
    """
    return ", ".join(f"{n:,} {state}" for state, n in counts.items() if n) or "0 inputs"


def retry_text(counts: InputCounts) -> str:
    """Return the label of the action that runs again what did not succeed; "" if there is nothing to run.

    Examples:
        >>> retry_text(InputCounts(300, succeeded=8, failed=1, not_run=291))
        'Retry failed and not run (292)'
        >>> retry_text(InputCounts(9, succeeded=2, failed=7))
        'Retry failed (7)'
    """
    words = [
        str(state)
        for state, n in counts.items()
        if n and state in (InputState.FAILED, InputState.CANCELLED, InputState.NOT_RUN)
    ]
    if not words:
        return ""
    *first, last = words
    return f"Retry {' and '.join([', '.join(first), last] if first else [last])} ({counts.unsuccessful:,})"
