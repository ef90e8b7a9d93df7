"""Prints which spawned calls of a notebook still run after its kernel restarted; used by ``%load_ext nbfn``."""

from __future__ import annotations

import contextlib
import os
import threading

from nbfn.client import client, discovery
from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.exception import Error
from nbfn.jupyter.cell_output import OutputArea
from nbfn.protocol.call_states import counts_text
from nbfn.protocol.messages import CallRow
from nbfn.runtime.time_span import format_span

#: Seconds that loading the extension waits for the hub's answer; a later answer is printed when it arrives.
PATIENCE = 1.5
#: Calls that are listed; further ones are only counted.
NAMED = 8


def show() -> None:
    """Print which spawned calls of this notebook still run; nothing if there is no hub or no notebook."""
    origin = os.environ.get("JPY_SESSION_NAME")
    if not origin or not (os.environ.get("NBFN_HUB") or discovery.is_running(Places.of())):
        return
    area = OutputArea()

    def ask() -> None:
        with contextlib.suppress(Error):  # the next call reports errors of the hub
            if rows := _running(origin):
                area.write("stdout", notice_text(rows) + "\n")

    asking = threading.Thread(target=ask, name="nbfn-restart", daemon=True)
    asking.start()
    asking.join(PATIENCE)


def _running(origin: str) -> list[CallRow]:
    mine = client.current()
    # A separate connection: loading nbfn must not connect a notebook that makes no calls.
    asking = Client(start=False, registers=False)
    try:
        rows = asking.overview().calls
    finally:
        asking.close()
    return [
        row
        for row in rows
        if row.origin == origin
        and not row.ended
        and row.kind == "spawn"
        and (mine is None or mine.tracked(row.id) is None)
    ]


def notice_text(rows: list[CallRow]) -> str:
    """Return the sentence about calls that still run.

    Examples:
        >>> print(notice_text([CallRow("fc-9qa2AAAA", "train", "a", "spawn", "running", 1, 0, 0, 0, 1, 0, 0, 192.0)]))
        1 call of this notebook is still running; %fn attach ID returns its handle:
          fc-9qa2AAAA · train · 3:12
    """
    one = len(rows) == 1
    head = f"{len(rows)} call{'' if one else 's'} of this notebook {'is' if one else 'are'} still running"
    lines = [f"{head}; %fn attach ID returns {'its' if one else 'a'} handle:"]
    for row in rows[:NAMED]:
        total = f" · {counts_text(row.counts)}" if row.total != 1 else ""
        lines.append(f"  {row.id} · {row.function}{total} · {format_span(row.age)}")
    if len(rows) > NAMED:
        lines.append(f"  … and {len(rows) - NAMED:,} more: %fn calls")
    return "\n".join(lines)
