"""How a measurement is to be made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said."""

    quick: bool = False
    with_ray: bool = False

    def count(self, full: int, quick: int) -> int:
        """Return how often something is repeated."""
        return quick if self.quick else full
