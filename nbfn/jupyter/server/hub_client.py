"""The server's client of the hub: connects when a hub runs, and starts one only on request.

Without a connection, it looks once a second whether a hub runs.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import os
from collections.abc import Callable
from functools import partial

from nbfn.client import discovery
from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.exception import ConnectionError, Error
from nbfn.jupyter.server.overview_mirror import OverviewMirror
from nbfn.protocol.messages import OverviewChanges

logger = logging.getLogger("nbfn.lab")

#: Seconds between two looks for a hub.
POLL_INTERVAL = 1.0
#: Seconds a hub may take to answer before it counts as unreachable.
PATIENCE = 5.0
#: Seconds between two events when nothing changes.
BEAT_INTERVAL = 4.0


class HubClient:
    """Connects the routes to the hub, and keeps the mirror of its overview current.

    Args:
        mirror: The mirror; it is changed on the server's event loop only.
    """

    def __init__(self, mirror: OverviewMirror) -> None:
        self.mirror = mirror
        self._client: Client | None = None
        self._attempt: asyncio.Task[Client] | None = None
        self._poll_task: asyncio.Task[None] | None = None
        self._tried_file: tuple[int, int] | None = None
        self._first_rows = asyncio.Event()

    def start(self) -> None:
        """Start looking for a hub. Must be called on the server's event loop."""
        self._poll_task = asyncio.create_task(self._poll())

    async def close(self) -> None:
        """Stop looking for a hub and close the client."""
        tasks = [task for task in (self._poll_task, self._attempt) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._client is not None:
            client, self._client = self._client, None
            await asyncio.to_thread(client.close)

    async def reconnect(self) -> None:
        """Close the client, so that the next one connects to the hub that ``NBFN_HUB`` names now."""
        self._tried_file = None
        if (client := self._client) is not None:
            self._client = None
            self.mirror.disconnect("absent", "The hub that the settings name is not connected yet.")
            await asyncio.to_thread(client.close)

    async def client(self, *, start: bool = False) -> Client:
        """Return the connected client.

        Args:
            start: Whether to start the embedded hub if there is none.

        Raises:
            ConnectionError: If there is no hub, or it does not answer.
        """
        if start and self._attempt is not None:
            await asyncio.wait([self._attempt])  # that attempt may not start a hub
        if self._client is not None:
            return self._client
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._attach(start=start))
            self._attempt.add_done_callback(self._settled)
        # Shielded: a request that times out must not cancel the attempt for later requests.
        return await asyncio.shield(self._attempt)

    async def overview(self) -> None:
        """Wait until the mirror has the rows of a connected hub, or it is clear that there is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.client()
                await self._first_rows.wait()
        except ConnectionError as error:
            self.mirror.disconnect("unreachable" if _is_alive() else "absent", str(error))
        except Error as error:
            self.mirror.disconnect("unreachable", str(error))
        except builtins.TimeoutError:
            self.mirror.disconnect("unreachable", _no_answer())

    async def _attach(self, *, start: bool) -> Client:
        client = await Client.attach.aio(start=start)
        self._client = client
        self._first_rows.clear()
        loop = asyncio.get_running_loop()
        client.watch(lambda changes: _in(loop, self._changed, client, changes))
        client.on_lost(lambda: _in(loop, self._lost, client))
        logger.info("attached to the hub")
        return client

    def _settled(self, attempt: asyncio.Task[Client]) -> None:
        self._attempt = None
        if not attempt.cancelled():
            attempt.exception()  # the waiting request has raised it

    def _changed(self, client: Client, changes: OverviewChanges) -> None:
        if self._client is client:
            self.mirror.apply(changes)
            self._first_rows.set()

    def _lost(self, client: Client) -> None:
        # This client would reconnect, and might start a hub; the next connection uses a new client.
        if self._client is not client:
            return
        logger.info("the hub is gone")
        self._client = None
        self._tried_file = None
        if _is_alive():
            self.mirror.disconnect("unreachable", _no_answer())
        else:
            self.mirror.disconnect("absent", "nbfn is not running.")
        asyncio.get_running_loop().run_in_executor(None, client.close)

    async def _poll(self) -> None:
        while True:
            if self._client is None and (self._is_new() or _is_alive()):
                await self.overview()
            self.mirror.beat(BEAT_INTERVAL)
            await asyncio.sleep(POLL_INTERVAL)

    def _is_new(self) -> bool:
        """Whether there is a connection file that was not tried before, or a hub at another address."""
        if os.environ.get("NBFN_HUB"):
            return True
        try:
            found = Places.of().connection_file.stat()
        except OSError:
            return False
        mark = (found.st_ino, found.st_mtime_ns)
        is_new, self._tried_file = mark != self._tried_file, mark
        return is_new


def _is_alive() -> bool:
    """Whether a hub process exists, which may answer later."""
    return discovery.is_running(Places.of())


def _no_answer() -> str:
    pid = discovery.read_connection_file(Places.of()).get("pid", "unknown")
    return (
        f"The nbfn hub (process {pid}) does not answer. If that lasts, end this process; calls that "
        "are stored go on when the next hub starts."
    )


def _in(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: object) -> None:
    """Call a function on the server's event loop, from the client's thread, unless the loop is closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(partial(call, *args))
