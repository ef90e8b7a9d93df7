"""`FailedInputs`: the inputs of a map that failed, kept so that they can be run again; bounded."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable

from nbfn.protocol.messages import Payload
from nbfn.serialization.payload import Carrier

#: Inputs of one map that are kept, and bytes of them; of what fails beyond that only the error is known.
KEPT, KEPT_BYTES = 10_000, 64 * 1024 * 1024


class FailedInputs:
    """Pickled inputs by their index.

    Args:
        carrier: Of this process: large inputs lie in its shared memory until they are dropped.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._payloads: dict[int, Payload] = {}
        self._size = 0
        self._lock = threading.Lock()
        weakref.finalize(self, _discard, carrier, self._payloads)

    def keep(self, index: int, payload: Payload) -> bool:
        """Keep an input; False when it is too much."""
        size = size_of(payload)
        with self._lock:
            if len(self._payloads) >= KEPT or self._size + size > KEPT_BYTES:
                return False
            self._payloads[index] = payload
            self._size += size
            return True

    def take(self, indices: Iterable[int] | None = None) -> dict[int, Payload]:
        """Return inputs, in the order of their indices, and keep them no longer.

        Args:
            indices: Which, as far as they are kept; all when not given.
        """
        with self._lock:
            wanted = (
                self._payloads.keys() if indices is None else self._payloads.keys() & {*indices}
            )
            found = {index: self._payloads.pop(index) for index in sorted(wanted)}
            self._size -= sum(map(size_of, found.values()))
            return found

    def clear(self) -> None:
        """Keep none any longer."""
        _discard(self._carrier, self.take())

    @property
    def size(self) -> int:
        """The bytes of what is kept."""
        return self._size

    @property
    def indices(self) -> list[int]:
        """Which inputs are kept."""
        with self._lock:
            return sorted(self._payloads)

    def __len__(self) -> int:
        return len(self._payloads)


def size_of(payload: Payload) -> int:
    """Return the bytes that a payload holds, in shared memory too."""
    return len(payload.data) + sum(segment.size for segment in payload.segments)


def _discard(carrier: Carrier, payloads: dict[int, Payload]) -> None:
    for payload in payloads.values():
        carrier.discard(payload)
