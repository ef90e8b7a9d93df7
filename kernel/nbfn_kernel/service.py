"""What a worker became: the callables that inputs name, and the object around them.

A Function has one target, under the name ""; a class has one for each method.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from nbfn.wire.messages import Definition, Endpoint
from nbfn.wire.payload import Carrier
from nbfn_kernel import objects
from nbfn_kernel.asgi import Web

#: Runs a coroutine to its end.
Run = Callable[[Coroutine[Any, Any, Any]], Any]


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
        self._webs: list[Web] = []
        function = objects.load(carrier, definition)
        self.targets = {"": self._target(definition.name, function, definition.endpoint)}

    def _target(self, name: str, function: Callable[..., Any], endpoint: Endpoint | None) -> Target:
        if endpoint is None:
            return Target(name, function, self.definition.is_generator, self.definition.is_async)
        served = Web(name, endpoint, function)
        self._webs.append(served)
        return Target(name, served.serve, is_generator=True, is_async=True)

    def start(self, run: Run) -> None:
        """Be ready for inputs.

        Args:
            run: Runs a coroutine to its end, on the loop that will run those of inputs.
        """
        for served in self._webs:
            run(served.start())

    def close(self, run: Run) -> None:
        """Let go of it, in good order: no input will come any more.

        Args:
            run: As for `start`.
        """
        for served in self._webs:
            run(served.stop())
