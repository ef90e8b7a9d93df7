"""The map widget: what the page is told, and its buttons. Imported when a first map is slow."""

from __future__ import annotations

import logging
from typing import Any

import traitlets
from ipywidgets import DOMWidget

from nbfn.jupyter.views import widget_base
from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_stats import Tally
from nbfn.jupyter.views.maps.static_render import short
from nbfn.jupyter.views.maps.worker_poller import Crew
from nbfn.jupyter.views.status_style import mark_of
from nbfn.jupyter.views.widget_base import ActionWidget
from nbfn.jupyter.views.widget_output import Actions
from nbfn.runtime.time_span import format_clock

log = logging.getLogger("nbfn.client")

#: Bytes of log, and error groups, that travel to the page; once a second at most.
LOG_BYTES, SHOWN_GROUPS = 8_000, 20


class MapProgress(ActionWidget):
    """Shows a `Tally`; calls ``actions`` by the name of the button that was pressed."""

    _esm = widget_base.script("progress")
    _css = widget_base.style("progress")
    strip = traitlets.Bytes(b"").tag(sync=True)
    errors: Any = traitlets.List().tag(sync=True)
    log = traitlets.Unicode("").tag(sync=True)
    workers: Any = traitlets.List().tag(sync=True)

    def __init__(self, tally: Tally, now: float, actions: Actions) -> None:
        self._tally = tally
        self._slow_update = 0.0
        self._crew = Crew(tally, self._tell_workers)
        super().__init__(
            actions,
            view=_view(tally, now, actions),
            strip=tally.strip(),
            errors=errors_of(tally),
            log=log_of(tally),
        )

    def handle_message(self, _widget: DOMWidget, content: dict[str, Any], _buffers: object) -> None:
        """Handle a message of the front end; see `ActionWidget.handle_message`."""
        # On the subshell's thread, while the cell runs: short, no output, nothing that blocks.
        kind = str(content.get("type"))
        if kind == "workers":
            self._crew.watch(on=bool(content.get("open")))
        elif kind == "traceback":
            self._tell_trace(content.get("group"))
        else:
            super().handle_message(_widget, content, _buffers)

    def _tell_trace(self, first: object) -> None:
        found = (g.trace for g in list(self._tally.groups.values()) if g.first == first)
        self.send({"type": "traceback", "group": first, "text": next(found, "")})

    def _tell_workers(self, rows: list[dict[str, Any]]) -> None:
        if rows != self.workers:
            self.workers = rows

    def close(self) -> None:
        """Leave the page."""
        self._crew.watch(on=False)
        super().close()

    def show(self, tally: Tally, now: float, *, at_once: bool = False) -> None:
        """Send what changed since the last time; lists once a second, unless they are wanted at once."""
        changes: dict[str, Any] = {"view": _view(tally, now, self.actions), "strip": tally.strip()}
        if at_once or now - self._slow_update >= 1.0:
            self._slow_update = now
            changes |= {"errors": errors_of(tally), "log": log_of(tally)}
        changed = {name: value for name, value in changes.items() if value != getattr(self, name)}
        if changed:
            with self.hold_sync():  # one message for all of them
                for name, value in changed.items():
                    setattr(self, name, value)


def _view(tally: Tally, now: float, actions: Actions) -> dict[str, Any]:
    live = tally.ended is None
    buttons = {
        "cancel": live,
        "detach": live and not tally.detached,
        "retry": bool(tally.repeatable),
    }
    return view_of(tally, now) | {
        "buttons": [name for name, use in buttons.items() if use and name in actions]
    }


def view_of(tally: Tally, now: float) -> dict[str, Any]:
    """Return the counters and words of a tally as the page wants them."""
    return {
        "name": f"{tally.name} v{tally.version}" if tally.version else tally.name,
        "app": tally.app,
        "call": short(tally.call),
        "id": tally.call,
        "state": tally.state,
        "mark": mark_of(tally.state),
        "done": tally.done,
        "failed": tally.failed,
        "total": tally.whole,
        "queued": tally.queued,
        "running": tally.running,
        "retrying": tally.retrying,
        "repeatable": tally.repeatable,
        "workers": tally.workers,
        "starting": tally.starting,
        "why": tally.why(now),
        "note": tally.note,
        "rate": static_render.rate_text(tally.rate(now)),
        "elapsed": format_clock(tally.elapsed(now)),
        "left": static_render.left_text(tally, now),
        "p50": _seconds(tally.percentile(0.5)),
        "p95": _seconds(tally.percentile(0.95)),
        "lines": tally.lines + len(tally.moving),
        "ended": tally.ended is not None,
        "summary": static_render.line(tally, now).partition(" ")[2]
        if tally.ended is not None
        else "",
    }


def _seconds(value: float | None) -> float | None:
    """Return seconds with as many digits as are seen."""
    return None if value is None else float(f"{value:.2g}")


def errors_of(tally: Tally) -> list[dict[str, Any]]:
    """Return the largest groups of errors."""
    groups = sorted(tally.groups.values(), key=lambda g: -g.count)[:SHOWN_GROUPS]
    return [
        {
            "kind": g.kind,
            "message": g.message[:200],
            "where": g.where,
            "count": g.count,
            "group": g.first,
            "traced": bool(g.trace),
        }
        for g in groups
    ]


def log_of(tally: Tally) -> str:
    """Return the last lines of the log, as many as fit in one update."""
    kept: list[str] = []
    size = 0
    for line in (*reversed(tally.moving), *reversed(tally.log)):
        size += len(line.encode("utf-8", "replace")) + 1
        if size > LOG_BYTES:
            break
        kept.append(line)
    return "\n".join(reversed(kept))
