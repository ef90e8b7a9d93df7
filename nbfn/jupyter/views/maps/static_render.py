"""The statistics of a map as text and static HTML, for front ends and saved notebooks without the widget.

Escapes all text of users: names, messages, log lines.
"""

from __future__ import annotations

import math
import re
from html import escape

from nbfn.jupyter.views.maps.map_stats import MIN_DONE, ErrorGroup, MapStats
from nbfn.jupyter.views.saved_text import snapshot_note
from nbfn.jupyter.views.status_style import CODE, COLOURS, MUTED, box_html, mark_html, mark_of
from nbfn.runtime.time_span import format_clock, format_span

#: Log lines that stay in a saved notebook.
KEPT_LINES = 50

_PRE = f"{CODE};margin:4px 0;max-height:16em;overflow:auto;white-space:pre-wrap"


def remaining_text(stats: MapStats, now: float) -> str:
    """Return the estimated remaining time as text; "" before there is an estimate."""
    if stats.expected is None or stats.done < MIN_DONE or stats.ended is not None:
        return ""
    left = stats.remaining(now)
    if left is None:
        return "left —"
    return f"left about {format_clock(math.ceil(left))}"


def short_id(call: str) -> str:
    """Return the beginning of an id, long enough to distinguish calls."""
    return call[:7]


def rate_text(rate: float | None) -> str:
    """Return a speed such as ``14.2 items/s``, or ""."""
    if rate is None:
        return ""
    return f"{rate:,.0f} items/s" if rate >= 100 else f"{rate:.1f} items/s"


def line(stats: MapStats, now: float) -> str:
    """Return the map in one line of plain text."""
    if stats.ended is not None:
        return _last_line(stats, now)
    title = f"{stats.name} v{stats.version}" if stats.version else stats.name
    total = "?" if stats.expected is None else f"{stats.expected:,}"
    parts = [title, stats.state, f"{stats.done:,} / {total}"]
    parts += [f"{stats.failed:,} failed"] if stats.failed else []
    parts += [rate_text(stats.rate(now)), format_clock(stats.elapsed(now))]
    parts += [remaining_text(stats, now), stats.why(now)]
    return " · ".join(part for part in parts if part)


def _last_line(stats: MapStats, now: float) -> str:
    ok = stats.done - stats.failed
    counts = f"{ok:,} ok"
    if stats.state == "cancelled":
        missing = None if stats.total is None else stats.total - ok - stats.failed
        counts += f", {stats.failed:,} failed" if stats.failed else ""
        counts += f", {missing:,} not done" if missing is not None else ""
    elif stats.failed:
        counts += f", {stats.failed:,} failed"
    workers = f"{stats.most_workers} worker{'s' if stats.most_workers != 1 else ''}"
    parts = [
        f"{mark_of(stats.state)} {stats.name}.map",
        stats.state if stats.state != "done" else "",
        counts,
        format_span(stats.elapsed(now)),
        workers if stats.most_workers else "",
        short_id(stats.call),
    ]
    return " · ".join(part for part in parts if part)


def text(stats: MapStats, now: float, *, logged: bool = False) -> str:
    """Return a finished map as plain text: its line, its errors and its last output.

    Args:
        stats: The map.
        now: The time.
        logged: Whether to add the last line of output.

    Returns:
        The text.
    """
    found = [line(stats, now)]
    if stats.groups:
        found.append(errors(stats))
    if stats.note:
        found.append(f"  {stats.note}")
    if stats.lines and logged:
        found.append(f"  {stats.lines:,} lines printed, the last: {stats.log[-1]}")
    return "\n".join(found)


def errors(stats: MapStats) -> str:
    """Return the groups of errors, one on each line."""
    return "\n".join(
        f"  {g.kind}: {_cut(g.message)}{f' ({g.where})' if g.where else ''} · {g.count:,}×"
        for g in stats.groups.values()
    )


def html(stats: MapStats, now: float) -> str:
    """Return the finished map as static HTML, without scripts."""
    colour = COLOURS.get(stats.state, "inherit")
    live, said = stats.ended is None, line(stats, now)
    # The notebook may be saved while the map runs. The last line begins with the mark.
    said = f"{said} · {snapshot_note(stats.call)}" if live else said.partition(" ")[2]
    body = [f"<div>{mark_html(stats.state)} {escape(said)}</div>"]
    if stats.total and stats.state != "done":
        body.append(_bar(stats, colour))
    if stats.groups:
        rows = "".join(map(_group, stats.groups.values()))
        count = len(stats.groups)
        label = f"Errors ({stats.failed:,} in {count} group{'s' if count > 1 else ''})"
        body.append(f"<details><summary>{label}</summary>{rows}</details>")
    if stats.note:
        body.append(f"<div>{escape(stats.note)}</div>")
    if stats.lines:
        kept = list(stats.log)[-KEPT_LINES:]
        more = stats.lines - len(kept)
        head = f"… {more:,} earlier lines\n" if more else ""
        label = f"Logs ({stats.lines:,} line{'s' if stats.lines != 1 else ''})"
        log = escape(head + "\n".join(kept))
        body.append(f'<details><summary>{label}</summary><pre style="{_PRE}">{log}</pre></details>')
    return box_html(*body)


def _group(group: ErrorGroup) -> str:
    said = (
        f"{group.count:,}× {escape(_cut(f'{group.kind}: {group.message}'))} "
        f'<span style="{MUTED}">{escape(group.where)}</span>'
    )
    if not group.trace:
        return f'<div style="padding-left:1em">{said}</div>'
    return (
        f'<details style="padding-left:1em"><summary>{said}</summary>'
        f'<pre style="{_PRE}">{escape(group.trace)}</pre></details>'
    )


def _bar(stats: MapStats, colour: str) -> str:
    good = stats.done - stats.failed if stats.state == "cancelled" else stats.done
    share = 100 * good / (stats.total or 1)
    return (
        '<div style="height:6px;margin:4px 0;background:var(--jp-layout-color3,#ddd)">'
        f'<div style="height:6px;width:{share:.1f}%;background:{colour}"></div></div>'
    )


def _cut(message: str, width: int = 300) -> str:
    message = re.sub(r"\s+", " ", message)
    return message if len(message) <= width else f"{message[: width - 1]}…"


def log_text(stats: MapStats, most: int = 20) -> str:
    """Return the log of a map for output without a widget: all lines, or the number of lines and the last ones."""
    if stats.lines <= most:
        return "".join(f"{row}\n" for row in stats.log)
    last = list(stats.log)[-5:]
    rows = "".join(f"{row}\n" for row in last)
    return f"… {stats.lines - len(last):,} lines printed before these:\n{rows}"
