"""The states of calls and of their inputs, and the counts of inputs: every display uses these words."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from operator import add, sub

from msgspec import Struct
from msgspec.structs import astuple, replace


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

    def __add__(self, other: InputCounts) -> InputCounts:
        return InputCounts(*map(add, astuple(self), astuple(other)))

    def __sub__(self, other: InputCounts) -> InputCounts:
        return InputCounts(*map(sub, astuple(self), astuple(other)))

    @property
    def unsuccessful(self) -> int:
        """The number of inputs that ended without a result; a retry runs these."""
        return self.failed + self.cancelled + self.not_run

    def items(self) -> Iterator[tuple[InputState, int]]:
        """Yield each state with its number of inputs, in the order in which displays list them."""
        for state in InputState:
            yield state, int(getattr(self, state.name.lower()))


#: Counts before there are inputs, and those of a call with one input that waits, or has succeeded.
NO_INPUTS, ONE_WAITS = InputCounts(), InputCounts(1, waiting=1)
ONE_SUCCEEDED = InputCounts(1, succeeded=1)


def end_state(counts: InputCounts, *, failing: bool = False, cut_short: bool = False) -> CallState:
    """Return the state of a call that has ended.

    Args:
        counts: Its inputs.
        failing: Whether its caller stopped it because of an error.
        cut_short: Whether it was cancelled while more inputs could come.
    """
    if not failing and (cut_short or counts.cancelled or counts.not_run):
        return CallState.CANCELLED
    return CallState.FAILED if failing or counts.failed else CallState.SUCCEEDED


def with_running(counts: InputCounts, running: int) -> InputCounts:
    """Return counts in which this many of the inputs without an outcome run and the others wait.

    Args:
        counts: The inputs that have ended, and all known ones as ``total``.
        running: How many ran when the hub last reported; fewer have no outcome yet if some have ended since.
    """
    left = max(0, counts.total - counts.settled)
    running = min(running, left)
    return replace(counts, running=running, waiting=left - running)


def counts_text(counts: InputCounts) -> str:
    """Return the states that inputs are in, with their numbers.

    Examples:
        >>> counts_text(InputCounts(300, succeeded=8, failed=1, not_run=291))
        '8 succeeded, 1 failed, 291 not run'
    """
    return ", ".join(f"{n:,} {state}" for state, n in counts.items() if n) or "0 inputs"


def retry_text(counts: InputCounts, kept: int | None = None) -> str:
    """Return the label of the action that runs again what did not succeed; "" if there is nothing to run.

    Args:
        counts: The inputs of the call.
        kept: How many of those without a result can run again; all when not given.

    Examples:
        >>> retry_text(InputCounts(300, succeeded=8, failed=1, not_run=291))
        'Retry failed and not run (292)'
        >>> retry_text(InputCounts(9, succeeded=2, failed=7))
        'Retry failed (7)'
        >>> retry_text(InputCounts(9, succeeded=2, failed=7), kept=5)
        'Retry failed (5 of 7)'
    """
    words = [
        str(state)
        for state, n in counts.items()
        if n and state in (InputState.FAILED, InputState.CANCELLED, InputState.NOT_RUN)
    ]
    if not words:
        return ""
    *first, last = words
    whole = counts.unsuccessful
    number = f"{whole:,}" if kept in (None, whole) else f"{kept:,} of {whole:,}"
    return f"Retry {' and '.join([', '.join(first), last] if first else [last])} ({number})"
