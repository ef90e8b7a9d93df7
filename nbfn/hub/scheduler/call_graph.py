"""Who called whom, of calls made by the code of other calls: bounded, the latest are remembered.

What is on disk is not repeated here but for the links; `call_graph_query` puts both together.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Calls, and outcomes of inputs, that are remembered.
MEMBERS, OUTCOMES = 10_000, 50_000
#: Outcomes remembered of one call.
OF_ONE = 5000


class Member:
    """One call of a family."""

    __slots__ = ("below", "call", "function", "module", "outcomes", "parent")

    def __init__(self, call: str, parent: str, function: str, module: str) -> None:
        self.call = call
        self.parent = parent  # the caller's call and index
        self.function = function
        self.module = module
        self.outcomes: dict[int, tuple[int, str]] = {}  # index -> status, worker
        self.below: dict[str, None] = {}  # calls that its code made


class Family:
    """The families of all calls, as one forest."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}  # the longest unchanged first
        self._outcomes = 0

    def add(self, member: Member) -> None:
        """Remember a call; that of its parent is known already, if at all."""
        if member.call in self.members:
            return
        self.members[member.call] = member
        above = self.members.pop(member.parent.partition(":")[0], None)
        if above is not None:
            above.below[member.call] = None
            self.members[above.call] = above
        self._shrink()

    def settle(self, call: str, outcomes: Iterable[tuple[int, int, str]]) -> None:
        """Remember outcomes (index, status, worker) of a call, if it is of a family."""
        member = self.members.get(call)
        if member is None:
            return
        before = len(member.outcomes)
        for index, status, worker in outcomes:
            if len(member.outcomes) < OF_ONE:
                member.outcomes[index] = (status, worker)
        self._outcomes += len(member.outcomes) - before
        self._shrink()

    def reopen(self, call: str, indices: Iterable[int]) -> None:
        """Forget outcomes of a call: these inputs run again."""
        member = self.members.get(call)
        if member is None:
            return
        for index in indices:
            self._outcomes -= member.outcomes.pop(index, None) is not None

    def _shrink(self) -> None:
        while len(self.members) > MEMBERS or self._outcomes > OUTCOMES:
            oldest = self.members.pop(next(iter(self.members)))
            self._outcomes -= len(oldest.outcomes)
            above = self.members.get(oldest.parent.partition(":")[0])
            if above is not None:
                above.below.pop(oldest.call, None)

    def relatives(self, call: str) -> list[str]:
        """Return the calls of the family that a call belongs to, itself included."""
        top, seen = call, {call}
        while (member := self.members.get(top)) is not None and member.parent:
            top = member.parent.partition(":")[0]
            if top in seen:
                break  # ids are the clients' own: they may name themselves
            seen.add(top)
        found = dict.fromkeys([top, *seen])
        below = list(found)
        while below:
            member = self.members.get(below.pop())
            for child in member.below if member is not None else ():
                if child not in found:
                    found[child] = None
                    below.append(child)
        return list(found)
