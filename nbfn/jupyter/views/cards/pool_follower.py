"""Follows the pools of Functions whose cards are displayed, whoever changes them."""

from __future__ import annotations

import threading
import weakref
from typing import Protocol

from nbfn.client.connection import HubConnection
from nbfn.protocol.messages import FunctionRow, OverviewChanges


class Follower(Protocol):
    """A display of a Function."""

    #: The Function's id.
    function_id: str

    def pool_changed(self, row: FunctionRow) -> None:
        """Called on the client's thread with the Function's new row; must not block."""


_followers: weakref.WeakKeyDictionary[HubConnection, weakref.WeakSet[Follower]] = (
    weakref.WeakKeyDictionary()
)
_lock = threading.Lock()


def follow(client: HubConnection, follower: Follower) -> None:
    """Report changes of a Function's pool to its display, for as long as the display exists."""
    with _lock:
        known = _followers.get(client)
        if known is None:
            known = _followers[client] = weakref.WeakSet()
            found = known
            client.watch(lambda changes: _report(found, changes))
        known.add(follower)


def _report(followers: weakref.WeakSet[Follower], changes: OverviewChanges) -> None:
    rows = {row.id: row for row in changes.functions}
    for follower in list(followers):
        if (row := rows.get(follower.function_id)) is not None:
            follower.pool_changed(row)
