"""The workers of a map's Function, asked for while somebody looks at them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from nbfn.client.client import Client
from nbfn.jupyter.views.maps.map_stats import MapStats

log = logging.getLogger("nbfn.client")

#: Seconds between two questions.
ASK_EVERY = 1.0
#: Most workers that are shown.
SHOWN = 50


class WorkerPoller:
    """Tells of the workers of one Function, once a second, from `watch` on until it is ended.

    Args:
        stats: The map.
        tell: Takes the rows; called on a thread of its own.
    """

    def __init__(self, stats: MapStats, tell: Callable[[list[dict[str, Any]]], None]) -> None:
        self._tally = stats
        self._tell = tell
        self._end = threading.Event()
        self._end.set()

    def watch(self, *, on: bool) -> None:
        """Begin, or end."""
        if not on:
            self._end.set()
        elif self._end.is_set():
            self._end = end = threading.Event()
            threading.Thread(
                target=self._look, args=(end,), name="nbfn-workers", daemon=True
            ).start()

    def _look(self, end: threading.Event) -> None:
        while not end.is_set() and self._tally.ended is None:
            try:
                rows = self._rows()
            except Exception:
                log.debug("the workers of a map could not be asked for", exc_info=True)
            else:
                if not end.is_set():
                    self._tell(rows)
            end.wait(ASK_EVERY)

    def _rows(self) -> list[dict[str, Any]]:
        workers = Client.attach().overview().workers
        # Methods are named Class.method; their workers are the class's.
        name = self._tally.name.partition("(")[0].partition(".")[0]
        mine = [
            w
            for w in workers
            if w.app == self._tally.app and (w.function or "").partition("(")[0] == name
        ]
        return [
            {"id": w.id[:9], "pid": w.pid, "state": w.state, "memory": w.memory}
            for w in mine[:SHOWN]
        ]
