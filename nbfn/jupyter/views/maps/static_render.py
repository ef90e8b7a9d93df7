"""The statistics of a map as text and static HTML, for front ends and saved notebooks without the widget.

Escapes all text of users: names, messages, log lines.
"""

from __future__ import annotations

import math
import re
from html import escape

from msgspec.structs import replace

from nbfn.jupyter.views.maps.map_stats import MIN_DONE, ErrorGroup, MapStats
from nbfn.jupyter.views.saved_text import snapshot_note
from nbfn.jupyter.views.status_style import CODE, COLOURS, MUTED, box_html, mark_html, mark_of
from nbfn.protocol.call_states import CallState, counts_text, retry_text
from nbfn.runtime.time_span import format_clock, format_span

#: Log lines that stay in a saved notebook.
KEPT_LINES = 50

_PRE = f"{CODE};margin:4px 0;max-height:16em;overflow:auto;white-space:pre-wrap"


def remaining_text(stats: MapStats, now: float) -> str:
    """Return the estimated remaining time as text; "" before there is an estimate."""
    if stats.total is None or stats.done < MIN_DONE or stats.ended is not None:
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
    total = "?" if stats.total is None else f"{stats.total:,}"
    parts = [title, stats.state, f"{stats.done:,} / {total}", unusual_text(stats)]
    parts += [rate_text(stats.rate(now)), format_clock(stats.elapsed(now))]
    parts += [remaining_text(stats, now), stats.why(now)]
    return " · ".join(part for part in parts if part)


def unusual_text(stats: MapStats) -> str:
    """Return how many inputs failed, were cancelled, or did not run; "" if none."""
    return counts_text(replace(stats.counts, succeeded=0)) if stats.counts.unsuccessful else ""


def _last_line(stats: MapStats, now: float) -> str:
    workers = f"{stats.most_workers} worker{'s' if stats.most_workers != 1 else ''}"
    counts = counts_text(stats.counts)
    parts = [
        f"{mark_of(stats.look)} {stats.name}.map",
        "" if stats.done and stats.state == CallState.SUCCEEDED else stats.state,
        counts,
        format_span(stats.elapsed(now)),
        workers if stats.most_workers else "",
        short_id(stats.call),
    ]
    return " · ".join(part for part in parts if part)


def retry_hint(stats: MapStats) -> str:
    """Return what to type to run the inputs without a result again; "" if there are none."""
    if stats.ended is None or not stats.retryable:
        return ""
    return f"%fn retry {stats.call} · {retry_text(stats.counts, stats.retryable)}"


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
    elif hint := retry_hint(stats):
        found.append(f"  {hint}")
    if stats.lines and logged:
        found.append(f"  {stats.lines:,} lines printed, the last: {stats.log[-1]}")
    return "\n".join(found)


def errors(stats: MapStats) -> str:
    """Return the groups of errors, one on each line."""
    return "\n".join(
        f"  {g.kind}: {_cut(g.message)}{f' ({g.where})' if g.where else ''} · {g.count:,}× · {g.inputs}"
        for g in stats.groups.values()
    )


def html(stats: MapStats, now: float) -> str:
    """Return the finished map as static HTML, without scripts."""
    live, said = stats.ended is None, line(stats, now)
    # The notebook may be saved while the map runs. The last line begins with the mark.
    said = f"{said} · {snapshot_note(stats.call)}" if live else said.partition(" ")[2]
    body = [f"<div>{mark_html(stats.look)} {escape(said)}</div>"]
    if stats.total and stats.state != CallState.SUCCEEDED:
        body.append(_bar(stats))
    if stats.groups:
        rows = "".join(map(_group, stats.groups.values()))
        count = len(stats.groups)
        label = f"Errors ({stats.failed:,} in {count} group{'s' if count > 1 else ''})"
        body.append(f"<details><summary>{label}</summary>{rows}</details>")
    if said := stats.note or retry_hint(stats):
        body.append(f"<div>{escape(said)}</div>")
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
        f'<span style="{MUTED}">{escape(" · ".join(filter(None, (group.where, group.inputs))))}</span>'
    )
    if not group.trace:
        return f'<div style="padding-left:1em">{said}</div>'
    return (
        f'<details style="padding-left:1em"><summary>{said}</summary>'
        f'<pre style="{_PRE}">{escape(group.trace)}</pre></details>'
    )


def _bar(stats: MapStats) -> str:
    """Return a bar with the shares of inputs that succeeded and that failed."""
    parts = (("succeeded", stats.counts.succeeded), ("failed", stats.counts.failed))
    pieces = "".join(
        f'<div style="height:6px;width:{100 * count / (stats.total or 1):.1f}%;background:{COLOURS[state]}"></div>'
        for state, count in parts
        if count
    )
    return (
        '<div style="display:flex;height:6px;margin:4px 0;background:var(--jp-layout-color3,#ddd)">'
        f"{pieces}</div>"
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
