"""`FailedInputs`: keeps the failed inputs of a map, so that they can be run again. Bounded."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable

from nbfn.protocol.messages import Payload
from nbfn.serialization.payload import Serializer

#: Most inputs of one map that are kept, and most bytes; of further failures only the error is known.
KEPT, KEPT_BYTES = 10_000, 64 * 1024 * 1024


class FailedInputs:
    """Pickled inputs by their index.

    Args:
        serializer: The serializer of this process, in whose shared memory large inputs stay until they are dropped.
    """

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self._payloads: dict[int, Payload] = {}
        self._size = 0
        self._lock = threading.Lock()
        weakref.finalize(self, _discard, serializer, self._payloads)

    def keep(self, index: int, payload: Payload) -> bool:
        """Keep an input; return False if the limits are reached."""
        size = size_of(payload)
        with self._lock:
            if len(self._payloads) >= KEPT or self._size + size > KEPT_BYTES:
                return False
            self._payloads[index] = payload
            self._size += size
            return True

    def take(self, indices: Iterable[int] | None = None) -> dict[int, Payload]:
        """Remove inputs and return them, in the order of their indices.

        Args:
            indices: Which ones, as far as they are kept; all when not given.
        """
        with self._lock:
            wanted = (
                self._payloads.keys() if indices is None else self._payloads.keys() & {*indices}
            )
            found = {index: self._payloads.pop(index) for index in sorted(wanted)}
            self._size -= sum(map(size_of, found.values()))
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
            return sorted(self._payloads)

    def __len__(self) -> int:
        return len(self._payloads)


def size_of(payload: Payload) -> int:
    """Return the bytes of a payload, including those in shared memory."""
    return len(payload.data) + sum(segment.size for segment in payload.segments)


def _discard(serializer: Serializer, payloads: dict[int, Payload]) -> None:
    for payload in payloads.values():
        serializer.discard(payload)
