"""Answers queries about the history of calls and about the inputs of a call, from memory and from the store."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from nbfn.hub.overview_rows import OverviewRows
from nbfn.hub.query_results import StoredCallRow, StoredHistory, StoredInputRows
from nbfn.hub.scheduler import call_state, status
from nbfn.hub.scheduler.effects import LoadHistory, LoadInputRows
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Input
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import InputState
from nbfn.protocol.codec import fitting
from nbfn.protocol.messages import Message, Output

#: The most calls, and the most inputs, in one answer.
MOST_CALLS, MOST_INPUTS = 1000, 1000
#: The largest place: before all calls.
_START = (math.inf, "")


class HistoryQueries:
    """Answers `GetCalls` and `GetInputs`.

    Args:
        hub_state: The state of the state machine; it is only read.
        rows: Builds rows of calls.
    """

    def __init__(self, hub_state: HubState, rows: OverviewRows) -> None:
        self._hub_state = hub_state
        self._rows = rows

    # --- calls ---

    def load(self, client: str, message: m.GetCalls) -> LoadHistory:
        """Return what to read from the store for a query."""
        search = message.search.casefold()
        functions = [
            record.id
            for record in self._hub_state.registry.functions.values()
            if search and (search in record.name.casefold() or search in record.app.casefold())
        ]
        return LoadHistory(
            *(client, message.request, message.states, message.since, search, functions),
            *(min(message.limit, MOST_CALLS), _place(message.before)),
        )

    def calls(self, stored: StoredHistory) -> Message:
        """Return the answer to a query, with what the store has."""
        wanted, t = stored.wanted, self._hub_state
        # Below this place, the store may have calls that were not read.
        least = stored.last or (-math.inf, "")
        in_memory = [row for row in self._in_memory(wanted) if (row.started, row.id) >= least]
        on_disk = [self._row(call) for call in stored.calls if call.id not in t.calls]
        newest = heapq.nlargest(
            wanted.limit + 1, [*in_memory, *on_disk], key=lambda row: (row.started, row.id)
        )
        shown = fitting(newest[: wanted.limit])
        more = len(shown) < len(newest) or stored.last is not None
        if len(shown) < len(newest) or stored.last is None:
            last = (shown[-1].started, shown[-1].id) if shown else _START
        else:
            last = stored.last
        following = f"{last[0]!r}:{last[1]}" if more else ""
        return m.Calls(wanted.request, t.wall_of(t.now), shown, following)

    def _in_memory(self, wanted: LoadHistory) -> Iterator[m.CallRow]:
        """Yield the matching calls that have not ended, and those that have ended and are not stored."""
        running, _ = status.running_inputs(self._hub_state)
        found = [
            *(self._rows.call(call, running[call]) for call in self._hub_state.calls.values()),
            *(
                self._rows.ended_call(call, ended)
                for call, ended in self._hub_state.history
                if not call.durable
            ),
        ]
        functions = frozenset(wanted.functions)
        for row in found:
            named = row.function_id in functions or any(
                wanted.search in text.casefold() for text in (row.origin, row.id)
            )
            if (
                (row.started, row.id) < wanted.before
                and row.started >= wanted.since
                and (not wanted.states or row.state in wanted.states)
                and (not wanted.search or named)
            ):
                yield row

    def _row(self, call: StoredCallRow) -> m.CallRow:
        record = self._hub_state.registry.functions.get(call.function)
        name = record.name if record is not None else "(deleted)"
        counts = call.counts
        took = (call.ended or call.created) - call.created
        return m.CallRow(
            id=call.id,
            function=f"{name}.{call.method}" if call.method else name,
            app=record.app if record is not None else "",
            kind=call.kind,
            state=call.state,
            total=counts.total,
            succeeded=counts.succeeded,
            failed=counts.failed,
            cancelled=counts.cancelled,
            running=0,
            waiting=0,
            not_run=counts.not_run,
            age=round(max(took, 0.0), 3),
            origin=call.origin,
            function_id=call.function,
            version=call.version,
            started=call.created,  # exact, since a page ends there
            ended=call.ended if call.ended is not None else call.created,
            durable=True,
        )

    # --- inputs ---

    def load_inputs(self, client: str, message: m.GetInputs) -> LoadInputRows:
        """Return what to read from the store for a query."""
        limit = min(message.limit, MOST_INPUTS)
        names = (client, message.request, message.call, message.states, message.first)
        return LoadInputRows(*names, limit)

    def inputs(self, stored: StoredInputRows) -> Message:
        """Return the answer to a query, with what the store has."""
        wanted, t = stored.wanted, self._hub_state
        call = t.calls.get(wanted.call)
        row = self._call_row(call, stored)
        if row is None:
            text = f"No call has the id {wanted.call!r}: it was not stored, or was made long ago."
            return m.Failed(wanted.request, "not_found", text)
        found = [_ended(outcome, keep=row.total == 1) for outcome in stored.outcomes]
        if call is not None:
            found += self._unfinished(call, wanted, stored.next)
        if not row.durable:
            found += self._kept_failures(wanted)
        found.sort(key=lambda each: each.index)
        shown = fitting(found[: wanted.limit])
        following = found[len(shown)].index if len(shown) < len(found) else stored.next
        return m.Inputs(
            *(wanted.request, t.wall_of(t.now), row, shown, following),
            *(stored.kept_until, stored.expired, call.pool.waiting_for if call else ""),
        )

    def _call_row(self, call: Call | None, stored: StoredInputRows) -> m.CallRow | None:
        if call is not None:
            return self._rows.call(call, call_state.running_inputs(self._hub_state, call))
        if stored.call is not None:
            return self._row(stored.call)
        for ended, at in reversed(self._hub_state.history):
            if ended.id == stored.wanted.call:
                return self._rows.ended_call(ended, at)
        return None

    def _unfinished(
        self, call: Call, wanted: LoadInputRows, end: int | None
    ) -> Iterator[m.InputRow]:
        """Yield inputs without an outcome, below ``end``."""
        workers = [w for w in self._hub_state.workers.values() if w.pool is call.pool]
        running = {item for worker in workers for item in call_state.running_at(worker)}
        count = 0
        for item in call.inputs.values():
            state = InputState.RUNNING if item in running else InputState.WAITING
            if item.index < wanted.first or (end is not None and item.index >= end):
                continue
            if not wanted.states or state in wanted.states:
                yield _row_of(item, state)
                count += 1
                if count > wanted.limit:
                    return

    def _kept_failures(self, wanted: LoadInputRows) -> Iterator[m.InputRow]:
        """Yield failures of a call that is not stored, as far as the hub has kept them."""
        if wanted.states and InputState.FAILED not in wanted.states:
            return
        latest = dict(self._hub_state.timeline.failures(wanted.call))
        call = self._hub_state.calls.get(wanted.call)
        for index, (attempt, exception) in latest.items():
            if index >= wanted.first and (call is None or index not in call.inputs):
                payload = m.Payload(exception)
                yield m.InputRow(index, InputState.FAILED, attempt, payload=payload)


def _ended(outcome: Output, *, keep: bool) -> m.InputRow:
    """Return the row of an input with an outcome; ``keep``: also with a result."""
    state = outcome.state
    kept = keep or state is InputState.FAILED
    return m.InputRow(
        *(outcome.index, state, outcome.attempt, outcome.worker, outcome.duration),
        *(outcome.payload if kept else None, outcome.fault if kept else None),
    )


def _row_of(item: Input, state: InputState) -> m.InputRow:
    return m.InputRow(item.index, state, item.attempt, item.worker.id if item.worker else "")


def _place(text: str) -> tuple[float, str]:
    """Return the place after which a page begins; the start if the text is not one."""
    started, _, call = text.partition(":")
    try:
        return float(started), call
    except ValueError:
        return _START
