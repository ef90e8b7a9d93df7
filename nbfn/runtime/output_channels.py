"""Channels on which a worker sends what code writes, besides ``stdout`` and ``stderr``."""

from __future__ import annotations

#: Prefix of the channel of output of a nested call, which is in the logs of that call already.
NESTED = "nested-"
#: The traceback of a failed input whose caller may not exist: for the logs, and for clients that follow the App.
FAILURE = "failure"
#: A log record: its text, a zero byte, and its fields as JSON.
LOG = "log"
#: A display as Jupyter sends it, as JSON; and that what is displayed is to be cleared.
DISPLAY, CLEAR = "display", "clear"
