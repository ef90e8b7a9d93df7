"""What the main thread and user code have to say to the hub, until the link's thread takes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from nbfn.wire.messages import Message, Payload, Result


class Text(NamedTuple):
    """A piece of what user code wrote."""

    lease: int
    channel: str
    text: str


class Item(NamedTuple):
    """A value that a generator yielded."""

    lease: int
    number: int
    payload: Payload


Entry = Result | Text | Item | Message


class Outbox:
    """A deque and two flags; appending is atomic, so there is no lock.

    Attributes:
        entries: What is to be sent.
        watched: The link's thread will look within a few milliseconds; nobody need wake it.
        urgent: It should look at once.
    """

    __slots__ = ("entries", "urgent", "wake", "watched")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.entries: deque[Entry] = deque()
        self.watched = False
        self.urgent = False
        self.wake = wake

    def put(self, entry: Entry) -> None:
        """Send soon, together with what else comes."""
        self.entries.append(entry)
        if not self.watched:
            self.watched = True
            self.wake()

    def hurry(self) -> None:
        """Send all of it now."""
        self.urgent = True
        self.wake()
