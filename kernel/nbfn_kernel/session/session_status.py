"""Tells pages the state of the session, for the toolbar of the notebook, and ends or restarts it at their request.

A page opens a comm of the target `TARGET` to the notebook's kernel, also while a cell runs. It receives a `Status`
as a dict at once and after each change.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import Any, Literal

from nbfn_kernel.session.session_manager import SessionManager

#: The target name of the comms; also in labextension/src/session/sessionLink.ts.
TARGET = "nbfn.session"
#: Pages that are told of changes; each page that is opened adds one.
MOST_PAGES = 4

logger = logging.getLogger("nbfn.client")


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """The state of the session of a notebook.

    Attributes:
        state: The state.
        worker: The id of its worker.
        host: The name of its host.
        pid: The id of its process.
        started: When it started, in seconds since 1970.
        reason: Why the last session ended, or why the next one did not start; empty if the user stopped it.
    """

    state: Literal["none", "starting", "running"]
    worker: str = ""
    host: str = ""
    pid: int = 0
    started: float = 0.0
    reason: str = ""


def status_of(manager: SessionManager) -> Status:
    """Return the state of the session of a manager."""
    opened = manager.opened
    if opened is not None:
        return Status("running", opened.worker, opened.host, opened.pid, opened.started, "")
    reason = manager.start_error or manager.end_reason
    return Status("starting" if manager.is_starting else "none", reason=reason)


class SessionStatus:
    """The pages that show the state of the session.

    Args:
        manager: Manages the session.
        comm_manager: The comms of the notebook's kernel.
    """

    def __init__(self, manager: SessionManager, comm_manager: Any) -> None:
        self._manager = manager
        self._pages: list[Any] = []
        self._lock = threading.Lock()
        manager.on_change = self._send_all
        comm_manager.register_target(TARGET, self._page_opened)

    # --- on the thread that handles the front end's messages ---

    def _page_opened(self, comm: Any, _message: Any) -> None:
        comm.on_msg(lambda message: self._asked(message["content"].get("data") or {}))
        comm.on_close(lambda _: self._page_closed(comm))
        with self._lock:
            self._pages = [*self._pages[1 - MOST_PAGES :], comm]
        self._send([comm])

    def _page_closed(self, comm: Any) -> None:
        with self._lock:
            self._pages = [page for page in self._pages if page is not comm]

    def _asked(self, asked: dict[str, Any]) -> None:
        """Carry out what a page asks for, after it has asked the user."""
        if asked.get("type") == "end":
            self._manager.stop()
        elif asked.get("type") == "restart":
            self._manager.restart()

    # --- any thread ---

    def _send_all(self) -> None:
        with self._lock:
            pages = list(self._pages)
        self._send(pages)

    def _send(self, pages: list[Any]) -> None:
        status = dataclasses.asdict(status_of(self._manager))
        for page in pages:
            try:
                page.send(status)
            except Exception:
                logger.debug("a page could not be told of the session", exc_info=True)
