"""`FailedInputs`: keeps the inputs of a map that have no result, so that they can be run again. Bounded."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable
from typing import NamedTuple

from nbfn.protocol.call_states import InputState
from nbfn.protocol.messages import Payload
from nbfn.serialization.payload import Serializer

#: Most inputs of one map that are kept, and most bytes; of further failures only the error is known.
KEPT, KEPT_BYTES = 10_000, 64 * 1024 * 1024


class KeptInput(NamedTuple):
    """A pickled input, and how it ended: it failed, was cancelled, or did not run."""

    payload: Payload
    state: InputState


class FailedInputs:
    """Pickled inputs by their index.

    Args:
        serializer: The serializer of this process, in whose shared memory large inputs stay until they are dropped.
    """

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self._inputs: dict[int, KeptInput] = {}
        self._size = 0
        self._lock = threading.Lock()
        weakref.finalize(self, _discard, serializer, self._inputs)

    def keep(self, index: int, payload: Payload, state: InputState) -> bool:
        """Keep an input; return False if the limits are reached."""
        size = size_of(payload)
        with self._lock:
            if len(self._inputs) >= KEPT or self._size + size > KEPT_BYTES:
                return False
            self._inputs[index] = KeptInput(payload, state)
            self._size += size
            return True

    def take(self, indices: Iterable[int] | None = None) -> dict[int, KeptInput]:
        """Remove inputs and return them, in the order of their indices.

        Args:
            indices: Which ones, as far as they are kept; all when not given.
        """
        with self._lock:
            wanted = self._inputs.keys() if indices is None else self._inputs.keys() & {*indices}
            found = {index: self._inputs.pop(index) for index in sorted(wanted)}
            self._size -= sum(size_of(kept.payload) for kept in found.values())
            return found

    def clear(self) -> None:
        """Drop all inputs."""
        _discard(self._serializer, self.take())

    @property
    def size(self) -> int:
        """The bytes of the kept inputs."""
        return self._size

    @property
    def indices(self) -> list[int]:
        """The indices of the kept inputs."""
        with self._lock:
            return sorted(self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)


def size_of(payload: Payload) -> int:
    """Return the bytes of a payload, including those in shared memory."""
    return len(payload.data) + sum(segment.size for segment in payload.segments)


def _discard(serializer: Serializer, inputs: dict[int, KeptInput]) -> None:
    for kept in inputs.values():
        serializer.discard(kept.payload)
