"""Inputs of this process's calls that failed, remembered for who wants to run one again here; bounded.

Only for calls that the hub does not keep. What lies in shared memory is too large to be remembered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from nbfn.protocol.messages import FunctionInfo, Payload

#: Inputs that are remembered, and bytes of them, of all calls together.
MOST, MOST_BYTES = 2_000, 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RecentFailure:
    """One input: what was called with what."""

    function: FunctionInfo
    version: int
    payload: Payload


_inputs: OrderedDict[tuple[str, int], RecentFailure] = OrderedDict()
_turn = threading.Lock()
_size = 0


def keep(call: str, index: int, function: FunctionInfo, version: int, payload: Payload) -> None:
    """Remember an input that failed; the oldest ones are forgotten for it."""
    global _size
    if payload.segments or len(payload.data) > MOST_BYTES:
        return
    with _turn:
        _inputs[call, index] = RecentFailure(function, version or function.version, payload)
        _size += len(payload.data)
        while len(_inputs) > MOST or _size > MOST_BYTES:
            _, gone = _inputs.popitem(last=False)
            _size -= len(gone.payload.data)


def find(call: str, index: int) -> RecentFailure | None:
    """Return an input that failed, if it is remembered."""
    return _inputs.get((call, index))
