"""A proxy for the hub's socket that delays, holds back or cuts the traffic of clients and workers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from nbfn.client import discovery
from nbfn.config import Places
from tests.conftest import wait_until


class Proxy:
    """Takes the place of a hub's socket and forwards each connection to it.

    Args:
        path: Where clients and workers connect.
        hub: Where the hub listens.

    Attributes:
        delay: Seconds by which each direction is late.
        connections: Connections that were made through it.
    """

    def __init__(self, path: Path, hub: Path) -> None:
        self.delay = 0.0
        self.connections = 0
        self._path, self._hub = path, hub
        self._writers: set[asyncio.StreamWriter] = set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._listening.wait(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._flowing, self._ended = asyncio.Event(), asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_unix_server(self._accept, self._path)
        self._listening.set()
        await self._ended.wait()
        server.close()
        self._abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, peer: asyncio.StreamReader, to_peer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            hub, to_hub = await asyncio.open_unix_connection(self._hub)
        except OSError:
            to_peer.transport.abort()
            return
        both = {to_peer, to_hub}
        self._writers |= both
        ways = [
            asyncio.create_task(self._forward(peer, to_hub)),
            asyncio.create_task(self._forward(hub, to_peer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers -= both
            for way in ways:
                way.cancel()
            for writer in both:
                writer.transport.abort()

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(2**16):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._flowing.wait()
                target.write(data)
                await target.drain()

    def hold(self) -> None:
        """Forward nothing until `release`; connections stay open."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def release(self) -> None:
        """Forward what was held back, and what comes."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut(self) -> None:
        """End all connections; new ones are accepted."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def close(self) -> None:
        """End all connections, and stop."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def proxied(places: Places) -> Iterator[Proxy]:
    """Start a hub whose clients and workers all connect through a proxy."""
    discovery.start(places)
    connection = places.connection_file
    wait_until(connection.exists, within=20)
    moved = places.socket.with_name("real")
    places.socket.rename(moved)
    proxy = Proxy(places.socket, moved)
    try:
        yield proxy
    finally:
        proxy.release()
        proxy.delay = 0.0
        moved.replace(places.socket)  # the hub can be stopped as any other
        proxy.close()
