"""Emits an event on Jupyter Server's event bus when the overview changes.

The event does not contain the change: the panel fetches the overview, so a lost event does no harm.
"""

from __future__ import annotations

from typing import Any, Literal

from jupyter_events import EventLogger

#: Also in labextension/src/model/events.ts.
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
    """Emits the extension's events.

    Args:
        logger: The server's event logger.
    """

    def __init__(self, logger: EventLogger) -> None:
        self._logger = logger
        if SCHEMA_ID not in logger.schemas:
            logger.register_event_schema(SCHEMA)

    def changed(self, revision: int, what: What) -> None:
        """Send the event to every client. Must be called on the server's event loop.

        Args:
            revision: The hub's revision of the overview; 0 when there is no hub.
            what: What changed.
        """
        self._logger.emit(schema_id=SCHEMA_ID, data={"revision": revision, "what": what})
