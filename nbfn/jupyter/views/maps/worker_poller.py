"""Polls the workers of a map's Function while the front end displays them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from nbfn.client.client import Client
from nbfn.jupyter.views.maps.map_stats import MapStats

log = logging.getLogger("nbfn.client")

#: Seconds between two requests.
POLL_INTERVAL = 1.0
#: Maximum number of workers that are displayed.
SHOWN = 50


class WorkerPoller:
    """Polls the workers of one Function once a second, while `watch` is on and the map runs.

    Args:
        stats: The map.
        on_workers: Called with the workers, on a separate thread.
    """

    def __init__(self, stats: MapStats, on_workers: Callable[[list[dict[str, Any]]], None]) -> None:
        self._tally = stats
        self._on_workers = on_workers
        self._end = threading.Event()
        self._end.set()

    def watch(self, *, on: bool) -> None:
        """Start or stop polling."""
        if not on:
            self._end.set()
        elif self._end.is_set():
            self._end = end = threading.Event()
            threading.Thread(
                target=self._poll, args=(end,), name="nbfn-workers", daemon=True
            ).start()

    def _poll(self, end: threading.Event) -> None:
        while not end.is_set() and self._tally.ended is None:
            try:
                rows = self._rows()
            except Exception:
                log.debug("could not fetch the workers of a map", exc_info=True)
            else:
                if not end.is_set():
                    self._on_workers(rows)
            end.wait(POLL_INTERVAL)

    def _rows(self) -> list[dict[str, Any]]:
        workers = Client.attach().overview().workers
        # A method is named Class.method; its workers belong to the class.
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
