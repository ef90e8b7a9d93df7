"""Answers queries about the timeline on a thread of its own, so that the hub's loop does not wait for them."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from nbfn.hub import timeline_answer
from nbfn.hub.scheduler import spans
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.timeline import Snapshot
from nbfn.hub.timeline_answer import Present
from nbfn.protocol import messages as m

_log = logging.getLogger("nbfn.hub")


class TimelineQueries:
    """The queries.

    Args:
        hub_state: The state of the state machine; it is only read.
        now: The hub's clock.
        wake: Called when `finished` has answers.
    """

    def __init__(
        self, hub_state: HubState, now: Callable[[], float], wake: Callable[[], None]
    ) -> None:
        self._hub_state = hub_state
        self._now = now
        self._wake = wake
        self._finished: queue.SimpleQueue[tuple[str, m.Message]] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(1, "nbfn-timeline")

    def ask(self, client: str, message: m.GetTimeline) -> None:
        """Begin to answer a query; the answer shows the record as it is now."""
        t = self._hub_state
        t.now, t.wall = self._now(), time.time()
        present = Present(t.wall, spans.running_now(t), spans.waiting_now(t))
        found = t.timeline.snapshot(0 if message.summary else message.after)
        self._threads.submit(self._answer, client, message, found, present)

    def finished(self) -> list[tuple[str, m.Message]]:
        """Return (client, answer) for each query that is finished."""
        ready = []
        while not self._finished.empty():
            ready.append(self._finished.get_nowait())
        return ready

    def _answer(
        self, client: str, message: m.GetTimeline, found: Snapshot, present: Present
    ) -> None:
        try:
            answer: m.Message = timeline_answer.answer(message, found, present)
        except Exception:  # noqa: BLE001 - logged
            _log.exception("the timeline cannot be read")
            text = "The timeline cannot be read (see logs/hub.log in NBFN_HOME)."
            answer = m.Failed(message.request, "internal_failure", text)
        self._finished.put((client, answer))
        self._wake()
