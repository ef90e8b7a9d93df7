"""Sends clients that watch the overview what changes in it; finds the changes once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from nbfn.hub.overview_rows import OverviewRows
from nbfn.hub.scheduler import overview_marks, status
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.worker_processes import memory_of
from nbfn.protocol import messages as m
from nbfn.protocol.codec import MOST_OF_ANSWER, fitting
from nbfn.protocol.messages import Message

#: Seconds between two messages to the clients, and between two measurements of the memory of workers.
INTERVAL, MEMORY_INTERVAL = 0.25, 2.0
#: Changes of a worker's memory below this fraction are not sent.
_NOISE = 0.02
_A_THIRD = MOST_OF_ANSWER // 3

Row = m.FunctionRow | m.CallRow | m.WorkerRow
Kind = TypeVar("Kind", m.FunctionRow, m.CallRow, m.WorkerRow)


class OverviewFeed:
    """The clients that watch the overview, and what they know.

    Args:
        hub_state: The state of the state machine.
        rows: Builds the rows.
        send: Sends a message to a client.
    """

    def __init__(
        self, hub_state: HubState, rows: OverviewRows, send: Callable[[str, Message], None]
    ) -> None:
        self._hub_state = hub_state
        self._rows = rows
        self._send = send
        self._clients: set[str] = set()
        self._marks: dict[str, overview_marks.Mark] = {}
        self._memory: dict[str, int] = {}
        self._sent_at = self._measured_at = -INTERVAL
        self._hub: m.HubRow | None = None

    def add(self, client: str, now: float) -> None:
        """Send all rows to a client, and from now on what changes."""
        self._publish(now)
        self._clients.add(client)
        self._marks.clear()
        self._measure(now)
        self._send(client, self._message(now, complete=True))

    def remove(self, client: str) -> None:
        """Forget a client."""
        self._clients.discard(client)

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds there is something to send, or None."""
        if not self._clients or not self._hub_state.overview_changed:
            return None
        return max(0.0, self._sent_at + INTERVAL - now)

    def update(self, now: float) -> None:
        """Send what has changed, at most every `INTERVAL` seconds."""
        if not self._clients or now - self._sent_at < INTERVAL:
            return
        if now - self._measured_at >= MEMORY_INTERVAL:
            self._measure(now)
        if self._hub_state.overview_changed:
            self._publish(now)

    def _publish(self, now: float) -> None:
        if not self._clients:
            return
        hub = self._hub
        message = self._message(now, complete=False)
        self._sent_at = now
        if (
            message.hub != hub
            or message.functions
            or message.calls
            or message.workers
            or message.gone
        ):
            for client in list(self._clients):
                self._send(client, message)

    def _message(self, now: float, *, complete: bool) -> m.OverviewChanges:
        """Return the rows that have changed since the last message, or all."""
        t = self._hub_state
        t.now, t.overview_changed = now, False
        rows, gone = self._changed_rows()
        self._hub = self._rows.hub()
        return m.OverviewChanges(
            t.revision,
            t.wall_of(now),
            self._hub,
            len(t.calls),
            _of_kind(rows, m.FunctionRow),
            _of_kind(rows, m.CallRow),
            _of_kind(rows, m.WorkerRow),
            gone,
            complete,
        )

    def _changed_rows(self) -> tuple[list[Row], tuple[str, ...]]:
        """Return the rows whose marks have changed, and the ids of rows that are gone."""
        before, self._marks = self._marks, {}
        changed: list[Row] = []
        self._compare_functions_and_calls(before, changed)
        t, marks = self._hub_state, self._marks
        for worker in t.workers.values():
            memory = self._memory.get(worker.id)
            marks[worker.id] = mark = (*overview_marks.of_worker(worker), memory)
            if before.get(worker.id) != mark:
                changed.append(self._rows.worker(worker, memory))
        return changed, tuple(name for name in before if name not in marks)

    def _compare_functions_and_calls(
        self, before: dict[str, overview_marks.Mark], changed: list[Row]
    ) -> None:
        t, rows, marks = self._hub_state, self._rows, self._marks
        by_call, by_function = status.running_inputs(t)
        for record in status.shown_functions(t):
            name, running = record.id, by_function.get(record.id, 0)
            marks[name] = mark = overview_marks.of_function(t, record, running)
            if before.get(name) != mark:
                changed.append(rows.function(record, running))
        connected = overview_marks.connected_clients(t)
        for call in status.shown_calls(t):
            name, running = call.id, by_call.get(call, 0)
            marks[name] = mark = overview_marks.of_call(call, running, connected)
            if before.get(name) != mark:
                changed.append(rows.call(call, running))
        for call, ended in t.history:
            if call.id not in t.calls:  # it is not retried
                marks[call.id] = mark = (ended,)
                if before.get(call.id) != mark:
                    changed.append(rows.ended_call(call, ended))

    def _measure(self, now: float) -> None:
        """Measure the memory of the workers; ignore small changes."""
        self._measured_at = now
        known, self._memory = self._memory, {}
        for worker in self._hub_state.workers.values():
            memory, before = memory_of(worker.pid), known.get(worker.id)
            if memory is None:
                continue
            if before is not None and abs(memory - before) <= _NOISE * before:
                memory = before
            elif before is not None:
                self._hub_state.overview_changed = True
            self._memory[worker.id] = memory


def _of_kind(rows: list[Row], kind: type[Kind]) -> tuple[Kind, ...]:
    return fitting((row for row in rows if isinstance(row, kind)), _A_THIRD)
