"""Writes the output of a call below its cell: at once if no other call writes there, else in whole lines."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbfn.jupyter.cell_output import OutputArea
from nbfn.runtime.line_multiplexer import LineMultiplexer

if TYPE_CHECKING:
    from nbfn.protocol.messages import Emission

_CHANNELS = ("stdout", "stderr")


@dataclass(slots=True, eq=False)
class _Cell:
    """The calls that write to one cell."""

    voices: dict[str, LineMultiplexer]
    calls: set[Any] = field(default_factory=set)


_cells: dict[Any, _Cell] = {}
_turn = threading.Lock()


class CallOutput:
    """The output of one call.

    Args:
        area: The cell.
        many: Whether the call has several inputs, which write concurrently.
    """

    def __init__(self, area: OutputArea, *, many: bool = False) -> None:
        self._area = area
        self._many = many
        self._key = area.stream_key
        with _turn:
            found = _cells.get(self._key)
            if found is None:
                voices = {
                    name: LineMultiplexer(functools.partial(area.write, name)) for name in _CHANNELS
                }
                found = _cells[self._key] = _Cell(voices)
            found.calls.add(self)
        self._cell = found

    def emission(self, e: Emission) -> None:
        """Display output of an input."""
        who = (self, e.index)
        if e.channel in _CHANNELS:
            alone = not self._many and len(self._cell.calls) == 1
            text = e.data.decode("utf-8", "replace")
            self._cell.voices[e.channel].say(who, text, alone=alone)
        else:
            for voices in self._cell.voices.values():
                voices.flush(who)
            self._area.emit(e.channel, e.data)

    def end(self) -> None:
        """Write unfinished lines, and unregister the call from its cell."""
        for voices in self._cell.voices.values():
            if self._many:
                voices.end()
            else:
                voices.flush((self, 0))
        with _turn:
            self._cell.calls.discard(self)
            if not self._cell.calls:
                _cells.pop(self._key, None)
