"""Remembers the displays of calls, so that a page that was reloaded or opened later can have them again.

A page does not keep the display ids of outputs, and messages that arrive while it is away are lost. It opens a comm of
the target `TARGET` and names the displays that its notebook has. The answer has their latest contents, and displays
that were created after the notebook was saved; later contents follow. Without a kernel, the page asks the hub.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from comm import get_comm_manager

from nbfn.jupyter.views.status_style import code_html

log = logging.getLogger("nbfn.client")

#: The target name of the comm, and the MIME type of displays of calls; also in labextension/src/display/.
TARGET, CALL_MIME = "nbfn.displays", "application/vnd.nbfn.call+json"
#: Displays that are kept, and the characters of their contents; the oldest go.
MOST_DISPLAYS, MOST_CHARACTERS = 500, 8_000_000
#: Pages that are told of changes; each page that is opened adds one.
MOST_PAGES = 4


@dataclass(frozen=True, slots=True)
class ShownCall:
    """The call of a display.

    Attributes:
        id: Its id.
        kind: remote, map or spawn.
        ended: Whether it has ended, so that the display does not change any more.
    """

    id: str
    kind: str
    ended: bool


@dataclass(slots=True)
class _Display:
    """The latest contents of a display.

    Attributes:
        cell: The id of the notebook's cell.
        request: The id of the message that ran the cell.
        first: When it was created, in seconds since 1970.
    """

    call: ShownCall
    cell: str
    request: str
    first: float
    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    result: str = ""

    @property
    def size(self) -> int:
        """The approximate number of characters."""
        return sum(len(part) for part in self.data.values() if isinstance(part, str))

    def message(self, display_id: str) -> dict[str, Any]:
        """Return what a page receives."""
        return {
            "display": display_id,
            "cell": self.cell,
            "first": self.first,
            "data": self.data,
            "data_with_result": self._data_with_result() if self.result else None,
            "metadata": self.metadata,
        }

    def _data_with_result(self) -> dict[str, Any]:
        """Return the contents for a page that has missed the result of the cell."""
        html, text = self.data.get("text/html", ""), self.data.get("text/plain", "")
        return self.data | {
            "text/html": f"{html}{code_html(self.result)}",
            "text/plain": f"{text}\n  {self.result}",
        }


class DisplayRegistry:
    """The latest contents of the displays of calls of this kernel, and the pages that show them."""

    def __init__(self) -> None:
        self._displays: OrderedDict[str, _Display] = OrderedDict()
        self._pages: list[Any] = []
        self._lock = threading.Lock()

    def install(self) -> None:
        """Let pages open comms; does nothing outside of a kernel."""
        get_comm_manager().register_target(TARGET, self._page_opened)

    def uninstall(self) -> None:
        """Undo `install`."""
        get_comm_manager().unregister_target(TARGET, self._page_opened)
        with self._lock:
            self._pages.clear()

    def record(
        self,
        display_id: str,
        call: ShownCall,
        parent: dict[str, Any],
        data: dict[str, Any],
        metadata: dict[str, Any],
    ) -> None:
        """Store the new contents of a display, and send them to the pages.

        Args:
            display_id: The display.
            call: Its call.
            parent: The message that ran its cell.
            data: The MIME bundle.
            metadata: Its metadata.
        """
        with self._lock:
            display = self._displays.get(display_id)
            is_new = display is None
            if display is None:
                cell = str((parent.get("metadata") or {}).get("cellId") or "")
                request = str((parent.get("header") or {}).get("msg_id") or "")
                display = _Display(call, cell, request, time.time())
                self._displays[display_id] = display
            display.call, display.data, display.metadata = call, data, metadata
            self._limit()
        if not is_new:
            self._send(display.message(display_id))

    def cell_ended(self, request: str, result: Callable[[], str]) -> None:
        """Add the result of a cell to the displays of its blocking calls, for pages that have missed it.

        Args:
            request: The id of the message that ran the cell.
            result: Returns the result or error as text.
        """
        with self._lock:
            found = [
                (name, display)
                for name, display in self._displays.items()
                if display.request == request and display.call.kind == "remote"
            ]
        text = result() if found else ""
        for name, display in found:
            display.result = text
            if text:
                self._send(display.message(name))

    def _limit(self) -> None:
        """Discard the oldest displays while there are too many."""
        room = MOST_CHARACTERS - sum(display.size for display in self._displays.values())
        while len(self._displays) > MOST_DISPLAYS or (room < 0 and len(self._displays) > 1):
            _, oldest = self._displays.popitem(last=False)
            room += oldest.size

    # --- pages, on the thread that handles the front end's messages ---

    def _page_opened(self, comm: Any, _message: Any) -> None:
        answer_on_subshell(comm)
        comm.on_msg(lambda message: self._asked(comm, message["content"].get("data") or {}))
        comm.on_close(lambda _: self._page_closed(comm))
        with self._lock:
            self._pages = [*self._pages[1 - MOST_PAGES :], comm]

    def _page_closed(self, comm: Any) -> None:
        with self._lock:
            self._pages = [page for page in self._pages if page is not comm]

    def _asked(self, comm: Any, asked: dict[str, Any]) -> None:
        """Answer with the displays that a page names, and those that are newer than its notebook."""
        named, since = set(asked.get("displays") or ()), float(asked.get("since") or 0.0)
        with self._lock:
            shown = list(self._displays.items())
            latest = {display.cell: display.request for _, display in shown}
        for name, display in shown:
            if name in named:
                comm.send(display.message(name))
            elif display.cell and display.first > since and latest[display.cell] == display.request:
                comm.send(display.message(name) | {"missing": True})

    def _send(self, message: dict[str, Any]) -> None:
        with self._lock:
            pages = list(self._pages)
        for page in pages:
            try:
                page.send(message)
            except Exception:
                log.debug("a page could not be told of a display", exc_info=True)


def answer_on_subshell(comm: Any) -> None:
    """Let messages of a comm be handled while a cell runs.

    ipykernel 7.4 handles them on the event loop that last published on the comm. For a comm that a cell created, this
    is the main loop, which the cell blocks. The subshell that the front end asked for is free.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default


#: The displays of this kernel.
registry = DisplayRegistry()
