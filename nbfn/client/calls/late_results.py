"""`LateResults`: keeps results that arrive after a map was stopped. Bounded."""

from __future__ import annotations

from collections.abc import Iterable

from nbfn.protocol.messages import Output
from nbfn.serialization.payload import Serializer
from nbfn.types import InputStatus

#: Most bytes of these results that are kept.
KEPT_BYTES = 4 * 1024 * 1024


class LateResults:
    """The results of inputs that ran to their end although their map was stopped.

    Args:
        serializer: The serializer of this process. Results in shared memory are not kept.
    """

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self._size = 0
        self.outputs: list[Output] = []

    def add(self, outputs: Iterable[Output]) -> None:
        """Keep those of these outputs that are results."""
        for output in outputs:
            payload = output.payload
            if payload is None:
                continue
            kept = output.status == InputStatus.SUCCESS and not payload.segments
            if not kept or self._size + payload.weight > KEPT_BYTES:
                self._serializer.discard(payload)
                continue
            self._size += payload.weight
            self.outputs.append(output)
