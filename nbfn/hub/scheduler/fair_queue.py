"""The fair queue of a pool, and the sizes of batches and windows. Pure data structures; every operation is
O(1) or O(log n) in inputs and workers.

The calls of a pool are served round-robin, so a map of a million inputs does not starve a single call;
the inputs of a call keep their order. A batch is about `BATCH_SECONDS` of work by the measured duration of
the function, and at most a fair share of the waiting inputs.
"""

from __future__ import annotations

import bisect
import itertools
import math
import operator
from collections import deque
from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

#: Seconds of work dispatched at once: much longer than a message takes (0.2 ms), too short to be noticed.
BATCH_SECONDS = 0.020
#: Most inputs in one message, whatever their duration.
BATCH_MAX = 1024
#: Most bytes of prefetched inputs of a worker, and about the most of their results; most bytes of the inputs
#: of a batch, and of the inputs that a worker runs at once.
LEASE_BYTES, BATCH_BYTES = 4 * 2**20, 64 * 2**20
#: Weight of the newest measurement in the running mean of durations.
SMOOTHING = 0.3
#: Most places in the queue that are counted.
PLACES = 1000
#: Smallest and largest window: inputs of a call that a client may have sent without an outcome.
WINDOW_MIN, WINDOW_MAX = 1000, 8192


class QueuedCall(Protocol):
    """The part of a call that the queue uses: its own queue, and the index of its first undispatched input."""

    queue: deque[Any]
    first_undispatched: int


class QueuedInput(Protocol):
    """The part of an input that the queue uses: its call, its index and its weight in bytes."""

    call: Any
    index: int
    weight: int


C = TypeVar("C", bound=QueuedCall)
I = TypeVar("I", bound=QueuedInput)  # noqa: E741 - an input


_weight = operator.attrgetter("weight")


def weight_of(items: Iterable[QueuedInput]) -> int:
    """Return the sum of the weights of inputs."""
    return sum(map(_weight, items))


class FairQueue(Generic[C, I]):
    """The pending inputs of one pool: a queue for each call, served round-robin; retried inputs go to the front.
    Inputs of held calls wait, and are not counted.
    """

    __slots__ = ("_calls", "count", "held")

    def __init__(self) -> None:
        self._calls: deque[C] = deque()
        self.count = 0
        self.held: dict[C, None] = {}

    @property
    def held_back(self) -> int:
        """The number of inputs of held calls."""
        return sum(len(call.queue) for call in self.held) if self.held else 0

    def hold(self, call: C) -> None:
        """Hold a call: its inputs are not dispatched."""
        if call not in self.held:
            if call.queue:
                self._calls.remove(call)
                self.count -= len(call.queue)
            self.held[call] = None

    def free(self, call: C) -> None:
        """Release a held call."""
        if call in self.held:
            del self.held[call]
            if call.queue:
                self._calls.append(call)
                self.count += len(call.queue)

    @property
    def calls(self) -> tuple[C, ...]:
        """The calls that have pending inputs."""
        return tuple(self._calls)

    def place(self, call: C) -> int:
        """Return the place of a call in the queue, 1 for the next one; 0 if it has no inputs or is far back."""
        try:
            return self._calls.index(call, 0, PLACES) + 1
        except ValueError:
            return 0

    def push(self, item: I, *, front: bool = False) -> None:
        """Queue an input."""
        call = item.call
        held = call in self.held
        if not (call.queue or held):
            # A call with a returned or retried input goes to the back of the queue like any other.
            self._calls.append(call)
        if front:
            call.queue.appendleft(item)
        else:
            call.queue.append(item)
        self.count += not held

    def extend(self, call: C, items: list[I]) -> None:
        """Queue new inputs of one call."""
        if not items:
            return
        held = call in self.held
        if not (call.queue or held):
            self._calls.append(call)
        call.queue.extend(items)
        self.count += 0 if held else len(items)

    def take(self, most: int, most_bytes: int) -> list[I]:
        """Take at most ``most`` inputs and ``most_bytes``, but at least one; calls get equal shares."""
        taken: list[I] = []
        while most > 0 and most_bytes > 0 and self._calls:
            share = max(1, most // len(self._calls))
            call = self._calls.popleft()
            queue = call.queue
            part = list(itertools.islice(queue, share))
            size = weight_of(part)
            if size > most_bytes:
                sums = list(itertools.accumulate(item.weight for item in part))
                fitting = max(bisect.bisect(sums, most_bytes), 0 if taken else 1)
                size = most_bytes  # no more inputs fit
                del part[fitting:]
            taken += part
            most -= len(part)
            most_bytes -= size
            for _ in part:
                queue.popleft()
            if queue:
                self._calls.append(call)
        self.count -= len(taken)
        return taken

    def take_returned(self) -> I | None:
        """Take a returned input of a held call: the consumer may be waiting for it."""
        for call in self.held:
            if call.queue and call.queue[0].index < call.first_undispatched:
                item: I = call.queue.popleft()
                return item
        return None

    def drop(self, call: C) -> list[I]:
        """Remove and return all inputs of a call."""
        dropped = list(call.queue)
        call.queue.clear()
        if dropped and call not in self.held:
            self.count -= len(dropped)
            self._calls.remove(call)
        return dropped

    def remove(self, item: I) -> bool:
        """Remove one input; O(length of its call's queue)."""
        try:
            item.call.queue.remove(item)
        except ValueError:
            return False
        if item.call not in self.held:
            self.count -= 1
            if not item.call.queue:
                self._calls.remove(item.call)
        return True


class BatchQueue(FairQueue[C, I]):
    """Inputs of one batched function, collected until they fill a batch.

    Args:
        size: Inputs in a full batch.
        wait: Seconds after which an incomplete batch is dispatched.
    """

    __slots__ = ("check_due", "since", "size", "wait")

    def __init__(self, size: int, wait: float) -> None:
        super().__init__()
        self.size = size
        self.wait = wait
        self.since = math.inf  # when the oldest input arrived, or earlier
        self.check_due = False  # a timer is set to check again

    def note_time(self, now: float) -> None:
        """Note when the first input arrived, unless inputs were waiting already."""
        if not self.count:
            self.since = math.inf
        elif self.since == math.inf:
            self.since = now

    def due(self, now: float) -> bool:
        """Whether a batch should be dispatched to a worker with room."""
        return self.count >= self.size or (self.count > 0 and now >= self.since + self.wait)

    def batch(self) -> list[I]:
        """Take a batch."""
        taken = self.take(self.size, BATCH_BYTES)
        if not self.count:
            self.since = math.inf
        return taken


def batch_size(duration: float | None, pending: int, workers: int, result: float = 0.0) -> int:
    """Return how many inputs to dispatch to a worker at once.

    Args:
        duration: Mean seconds of one input, None if unknown.
        pending: Inputs waiting in the pool.
        workers: Workers of the pool, including starting ones.
        result: Mean bytes of one result.

    Examples:
        >>> batch_size(None, 1000, 2), batch_size(1e-6, 100_000, 2), batch_size(1e-6, 10, 2),
        batch_size(5.0, 10, 2) (1, 1024, 3, 1)
    """
    if duration is None or pending <= 1:
        return 1
    fitting = int(BATCH_SECONDS / max(duration, 1e-7))
    fair = math.ceil(pending / (2 * max(workers, 1)))
    return max(1, min(fitting, fair, BATCH_MAX, int(LEASE_BYTES / max(result, 1.0))))


def room(leased: int, duration: float | None, batch: int) -> int:
    """Return how many more inputs a worker with ``leased`` ones should get.

    Inputs of a function slower than a batch are dispatched one by one, so that none waits behind another; a
    worker with a faster function prefetches one batch.
    """
    if duration is None or duration > BATCH_SECONDS:
        return max(0, 1 - leased)
    return batch if leased <= batch else 0


def smoothed(old: float | None, new: float) -> float:
    """Return the running mean of durations after one more measurement."""
    return new if old is None else old + SMOOTHING * (new - old)


def window(duration: float | None, workers: int, at_once: int = 1) -> int:
    """Return how many inputs of a call a client may send ahead: a few times the capacity of the pool.

    Args:
        duration: Mean seconds of one input, None when nothing has been measured.
        workers: Workers of the pool.
        at_once: Inputs that each of them runs at once.
    """
    if duration is None:
        return WINDOW_MIN
    ahead = max(at_once, int(BATCH_SECONDS / max(duration, 1e-7)))
    held = min(BATCH_MAX, ahead) * max(workers, 1)
    return max(WINDOW_MIN, min(4 * held, WINDOW_MAX))
