"""Keeps the latest failed inputs of this process's calls, so that one can be run again here. Bounded.

Only for calls that the hub does not store. Inputs in shared memory are too large to be kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from nbfn.protocol.messages import FunctionInfo, Payload

#: Most inputs that are kept, and most bytes, of all calls together.
MOST, MOST_BYTES = 2_000, 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RecentFailure:
    """A failed input: its Function and its pickled arguments."""

    function: FunctionInfo
    version: int
    payload: Payload


_inputs: OrderedDict[tuple[str, int], RecentFailure] = OrderedDict()
_turn = threading.Lock()
_size = 0


def keep(call: str, index: int, function: FunctionInfo, version: int, payload: Payload) -> None:
    """Keep an input that failed; the oldest ones are dropped."""
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
    """Return a failed input, if it is kept."""
    return _inputs.get((call, index))
