"""The gateway's HTTP server: uvicorn's, on sockets that the hub passes while it runs."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_log = logging.getLogger("nbfn.web")
#: A label with its socket, or with None when it is gone.
_Change = tuple[str, socket.socket | None]

#: Bytes and descriptors that are read from the hub at a time.
CHUNK, DESCRIPTORS = 4096, 64


class Protocol(H11Protocol):
    """uvicorn's HTTP, for clients that take their time: it ends connections that ask for nothing."""

    #: Seconds a request's headers may take to arrive.
    patience = 30.0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once the headers are whole; after an answer, wait for the next ones."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_headers()
        else:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._forget()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.patience, self.transport.close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Server(uvicorn.Server):
    """Serves on the sockets that the hub passes over a link; ends the process when the link closes.

    Args:
        config: uvicorn's.
        link: The socket that the hub passes the others over.
        labels: Filled in here: the endpoint's label by port.
    """

    def __init__(self, config: uvicorn.Config, link: socket.socket, labels: dict[int, str]) -> None:
        super().__init__(config)
        self._link = link
        self._labels = labels
        self._listening: dict[str, asyncio.Server] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start without a socket; the hub passes them later."""
        await super().startup(sockets=[])
        changes: asyncio.Queue[_Change] = asyncio.Queue()
        self._attending = asyncio.create_task(self._attend(changes))
        there = (asyncio.get_running_loop(), changes)
        threading.Thread(target=self._follow, args=there, name="nbfn-link", daemon=True).start()

    def _follow(self, loop: asyncio.AbstractEventLoop, changes: asyncio.Queue[_Change]) -> None:
        """Read the link in a thread, so that the hub's end is noticed even when the loop is busy."""
        try:
            for change in _said(self._link):
                loop.call_soon_threadsafe(changes.put_nowait, change)
        except Exception:  # noqa: BLE001 - the process ends, whatever it was
            _log.exception("the link to the hub failed")
        finally:
            os._exit(0)

    async def _attend(self, changes: asyncio.Queue[_Change]) -> None:
        while True:
            label, listener = await changes.get()
            try:
                if listener is not None:
                    await self._open(label, listener)
                else:
                    self._close(label)
            except OSError:
                _log.exception("cannot listen for %s", label)

    async def _open(self, label: str, listener: socket.socket) -> None:
        self._labels[listener.getsockname()[1]] = label
        loop = asyncio.get_running_loop()
        self._listening[label] = server = await loop.create_server(
            self._protocol, sock=listener, backlog=self.config.backlog
        )
        self.servers.append(server)

    def _close(self, label: str) -> None:
        server = self._listening.pop(label, None)
        if server is None:
            return
        self.servers.remove(server)
        for listener in server.sockets:
            self._labels.pop(listener.getsockname()[1], None)
        server.close()

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def _said(link: socket.socket) -> Iterator[_Change]:
    """Yield the changes that the hub sends, until it closes the link."""
    rest = b""
    descriptors: deque[int] = deque()
    while True:
        data, received, _, _ = socket.recv_fds(link, CHUNK, DESCRIPTORS)
        if not data:
            return
        descriptors.extend(received)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            said = line.decode()
            new = socket.socket(fileno=descriptors.popleft()) if said[0] == "+" else None
            yield said[1:], new
