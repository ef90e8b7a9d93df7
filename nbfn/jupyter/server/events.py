"""The event of Jupyter Server's event bus that tells the pages what has changed in the overview."""

from __future__ import annotations

from typing import Any

import msgspec
from jupyter_events import EventLogger

from nbfn.jupyter.server.schema import OverviewChange

#: Also in labextension/src/model/events.ts.
SCHEMA_ID = "https://nbfn.dev/events/overview/v1"

#: Checks the outline of an event only: the server creates it from `OverviewChange`.
SCHEMA: dict[str, Any] = {
    "$id": SCHEMA_ID,
    "version": "1",
    "title": "Changes of the Functions, calls and workers that nbfn shows",
    "personal-data": True,
    "type": "object",
    "required": [field.name for field in msgspec.structs.fields(OverviewChange)],
    "properties": {field.name: {} for field in msgspec.structs.fields(OverviewChange)},
    "additionalProperties": False,
}


class Events:
    """Emits the extension's events.

    Args:
        logger: The server's event logger.
    """

    def __init__(self, logger: EventLogger) -> None:
        self._logger = logger
        if SCHEMA_ID not in logger.schemas:
            logger.register_event_schema(SCHEMA)

    def changed(self, change: OverviewChange) -> None:
        """Send an event to every client. Must be called on the server's event loop."""
        self._logger.emit(schema_id=SCHEMA_ID, data=msgspec.to_builtins(change))
