"""Credit of a generator's consumer: how many items, and how many bytes of them, may be under way."""

from __future__ import annotations

from nbfn.protocol.messages import ITEM_BYTES, ITEM_WINDOW


class ItemCredit:
    """Counts what was taken; tells when the worker is to be told.

    The worker stops after `ITEM_BYTES` since it was told last, so it is told again at the latest
    when half of that was taken.

    Attributes:
        upto: The number of the item before which the worker stops.
    """

    def __init__(self) -> None:
        self.upto = ITEM_WINDOW
        self._taken = 0
        self._weight = 0  # of what was taken since the worker was told

    def take(self, count: int, weight: int) -> bool:
        """Note items that were taken, of so many bytes in all; return whether to tell the worker `upto`."""
        self._taken += count
        self._weight += weight
        if self.upto - self._taken >= ITEM_WINDOW // 2 and self._weight < ITEM_BYTES // 2:
            return False
        self.upto = self._taken + ITEM_WINDOW
        self._weight = 0
        return True
