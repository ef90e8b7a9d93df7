"""Answers `FunctionCall.get_call_graph`: merges the call graph in memory with the stored part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nbfn.hub.scheduler.effects import LoadGraph
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

#: Most inputs in one answer.
MOST_INPUTS = 5000

#: Call, index, parent (call and index), status, function, module, worker.
Row = tuple[str, int, str, int, str, str, str]


def requested(t: HubState, sender: str, message: m.GetCallGraph) -> None:
    """Load the stored part of a call graph; the answer follows that."""
    t.emit(LoadGraph(sender, message.request, message.call, t.call_graph.relatives(message.call)))


def rows(t: HubState, calls: Iterable[str], stored: Iterable[Row]) -> list[Row]:
    """Return the inputs of some calls, callers first.

    Args:
        t: The state of the hub.
        calls: The calls of the graph that are in memory.
        stored: The inputs that are on disk.
    """
    found: dict[tuple[str, int], Row] = {(row[0], row[1]): row for row in stored}
    names = dict.fromkeys(calls)
    for name in dict.fromkeys(call for call, _ in found):
        if name not in names:
            names.update(dict.fromkeys(t.call_graph.relatives(name)))
    for name in names:
        for row in _rows_in_memory(t, name):
            if len(found) >= MOST_INPUTS:
                break
            key = (row[0], row[1])
            if key not in found or not InputStatus(found[key][3]).final:
                found[key] = row
    return _callers_first(list(found.values()))


def _rows_in_memory(t: HubState, name: str) -> Iterable[Row]:
    node = t.call_graph.nodes.get(name)
    if node is not None:
        for index, (status, worker) in node.outcomes.items():
            yield (
                name,
                index,
                node.parent,
                status,
                node.function,
                node.module,
                worker,
            )
    call = t.calls.get(name)
    if call is not None:
        function, module = name_of(call), call.pool.definition.module
        for item in call.inputs.values():
            worker = item.worker.id if item.worker is not None else ""
            yield (name, item.index, call.parent, int(item.status), function, module, worker)


def name_of(call: Call) -> str:
    """Return the displayed name of the Function or method of a call."""
    name = call.pool.record.name
    return f"{name}.{call.method}" if call.method else name


def _callers_first(found: Sequence[Row]) -> list[Row]:
    known = {f"{row[0]}:{row[1]}" for row in found}
    children: dict[str, list[Row]] = {}
    for row in sorted(found, key=lambda row: (row[0], row[1])):
        children.setdefault(row[2] if row[2] in known else "", []).append(row)
    ordered: list[Row] = []
    waiting = children.pop("", [])[::-1]
    while waiting:
        row = waiting.pop()
        ordered.append(row)
        waiting.extend(children.pop(f"{row[0]}:{row[1]}", [])[::-1])
    return ordered
