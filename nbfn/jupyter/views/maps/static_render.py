"""A tally as text and as static HTML: the twin of the widget, and what stays when it is gone.

Everything that users made (names, messages, log lines) is escaped here.
"""

from __future__ import annotations

import math
import re
import time
from html import escape

from nbfn.jupyter.views.maps.map_stats import ENOUGH, ErrorGroup, Tally
from nbfn.jupyter.views.status_style import CODE, COLOURS, MUTED, boxed, mark_of, marked
from nbfn.runtime.time_span import format_clock, format_span

#: Log lines that stay in a saved notebook.
KEPT_LINES = 50

_PRE = f"{CODE};margin:4px 0;max-height:16em;overflow:auto;white-space:pre-wrap"


def left_text(tally: Tally, now: float) -> str:
    """Return how long it may still take, in the words of every display; "" before that is worth saying."""
    if tally.whole is None or tally.done < ENOUGH or tally.ended is not None:
        return ""
    left = tally.left(now)
    if left is None:
        return "left —"
    return f"left about {format_clock(math.ceil(left))}"


def short(call: str) -> str:
    """Return the start of an id, enough to tell calls apart."""
    return call[:7]


def rate_text(rate: float | None) -> str:
    """Return a speed such as ``14.2 items/s``, or ""."""
    if rate is None:
        return ""
    return f"{rate:,.0f} items/s" if rate >= 100 else f"{rate:.1f} items/s"


def line(tally: Tally, now: float) -> str:
    """Return the map in one line of plain text."""
    if tally.ended is not None:
        return _last_line(tally, now)
    title = f"{tally.name} v{tally.version}" if tally.version else tally.name
    total = "?" if tally.whole is None else f"{tally.whole:,}"
    parts = [title, tally.state, f"{tally.done:,} / {total}"]
    parts += [f"{tally.failed:,} failed"] if tally.failed else []
    parts += [rate_text(tally.rate(now)), format_clock(tally.elapsed(now))]
    parts += [left_text(tally, now), tally.why(now)]
    return " · ".join(part for part in parts if part)


def _last_line(tally: Tally, now: float) -> str:
    ok = tally.done - tally.failed
    counts = f"{ok:,} ok"
    if tally.state == "cancelled":
        missing = None if tally.total is None else tally.total - ok - tally.failed
        counts += f", {tally.failed:,} failed" if tally.failed else ""
        counts += f", {missing:,} not done" if missing is not None else ""
    elif tally.failed:
        counts += f", {tally.failed:,} failed"
    workers = f"{tally.most_workers} worker{'s' if tally.most_workers != 1 else ''}"
    parts = [
        f"{mark_of(tally.state)} {tally.name}.map",
        tally.state if tally.state != "done" else "",
        counts,
        format_span(tally.elapsed(now)),
        workers if tally.most_workers else "",
        short(tally.call),
    ]
    return " · ".join(part for part in parts if part)


def text(tally: Tally, now: float, *, logged: bool = False) -> str:
    """Return the finished map as plain text: its line, its errors and, if asked for, its last print."""
    found = [line(tally, now)]
    if tally.groups:
        found.append(errors(tally))
    if tally.note:
        found.append(f"  {tally.note}")
    if tally.lines and logged:
        found.append(f"  {tally.lines:,} lines printed, the last: {tally.log[-1]}")
    return "\n".join(found)


def errors(tally: Tally) -> str:
    """Return the groups of errors, a line each."""
    return "\n".join(
        f"  {g.kind}: {_cut(g.message)}{f' ({g.where})' if g.where else ''} · {g.count:,}×"
        for g in tally.groups.values()
    )


def html(tally: Tally, now: float) -> str:
    """Return the finished map as static HTML, without scripts."""
    colour = COLOURS.get(tally.state, "inherit")
    live, said = tally.ended is None, line(tally, now)
    # A notebook may be saved meanwhile; the line of the end begins with the mark.
    said = f"{said} · {as_of(tally.call)}" if live else said.partition(" ")[2]
    body = [f"<div>{marked(tally.state)} {escape(said)}</div>"]
    if tally.total and tally.state != "done":
        body.append(_bar(tally, colour))
    if tally.groups:
        rows = "".join(map(_group, tally.groups.values()))
        count = len(tally.groups)
        label = f"Errors ({tally.failed:,} in {count} group{'s' if count > 1 else ''})"
        body.append(f"<details><summary>{label}</summary>{rows}</details>")
    if tally.note:
        body.append(f"<div>{escape(tally.note)}</div>")
    if tally.lines:
        kept = list(tally.log)[-KEPT_LINES:]
        more = tally.lines - len(kept)
        head = f"… {more:,} earlier lines\n" if more else ""
        label = f"Logs ({tally.lines:,} line{'s' if tally.lines != 1 else ''})"
        log = escape(head + "\n".join(kept))
        body.append(f'<details><summary>{label}</summary><pre style="{_PRE}">{log}</pre></details>')
    return boxed(*body)


def as_of(call: str) -> str:
    """Return what a notebook that is saved while a call goes on says beside its state."""
    return f"as of {time.strftime('%H:%M')}; %fn attach {call} shows it"


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


def _bar(tally: Tally, colour: str) -> str:
    good = tally.done - tally.failed if tally.state == "cancelled" else tally.done
    share = 100 * good / (tally.total or 1)
    return (
        '<div style="height:6px;margin:4px 0;background:var(--jp-layout-color3,#ddd)">'
        f'<div style="height:6px;width:{share:.1f}%;background:{colour}"></div></div>'
    )


def _cut(message: str, width: int = 300) -> str:
    message = re.sub(r"\s+", " ", message)
    return message if len(message) <= width else f"{message[: width - 1]}…"


def log_text(tally: Tally, most: int = 20) -> str:
    """Return what a map printed, for places without a widget: all of it, or the count and the end."""
    if tally.lines <= most:
        return "".join(f"{row}\n" for row in tally.log)
    last = list(tally.log)[-5:]
    rows = "".join(f"{row}\n" for row in last)
    return f"… {tally.lines - len(last):,} lines printed before these:\n{rows}"
