"""The widget of a map. Imported when the first map takes long enough to be displayed."""

from __future__ import annotations

import logging
from typing import Any

import traitlets
from ipywidgets import DOMWidget

from nbfn.jupyter.views import widget_base
from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_stats import MapStats
from nbfn.jupyter.views.maps.static_render import short_id
from nbfn.jupyter.views.maps.worker_poller import WorkerPoller
from nbfn.jupyter.views.status_style import mark_of
from nbfn.jupyter.views.widget_base import ActionWidget
from nbfn.jupyter.views.widget_output import Actions
from nbfn.protocol.call_states import retry_text
from nbfn.runtime.time_span import format_clock

log = logging.getLogger("nbfn.client")

#: Bytes of the log, and error groups, that are sent to the front end; at most once a second.
LOG_BYTES, SHOWN_GROUPS = 8_000, 20


class MapWidget(ActionWidget):
    """Displays a `MapStats`.

    Args:
        stats: The statistics.
        now: The time.
        actions: What its buttons do, by their names.
    """

    _esm = widget_base.script("progress")
    _css = widget_base.style("progress")
    strip = traitlets.Bytes(b"").tag(sync=True)
    errors: Any = traitlets.List().tag(sync=True)
    log = traitlets.Unicode("").tag(sync=True)
    workers: Any = traitlets.List().tag(sync=True)

    def __init__(self, stats: MapStats, now: float, actions: Actions) -> None:
        self._tally = stats
        self._slow_update = 0.0
        self._poller = WorkerPoller(stats, self._set_workers)
        super().__init__(
            actions,
            view=_view(stats, now, actions),
            strip=stats.strip(),
            errors=errors_of(stats),
            log=log_of(stats),
        )

    def handle_message(self, _widget: DOMWidget, content: dict[str, Any], _buffers: object) -> None:
        """Handle a message of the front end; see `ActionWidget.handle_message`."""
        # On the subshell's thread, while the cell runs: short, no output, nothing that blocks.
        kind = str(content.get("type"))
        if kind == "workers":
            self._poller.watch(on=bool(content.get("open")))
        elif kind == "traceback":
            self._send_traceback(content.get("group"))
        else:
            super().handle_message(_widget, content, _buffers)

    def _send_traceback(self, first: object) -> None:
        found = (g.trace for g in list(self._tally.groups.values()) if g.first == first)
        self.send({"type": "traceback", "group": first, "text": next(found, "")})

    def _set_workers(self, rows: list[dict[str, Any]]) -> None:
        if rows != self.workers:
            self.workers = rows

    def close(self) -> None:
        """Close the widget, and stop polling workers."""
        self._poller.watch(on=False)
        super().close()

    def show(self, stats: MapStats, now: float, *, at_once: bool = False) -> None:
        """Send the changed state to the front end.

        Args:
            stats: The statistics.
            now: The time.
            at_once: Whether to send the errors and the log too, which are otherwise sent once a second.
        """
        changes: dict[str, Any] = {"view": _view(stats, now, self.actions), "strip": stats.strip()}
        if at_once or now - self._slow_update >= 1.0:
            self._slow_update = now
            changes |= {"errors": errors_of(stats), "log": log_of(stats)}
        changed = {name: value for name, value in changes.items() if value != getattr(self, name)}
        if changed:
            with self.hold_sync():  # one message for all of them
                for name, value in changed.items():
                    setattr(self, name, value)


def _view(stats: MapStats, now: float, actions: Actions) -> dict[str, Any]:
    live = stats.ended is None
    buttons = {
        "cancel": live,
        "detach": live and not stats.detached,
        "retry": bool(stats.retryable),
    }
    return view_of(stats, now) | {
        "buttons": [name for name, use in buttons.items() if use and name in actions]
    }


def view_of(stats: MapStats, now: float) -> dict[str, Any]:
    """Return the statistics as data for the front end."""
    return {
        "name": f"{stats.name} v{stats.version}" if stats.version else stats.name,
        "app": stats.app,
        "call": short_id(stats.call),
        "id": stats.call,
        "state": stats.state,
        "look": stats.look,
        "mark": mark_of(stats.look),
        "done": stats.done,
        "total": stats.total,
        "counts": {str(state): count for state, count in stats.all_counts.items()},
        "retrying": stats.retrying,
        "repeatable": stats.retryable,
        "retry": retry_text(stats.counts, stats.retryable),
        "workers": stats.workers,
        "starting": stats.starting,
        "why": stats.why(now),
        "note": stats.note,
        "rate": static_render.rate_text(stats.rate(now)),
        "elapsed": format_clock(stats.elapsed(now)),
        "left": static_render.remaining_text(stats, now),
        "p50": _seconds(stats.percentile(0.5)),
        "p95": _seconds(stats.percentile(0.95)),
        "lines": stats.lines + len(stats.rewritten_lines),
        "ended": stats.ended is not None,
        "summary": static_render.line(stats, now).partition(" ")[2]
        if stats.ended is not None
        else "",
    }


def _seconds(value: float | None) -> float | None:
    """Return seconds rounded to two significant digits."""
    return None if value is None else float(f"{value:.2g}")


def errors_of(stats: MapStats) -> list[dict[str, Any]]:
    """Return the largest groups of errors."""
    groups = sorted(stats.groups.values(), key=lambda g: -g.count)[:SHOWN_GROUPS]
    return [
        {
            "kind": g.kind,
            "message": g.message[:200],
            "where": g.where,
            "inputs": g.inputs,
            "count": g.count,
            "group": g.first,
            "traced": bool(g.trace),
        }
        for g in groups
    ]


def log_of(stats: MapStats) -> str:
    """Return the last lines of the log that fit into one update."""
    kept: list[str] = []
    size = 0
    for line in (*reversed(stats.rewritten_lines), *reversed(stats.log)):
        size += len(line.encode("utf-8", "replace")) + 1
        if size > LOG_BYTES:
            break
        kept.append(line)
    return "\n".join(reversed(kept))
