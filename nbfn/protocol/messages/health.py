"""Messages about the health of the hub: lost workers, and warnings that say what to do."""

from __future__ import annotations

from nbfn.protocol.messages.base import Data, Message
from nbfn.protocol.messages.fields import Token


class LostWorkerRow(Data):
    """A worker that ended unexpectedly."""

    id: str
    function: str  # empty if it had none
    app: str
    at: float  # seconds since 1970
    reason: str


class WarningRow(Data):
    """Something that does not work, and what to do. ``subject`` is the id of a Function, or "hub"."""

    subject: str
    message: str
    remedy: str


class GetHealth(Message):
    """Request the health of the hub."""

    request: Token


class Health(Message):
    """Answer to `GetHealth`. Sizes are in bytes, times in seconds since 1970."""

    request: int
    version: str
    pid: int
    python: str
    host: str
    home: str
    now: float
    started: float
    database_bytes: int
    logs_bytes: int
    free_bytes: int
    lost_workers: tuple[LostWorkerRow, ...]  # newest first
    warnings: tuple[WarningRow, ...]
