"""The server's client of the hub: connects when a hub runs, and starts one only on request.

Without a connection, it checks the hub's connection file once a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial

from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.exception import ConnectionError, Error
from nbfn.jupyter.server.events import What

logger = logging.getLogger("nbfn.lab")

#: Seconds between two checks of the connection file while there is no hub.
POLL_INTERVAL = 1.0
#: Seconds a hub may take to answer before it counts as unreachable.
PATIENCE = 5.0


class HubClient:
    """Connects the routes to the hub, and reports changes of the overview.

    Args:
        on_change: Called with the revision and with what changed, on the server's event loop.
    """

    def __init__(self, on_change: Callable[[int, What], None]) -> None:
        self._on_change = on_change
        self._client: Client | None = None
        self._attempt: asyncio.Task[Client] | None = None
        self._poll_task: asyncio.Task[None] | None = None
        self._tried_file: tuple[int, int] | None = None

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
            self._on_change(0, "hub")
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

    async def _attach(self, *, start: bool) -> Client:
        client = await Client.attach.aio(start=start)
        self._client = client
        loop = asyncio.get_running_loop()
        client.watch(lambda revision: _in(loop, self._on_change, revision, "overview"))
        client.on_lost(lambda: _in(loop, self._lost, client))
        logger.info("attached to the hub")
        self._on_change(0, "hub")
        return client

    def _settled(self, attempt: asyncio.Task[Client]) -> None:
        self._attempt = None
        if not attempt.cancelled():
            attempt.exception()  # the waiting request has raised it

    def _lost(self, client: Client) -> None:
        # This client would reconnect, and might start a hub; the next connection uses a new client.
        if self._client is not client:
            return
        logger.info("the hub is gone")
        self._client = None
        self._tried_file = None
        self._on_change(0, "hub")
        asyncio.get_running_loop().run_in_executor(None, client.close)

    async def _poll(self) -> None:
        while True:
            if self._client is None and self._is_new():
                try:
                    await self.client()
                except ConnectionError:
                    pass  # a killed hub left the file, or the hub is still starting
                except Error as error:
                    logger.warning("cannot attach to the hub: %s", error)
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


def _in(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: object) -> None:
    """Call a function on the server's event loop, from the client's thread, unless the loop is closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(partial(call, *args))
