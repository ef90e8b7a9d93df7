"""Marks, colours and HTML of states, the same in widgets, text and saved notebooks.

Uses only colours of JupyterLab's theme, with a fallback for other front ends. `static/base.css` has the
same styles for widgets.
"""

from __future__ import annotations

from html import escape

from nbfn.protocol.call_states import CallState, InputCounts

#: Marks distinguish states without colours. Besides the states of calls: "reconnecting" while the hub does not answer,
#: "expired" when the results are gone, "warning" for a call of which only some inputs succeeded.
MARKS = {
    "queued": "○",
    "starting": "◌",
    "running": "●",
    "detached": "◇",
    "reconnecting": "↻",
    "succeeded": "✓",
    "failed": "✗",
    "cancelled": "■",
    "warning": "▲",
    "expired": "○",
}
COLOURS = {
    "running": "var(--jp-brand-color1,#1976d2)",
    "detached": "var(--jp-info-color1,#0097a7)",
    "reconnecting": "var(--jp-warn-color0,#e65100)",
    "succeeded": "var(--jp-success-color1,#2e7d32)",
    "failed": "var(--jp-error-color1,#c62828)",
    "cancelled": "var(--jp-warn-color0,#e65100)",
    "warning": "var(--jp-warn-color0,#e65100)",
}
MUTED = "color:var(--jp-ui-font-color2,#616161)"
BOX = (
    "font-family:var(--jp-ui-font-family,sans-serif);font-size:var(--jp-ui-font-size1,13px);"
    "line-height:1.6;color:var(--jp-ui-font-color1,inherit);box-sizing:border-box;max-width:840px;"
    "margin:2px 0;padding:6px 10px;border:1px solid var(--jp-border-color2,#ccc);border-radius:3px"
)
CODE = (
    "font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,12px);"
    "color:var(--jp-content-font-color1,inherit);background:transparent;overflow-wrap:anywhere"
)


def mark_of(state: str) -> str:
    """Return the mark of a state."""
    return MARKS.get(state, "●")


def look_of(state: str, counts: InputCounts) -> str:
    """Return the key of the mark and colour of a call: a call that failed in parts looks like a warning."""
    return "warning" if state == CallState.FAILED and counts.succeeded else state


def mark_html(state: str) -> str:
    """Return the mark of a state as coloured HTML, hidden from screen readers, which read the state's name."""
    colour = COLOURS.get(state, "var(--jp-ui-font-color2,#616161)")
    return f'<span aria-hidden="true" style="color:{colour}">{mark_of(state)}</span>'


def box_html(*rows: str) -> str:
    """Return rows of escaped HTML in a box."""
    return f'<div class="jp-nbfn-snapshot" style="{BOX}">{"".join(rows)}</div>'


def link_html(url: str) -> str:
    """Return a URL as HTML; as a link if it is http or https."""
    shown = escape(url)
    if not url.startswith(("http://", "https://")):
        return f"<div>{shown}</div>"
    return (
        f'<div><a href="{shown}" target="_blank" rel="noopener noreferrer" '
        f'style="color:var(--jp-content-link-color,#1976d2);overflow-wrap:anywhere">{shown}</a></div>'
    )


def code_html(text: str) -> str:
    """Return a line of code as HTML."""
    return f'<div style="{CODE};white-space:pre-wrap">{escape(text)}</div>'
