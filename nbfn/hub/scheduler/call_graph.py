"""Who called whom, of calls made by the code of other calls: bounded, the latest are remembered.

What is on disk is not repeated here but for the links; `call_graph_query` puts both together.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Calls, and outcomes of inputs, that are remembered.
MEMBERS, OUTCOMES = 10_000, 50_000
#: Outcomes remembered of one call.
OF_ONE = 5000


class CallNode:
    """One call of a family."""

    __slots__ = ("call", "children", "function", "module", "outcomes", "parent")

    def __init__(self, call: str, parent: str, function: str, module: str) -> None:
        self.call = call
        self.parent = parent  # the caller's call and index
        self.function = function
        self.module = module
        self.outcomes: dict[int, tuple[int, str]] = {}  # index -> status, worker
        self.children: dict[str, None] = {}  # calls that its code made


class CallGraph:
    """The families of all calls, as one forest."""

    def __init__(self) -> None:
        self.nodes: dict[str, CallNode] = {}  # the longest unchanged first
        self._outcomes = 0

    def add(self, node: CallNode) -> None:
        """Remember a call; that of its parent is known already, if at all."""
        if node.call in self.nodes:
            return
        self.nodes[node.call] = node
        above = self.nodes.pop(node.parent.partition(":")[0], None)
        if above is not None:
            above.children[node.call] = None
            self.nodes[above.call] = above
        self._shrink()

    def record_outcomes(self, call: str, outcomes: Iterable[tuple[int, int, str]]) -> None:
        """Remember outcomes (index, status, worker) of a call, if it is of a family."""
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
        """Forget outcomes of a call: these inputs run again."""
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
        """Return the calls of the family that a call belongs to, itself included."""
        top, seen = call, {call}
        while (node := self.nodes.get(top)) is not None and node.parent:
            top = node.parent.partition(":")[0]
            if top in seen:
                break  # ids are the clients' own: they may name themselves
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
