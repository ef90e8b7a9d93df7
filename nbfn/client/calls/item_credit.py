"""Flow control of a generator: how many items, and how many bytes of them, may be in flight."""

from __future__ import annotations

from nbfn.protocol.messages import ITEM_BYTES, ITEM_WINDOW


class ItemCredit:
    """Counts the items that were consumed, and decides when to send the worker new credit.

    The worker stops `ITEM_BYTES` after the last credit, so a new one is sent when half of that was consumed.

    Attributes:
        upto: The number of the item before which the worker stops.
    """

    def __init__(self) -> None:
        self.upto = ITEM_WINDOW
        self._taken = 0
        self._weight = 0  # of items consumed since the last credit

    def take(self, count: int, weight: int) -> bool:
        """Count consumed items, of ``weight`` bytes together; return whether to send the worker `upto`."""
        self._taken += count
        self._weight += weight
        if self.upto - self._taken >= ITEM_WINDOW // 2 and self._weight < ITEM_BYTES // 2:
            return False
        self.upto = self._taken + ITEM_WINDOW
        self._weight = 0
        return True
