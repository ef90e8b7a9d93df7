"""What a worker became: the callables that inputs name, and the object around them.

A Function has one target, under the name ""; a class has one for each method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbfn.wire.messages import Definition
from nbfn.wire.payload import Carrier
from nbfn_kernel import objects


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that inputs can call."""

    name: str  # for people
    function: Callable[..., Any]
    is_generator: bool
    is_async: bool


class Service:
    """The Function version that this worker runs.

    Args:
        carrier: Of this process.
        definition: What the hub was told of it.

    Raises:
        DeserializationError: If it cannot be rebuilt here.
        Exception: What its code raised when it was loaded.
    """

    def __init__(self, carrier: Carrier, definition: Definition) -> None:
        self.definition = definition
        function = objects.load(carrier, definition)
        self.targets = {
            "": Target(definition.name, function, definition.is_generator, definition.is_async)
        }

    def close(self) -> None:
        """Let go of it, in good order: no input will come any more."""
