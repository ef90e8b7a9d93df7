"""Channels on which a worker sends what code writes, besides ``stdout`` and ``stderr``."""

from __future__ import annotations

#: Before the name of a channel: a call that the code made wrote it. It is in the logs as that call's.
NESTED = "nested-"
#: The traceback of an input whose failure nobody may look at: for the logs, and for who follows the App.
FAILURE = "failure"
#: A log record: its text, a zero byte, and its fields as JSON.
LOG = "log"
#: A display as Jupyter sends it, as JSON; and that what is displayed is to be cleared.
DISPLAY, CLEAR = "display", "clear"
