"""A display of a spawned call: a widget, or text without a front end; static when the call has ended.

The ticker of `nbfn.jupyter.observer` updates it; the client's thread never waits for it.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from typing import Any

from nbfn.api.call import FunctionCall
from nbfn.client.client import current
from nbfn.exception import Error
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views import retry_action
from nbfn.jupyter.views.calls.call_record import CallRecord, error_text, html, line, value_text
from nbfn.jupyter.views.display_registry import ShownCall
from nbfn.jupyter.views.widget_output import SAVED_STATIC, Actions, close_later, publish

#: Log lines that the widget shows.
LOG_LINES = 100
#: Seconds between two requests for the position in the queue.
QUEUE_INTERVAL = 1.0


def fetch_preview(record: CallRecord) -> None:
    """Fetch the result or error of a call that has ended, and until when the hub keeps it, into its record."""
    handle: FunctionCall[Any] = FunctionCall.from_id(record.call)
    result = ""
    try:
        kept_until = handle._call_info().kept_until
    except Error:
        return
    if record.state != "cancelled" and (record.total or 1) == 1:
        try:
            result = value_text(handle.get(timeout=5))
        except Exception as error:  # noqa: BLE001 - the user's error, which is displayed
            result = error_text(error)
    if record.ended is None:  # it was retried meanwhile
        return
    record.update(result=result)
    record.update(kept_until=kept_until)  # last: readers of this field expect the result


class CallDisplay:
    """A display of a spawned call in one cell.

    Args:
        record: The record.
        area: The cell.
        names: The notebook's namespace; the *Get* button binds ``result`` there.
        now: The clock.
    """

    def __init__(
        self, record: CallRecord, area: OutputArea, names: dict[str, Any], now: Callable[[], float]
    ) -> None:
        self._record = record
        self._area = area
        self._names = names
        self._now = now
        self._shown = uuid.uuid4().hex
        self._widget: Any = None
        self._note = self._logs = ""
        self._asked = now()
        self._settled = record.ended is not None  # its end has been published
        self._open(update=False)

    def _open(self, *, update: bool) -> None:
        if self._area.widgets and (self._record.ended is None or self._retries):
            self._area.run(self._make)
        self._publish(self._area, update=update)

    def _make(self) -> None:
        from nbfn.jupyter.views.calls.widget import CallWidget

        actions: Actions = {
            "cancel": lambda _: self._cancel(),
            "get": lambda _: self._get(),
            "logs": lambda _: self._toggle_logs(),
            "retry": lambda _: self._retry(),
        }
        self._widget = CallWidget(self._record, self._now(), actions)

    def _publish(self, area: OutputArea, *, update: bool) -> None:
        text, page = line(self._record, self._now()), html(self._record, self._now())
        call = ShownCall(self._record.call, "spawn", ended=self.ended)
        publish(area, self._shown, self._widget, text, page, update=update, call=call)

    @property
    def _retries(self) -> bool:
        """Whether the ended call keeps a Retry button: it has no result, and saved notebooks have no live widgets."""
        return self._record.state in ("failed", "cancelled") and SAVED_STATIC in os.environ

    @property
    def ended(self) -> bool:
        """Whether the call has ended."""
        return self._record.ended is not None

    @property
    def text_only(self) -> bool:
        """Whether a notebook runs without a front end, so that only the running cell can publish."""
        return self._area.notebook and not self._area.widgets

    def show(self, now: float) -> None:
        """Update the widget.

        Args:
            now: The time.
        """
        if (
            self._record.ended is None
            and self._record.place
            and now - self._asked >= QUEUE_INTERVAL
        ):
            self._asked = now
            FunctionCall.from_id(self._record.call)._request_progress()
        if self._widget is not None:
            self._area.run(self._widget.show, self._record, now, self._note, self._logs)

    def end(self) -> None:
        """Replace the widget by static HTML, unless it keeps a button."""
        widget = self._widget
        if widget is not None and self._retries:
            self.show(self._now())
        else:
            self._widget = None
        self._publish(self._area, update=True)
        if widget is not None and self._widget is None:
            close_later(widget, self._area)

    def reopen(self) -> None:
        """Show the widget again in the same cell, because the call was retried."""
        self._note = self._logs = ""
        self._settled = False
        if self._widget is None:
            self._open(update=True)

    def republish(self, area: OutputArea) -> bool:
        """Publish the state of the call again in a cell that ends.

        Args:
            area: The cell.

        Returns:
            Whether the call has ended.
        """
        if not self._settled:
            self._settled = self._record.ended is not None
            client = current()
            if self._settled and not self._record.kept_until and client and client.connected:
                fetch_preview(self._record)
            self._publish(area, update=True)
        return self._settled

    # --- buttons, called on the thread that handles the front end's messages ---

    def _cancel(self) -> None:
        self._aside(lambda: FunctionCall.from_id(self._record.call).cancel())

    def _get(self) -> None:
        def fetch() -> None:
            self._names["result"] = FunctionCall.from_id(self._record.call).get()
            self._note = "result is bound to `result`"

        self._aside(fetch)

    def _toggle_logs(self) -> None:
        def fetch() -> None:
            handle: FunctionCall[Any] = FunctionCall.from_id(self._record.call)
            lines = [entry.message.rstrip("\n") for entry in handle.logs.tail(LOG_LINES)]
            self._logs = "" if self._logs else "\n".join(lines) or "No output so far."

        self._aside(fetch)

    def _retry(self) -> None:
        self._aside(
            lambda: retry_action.retry(FunctionCall.from_id(self._record.call), self._names)
        )

    def _aside(self, action: Callable[[], Any]) -> None:
        """Run a blocking action on a new thread, since this one handles the front end's messages."""

        def run() -> None:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - displayed beside the button
                self._note = error_text(error)
            self.show(self._now())

        threading.Thread(target=run, name="nbfn-handle", daemon=True).start()
