"""Names the channels, besides ``stdout`` and ``stderr``, on which a worker sends the output of user code."""

from __future__ import annotations

#: Prefix of the channel for output of a nested call. The logs of that call already contain it.
NESTED = "nested-"
#: The traceback of a failed input that may have no caller. It goes to the logs and to clients that follow the App.
FAILURE = "failure"
#: A log record: its text, a zero byte, and its fields in JSON.
LOG = "log"
#: A Jupyter display message in JSON, and a request to clear the displayed output.
DISPLAY, CLEAR = "display", "clear"
