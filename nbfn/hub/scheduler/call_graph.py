"""The call graph in memory: which input's code made which call. Bounded; the latest calls are kept.

`call_graph_query` merges it with the stored part.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Most calls, and most outcomes of inputs, that are kept.
MEMBERS, OUTCOMES = 10_000, 50_000
#: Most outcomes of one call.
OF_ONE = 5000


class CallNode:
    """One call of the graph."""

    __slots__ = ("call", "children", "function", "module", "outcomes", "parent")

    def __init__(self, call: str, parent: str, function: str, module: str) -> None:
        self.call = call
        self.parent = parent  # the caller's call and index
        self.function = function
        self.module = module
        self.outcomes: dict[int, tuple[int, str]] = {}  # index -> status, worker
        self.children: dict[str, None] = {}  # calls that its code made


class CallGraph:
    """The call graphs of all calls, as one forest."""

    def __init__(self) -> None:
        self.nodes: dict[str, CallNode] = {}  # least recently changed first
        self._outcomes = 0

    def add(self, node: CallNode) -> None:
        """Add a call, after the call of its parent."""
        if node.call in self.nodes:
            return
        self.nodes[node.call] = node
        above = self.nodes.pop(node.parent.partition(":")[0], None)
        if above is not None:
            above.children[node.call] = None
            self.nodes[above.call] = above
        self._shrink()

    def record_outcomes(self, call: str, outcomes: Iterable[tuple[int, int, str]]) -> None:
        """Add outcomes (index, status, worker) of a call, if it is in the graph."""
        node = self.nodes.get(call)
        if node is None:
            return
        before = len(node.outcomes)
        for index, status, worker in outcomes:
            if len(node.outcomes) < OF_ONE:
                node.outcomes[index] = (status, worker)
        self._outcomes += len(node.outcomes) - before
        self._shrink()

    def reopen(self, call: str, indices: Iterable[int]) -> None:
        """Remove outcomes of inputs that run again."""
        node = self.nodes.get(call)
        if node is None:
            return
        for index in indices:
            self._outcomes -= node.outcomes.pop(index, None) is not None

    def _shrink(self) -> None:
        while len(self.nodes) > MEMBERS or self._outcomes > OUTCOMES:
            oldest = self.nodes.pop(next(iter(self.nodes)))
            self._outcomes -= len(oldest.outcomes)
            above = self.nodes.get(oldest.parent.partition(":")[0])
            if above is not None:
                above.children.pop(oldest.call, None)

    def relatives(self, call: str) -> list[str]:
        """Return all calls in the same tree as a call, including itself."""
        top, seen = call, {call}
        while (node := self.nodes.get(top)) is not None and node.parent:
            top = node.parent.partition(":")[0]
            if top in seen:
                break  # clients choose the ids, so they may form a cycle
            seen.add(top)
        found = dict.fromkeys([top, *seen])
        children = list(found)
        while children:
            node = self.nodes.get(children.pop())
            for child in node.children if node is not None else ():
                if child not in found:
                    found[child] = None
                    children.append(child)
        return list(found)
