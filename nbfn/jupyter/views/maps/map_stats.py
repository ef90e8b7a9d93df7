"""The statistics of a map: counters, one byte for each input, groups of errors, the last log lines.

Has no clock and no I/O: methods get the time as an argument.
"""

from __future__ import annotations

import heapq
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from nbfn.jupyter.views.status_style import look_of
from nbfn.protocol.call_states import NO_INPUTS, CallState, InputCounts, with_running

#: Inputs of a group of errors that are named.
NAMED_INPUTS = 8
#: Maximum number of cells of the heat strip; with more inputs, a cell represents several.
STRIP_CELLS = 2000
#: Log lines kept for the widget, and the maximum length of one.
LOG_LINES, LOG_WIDTH = 200, 400
#: Inputs whose unfinished last line is kept.
PARTIAL_LINES = 1000
#: Groups of errors; further ones are counted as "other errors".
MAX_GROUPS = 50
#: States of inputs in the heat strip.
WAITING, DONE, CANCELLED, FAILED = 0, 1, 2, 3
#: Durations of the last inputs, for the percentiles.
MAX_DURATIONS = 4096
#: Failed inputs whose group is kept, so that they can be retried by group.
MAX_RETRYABLE = 10_000
#: Finished inputs that an estimate of the remaining time needs.
MIN_DONE = 5
#: Median seconds below which the overhead dominates, so that the rate gives the better estimate.
SHORT_INPUT = 0.02
#: Seconds without a finished input after which a map is stalled: if no input runs, and if some run (in
#: addition to the duration of inputs).
PAUSE, STALLED = 1.0, 10.0

_VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+(?:\.\d+)?|'[^']*'|\"[^\"]*\"")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(slots=True)
class ErrorGroup:
    """Errors with the same type, message pattern and line of the user's code."""

    kind: str
    message: str
    where: str
    count: int = 0
    first: int = 0
    trace: str = ""
    indices: set[int] = field(default_factory=set)

    @property
    def inputs(self) -> str:
        """The first of its inputs, as text.

        Examples:
            >>> ErrorGroup("ValueError", "", "", 5, indices={1, 7, 2, 9, 12}).inputs
            'inputs 1, 2, 7, 9, 12'
        """
        first = heapq.nsmallest(NAMED_INPUTS, self.indices)
        if not first:
            return ""
        more = f" and {self.count - len(first):,} more" if self.count > len(first) else ""
        return f"input{'s' if self.count > 1 else ''} {', '.join(map(str, first))}{more}"


@dataclass(slots=True)
class MapStats:
    """The statistics of one map.

    Attributes:
        began: When the call began; all times are of the same clock.
        ended: When it ended, or None.
        total: The number of inputs; None while more may come than are known.
        state: The state: a `CallState`, or reconnecting.
        counts: The inputs that have ended, by their states, and the known ones as ``total``.
        retryable: Inputs without a result that can be run again.
        disconnected: Whether the hub does not answer.
        detached: Whether it runs without the cell that started it.
        newest_version: A newer version of the Function, or 0.
        held: What the client waits for while the hub has no inputs of the map.
        note: The result of the last button.
    """

    name: str
    app: str
    version: int
    call: str
    began: float
    total: int | None = None
    state: str = "queued"
    counts: InputCounts = NO_INPUTS
    retryable: int = 0
    disconnected: bool = False
    detached: bool = False
    newest_version: int = 0
    note: str = ""
    retrying: int = 0
    workers: int = 0
    starting: int = 0
    most_workers: int = 0
    waiting_for: str = ""
    held: str = ""
    ended: float | None = None
    error: str = ""
    lines: int = 0
    revision: int = 0
    groups: dict[tuple[str, str, str], ErrorGroup] = field(default_factory=dict)
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    _reported: int = 0  # inputs that ran when the hub last reported
    _hub_state: str = "queued"  # the state that the hub last reported
    _partial: dict[int, str] = field(default_factory=dict)
    _states: bytearray = field(default_factory=bytearray)
    _durations: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_DURATIONS))
    _group_of: dict[int, ErrorGroup] = field(default_factory=dict)
    _rate: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=40))
    _last_ended: float = 0.0  # when the last input ended

    def __post_init__(self) -> None:
        if not self.counts.total:
            self.counts = replace(self.counts, total=self.total or 0)

    # --- events ---

    def update_counts(self, counts: InputCounts, now: float, *, more: bool = False) -> None:
        """Update the numbers of inputs that have ended.

        Args:
            counts: The numbers, and the known inputs as ``total``.
            now: The time.
            more: Whether more inputs may come than are known.
        """
        moved = counts.settled != self.done
        self.counts = replace(counts, running=0, waiting=0)
        self.total = None if more else counts.total
        if moved:
            self._last_ended = now
        if not self._rate or now - self._rate[-1][0] >= 0.25:
            self._rate.append((now, self.done))
        self._update_state()

    @property
    def done(self) -> int:
        """The number of inputs that have ended."""
        return self.counts.settled

    @property
    def failed(self) -> int:
        """The number of inputs that failed."""
        return self.counts.failed

    @property
    def running(self) -> int:
        """The number of inputs that run: what the hub reported, but no more than have no outcome."""
        return self.all_counts.running

    @property
    def all_counts(self) -> InputCounts:
        """The number of inputs in each state."""
        if self.ended is not None:
            return self.counts
        return with_running(self.counts, self._reported)

    def add_ended(
        self, indices: Sequence[int], ended: Iterable[int], durations: Iterable[float]
    ) -> None:
        """Set the states of inputs that ended.

        Args:
            indices: The inputs.
            ended: The state of each: `DONE`, `FAILED` or `CANCELLED` (also for inputs that did not run).
            durations: The seconds that inputs ran; not for cancelled ones.
        """
        states = self._states
        if indices and (missing := max(indices) + 1 - len(states)) > 0:
            states.extend(bytes(max(missing, len(states))))
        for index, state in zip(indices, ended, strict=True):
            states[index] = state
        self._durations.extend(durations)

    def add_error(
        self, kind: str, message: str, where: str, index: int, trace: Callable[[], str] = str
    ) -> None:
        """Add a failed input to its group of errors.

        Args:
            kind: The name of the exception's class.
            message: Its message.
            where: The user's line that raised it.
            index: The input.
            trace: Returns the traceback; called for the first error of a group.
        """
        if self._input_state(index) == CANCELLED:
            return
        key = (kind, _VARYING.sub("…", message), where)
        if key not in self.groups and len(self.groups) >= MAX_GROUPS:
            key = ("other errors", "", "")
        group = self.groups.get(key)
        if group is None:
            shown = message if key[0] == kind else ""
            group = self.groups[key] = ErrorGroup(key[0], shown, key[2], 0, index, trace())
        group.count += 1
        if len(self._group_of) < MAX_RETRYABLE:
            group.indices.add(index)
            self._group_of[index] = group
        self.revision += 1

    def restart(self, indices: Sequence[int], now: float) -> None:
        """Set the state of an ended map whose inputs run again.

        Args:
            indices: These inputs.
            now: The time.
        """
        for index in indices:
            self._ungroup(index)
            if index < len(self._states):
                self._states[index] = WAITING
        self.began, self.ended, self.error = now, None, ""
        self._reported, self._hub_state = 0, "queued"
        self._rate.clear()
        self._update_state()

    def _ungroup(self, index: int) -> None:
        """Remove an input from its group of errors."""
        group = self._group_of.pop(index, None)
        if group is None:
            return
        group.indices.discard(index)
        group.count -= 1
        if not group.count:
            self.groups = {key: g for key, g in self.groups.items() if g is not group}
        self.revision += 1

    def connected(self, *, up: bool) -> None:
        """Called when the hub connection drops or recovers."""
        self.disconnected = not up
        self._update_state()

    def _input_state(self, index: int) -> int:
        return self._states[index] if index < len(self._states) else WAITING

    def update_queue(
        self,
        *,
        state: str,
        running: int,
        retrying: int,
        workers: int,
        starting: int,
        why: str,
        known: int = 0,
        newest: int = 0,
    ) -> None:
        """Update the state of inputs that have not ended.

        Args:
            state: The state of the call.
            running: Inputs that run.
            retrying: Inputs that wait for a retry.
            workers: Workers of the Function.
            starting: Workers that start.
            why: What queued inputs wait for.
            known: Inputs that the hub knows so far.
            newest: A newer version of the Function, or 0.
        """
        self._hub_state, self._reported, self.retrying = state, running, retrying
        if self.counts.total < known:
            self.counts = replace(self.counts, total=known)
        # Only a map without running inputs shows a reason.
        self.workers, self.starting, self.waiting_for = workers, starting, "" if running else why
        self.most_workers = max(self.most_workers, workers)
        self.newest_version = newest
        self._update_state()

    def add_output(self, text: str, index: int = 0) -> None:
        """Add output to the log.

        Args:
            text: The output.
            index: The input that wrote it.
        """
        *whole, rest = (self._partial.pop(index, "") + text).split("\n")
        if rest:
            self._partial[index] = rest[-LOG_WIDTH:]
            if len(self._partial) > PARTIAL_LINES:
                whole.append(self._partial.pop(next(iter(self._partial))))
        for line in whole:
            self.lines += 1
            # A carriage return overwrites the line, as progress bars do: keep the last text.
            shown = _ANSI.sub("", line.rstrip("\r").rpartition("\r")[2])
            self.log.append(shown if len(shown) <= LOG_WIDTH else f"{shown[: LOG_WIDTH - 1]}…")

    @property
    def rewritten_lines(self) -> list[str]:
        """The current text of lines that are overwritten, such as progress bars."""
        lines = (
            text.rstrip("\r").rpartition("\r")[2]
            for text in list(self._partial.values())
            if "\r" in text
        )
        return [_ANSI.sub("", line).rstrip() for line in lines if line.strip()]

    def finish(self, state: str, error: str, now: float) -> None:
        """Set the end of the map.

        Args:
            state: The final state.
            error: The message of its error, or "".
            now: The time.
        """
        for index in list(self._partial):
            self.add_output("\n", index)
        self.state, self.error, self.ended = state, error, now
        self.retrying = 0

    def _update_state(self) -> None:
        if self.ended is not None:
            return
        if self.disconnected:
            self.state = "reconnecting"
        elif self.detached:
            self.state = CallState.DETACHED
        elif self.done and self._hub_state in ("queued", "starting"):
            self.state = CallState.RUNNING  # the hub's next report says so, too
        else:
            self.state = self._hub_state

    # --- derived values ---

    @property
    def look(self) -> str:
        """The key of its mark and colour."""
        return look_of(self.state, self.counts)

    def why(self, now: float) -> str:
        """Return why a map does not progress, and whether its Function has a newer version."""
        if self.ended is not None:
            return ""
        if self.disconnected:
            return "hub restarting"
        old = (
            f"running on v{self.version}, v{self.newest_version} exists"
            if self.newest_version
            else ""
        )
        return " · ".join(part for part in (self._waiting_reason(now), old) if part)

    def _waiting_reason(self, now: float) -> str:
        """Return what the map waits for while no input runs."""
        if self.waiting_for or self.running or self._idle_seconds(now) <= PAUSE:
            return self.waiting_for
        if self.all_counts.waiting > self.retrying:
            return "workers start" if self.starting and self.done else ""
        return "waiting to retry" if self.retrying else self.held

    def percentile(self, share: float) -> float | None:
        """Return a percentile of the durations of inputs; None before the first has ended."""
        if not self._durations:
            return None
        ordered = sorted(self._durations)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def elapsed(self, now: float) -> float:
        """Return the seconds since the map began, or that it took."""
        return max(0.0, (now if self.ended is None else self.ended) - self.began)

    def rate(self, now: float) -> float | None:
        """Return inputs per second: over the last ten seconds, or over the whole map if it has ended."""
        if self.ended is not None:
            return self.done / self.elapsed(now) if self.done and self.elapsed(now) else None
        recent = [(t, n) for t, n in self._rate if now - t <= 10.0]
        if len(recent) < 2:
            return None
        (t0, n0), (t1, n1) = recent[0], recent[-1]
        if self._idle_seconds(now) > PAUSE:
            t1 = now
        return (n1 - n0) / (t1 - t0) if t1 > t0 else None

    def remaining(self, now: float) -> float | None:
        """Return the estimated remaining seconds, or None: remaining inputs × median ÷ running inputs."""
        median, whole = self.percentile(0.5), self.total
        if whole is None or median is None or self.done < MIN_DONE or self.stalled(now):
            return None
        remaining = max(0, whole - self.done)
        if median < SHORT_INPUT:
            rate = self.rate(now)
            return remaining / rate if rate else None
        # As many inputs run at once as do now; other calls have the other workers.
        lanes = max(1, min(self.running or self.workers, remaining))
        return remaining * median / lanes

    def stalled(self, now: float) -> bool:
        """Whether the map does not progress, so that the remaining time cannot be estimated."""
        if self.ended is not None or self.disconnected:
            return True
        if (quiet := self._idle_seconds(now)) <= PAUSE:
            return False
        patience = STALLED + 3 * (self.percentile(0.5) or 0.0)
        return not (self.running and self.workers) or quiet > patience

    def _idle_seconds(self, now: float) -> float:
        """Return the seconds since the last input ended."""
        return now - max(self._last_ended, self.began)

    def strip(self) -> bytes:
        """Return the heat strip: three bytes for each input, or above `STRIP_CELLS` inputs for each bin of inputs.

        They are the percentages of inputs that succeeded, that failed, and that were cancelled or did not run.
        """
        count = self.total if self.total is not None else self._least_total()
        states = bytes(self._states[:count])
        if count <= STRIP_CELLS:
            return b"".join(map(_CELLS.__getitem__, states.ljust(count, b"\0")))
        cells = bytearray()
        for i in range(STRIP_CELLS):
            low, high = i * count // STRIP_CELLS, (i + 1) * count // STRIP_CELLS
            piece = states[low:high]
            cells += bytes(_share(piece.count(s), high - low) for s in (DONE, FAILED, CANCELLED))
        return bytes(cells)

    def _least_total(self) -> int:
        """Return the least possible number of inputs, while the total is not known."""
        return len(self._states.rstrip(b"\0"))


def _share(part: int, whole: int) -> int:
    """Return a percentage; 0 only for none, and 100 only for all."""
    if part in (0, whole):
        return 100 * bool(part)
    return min(99, max(1, 100 * part // whole))


#: Bytes of the heat strip for the states of single inputs.
_CELLS = (b"\0\0\0", b"\x64\0\0", b"\0\0\x64", b"\0\x64\0")
