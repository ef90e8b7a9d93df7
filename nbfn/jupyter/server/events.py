"""Changes of the overview on Jupyter Server's event bus: that there is one, never what it is.

The page fetches the overview anew when it hears of it, so a lost event costs nothing.
"""

from __future__ import annotations

from typing import Any, Literal

from jupyter_events import EventLogger

#: Also in labextension/src/events.ts.
SCHEMA_ID = "https://nbfn.dev/events/changed/v1"

SCHEMA: dict[str, Any] = {
    "$id": SCHEMA_ID,
    "version": "1",
    "title": "Something that the nbfn sidebar shows has changed",
    "personal-data": False,
    "type": "object",
    "required": ["revision", "what"],
    "properties": {
        "revision": {
            "type": "integer",
            "description": "The hub's revision of the overview; 0 when there is no hub.",
        },
        "what": {
            "type": "string",
            "enum": ["overview", "hub"],
            "description": "The rows of the overview, or whether there is a hub at all.",
        },
    },
    "additionalProperties": False,
}

What = Literal["overview", "hub"]


class Events:
    """The event bus, as far as this extension uses it."""

    def __init__(self, logger: EventLogger) -> None:
        self._logger = logger
        if SCHEMA_ID not in logger.schemas:
            logger.register_event_schema(SCHEMA)

    def changed(self, revision: int, what: What) -> None:
        """Tell every page. To be called on the server's own loop."""
        self._logger.emit(schema_id=SCHEMA_ID, data={"revision": revision, "what": what})
