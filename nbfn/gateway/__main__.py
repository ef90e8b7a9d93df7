"""Runs the gateway process as ``python -m nbfn.gateway LINK``; the hub starts it.

LINK is the descriptor of a socket over which the hub passes the sockets to listen on. The gateway ends when the hub
closes the link or dies, so that the next hub can listen on the same ports.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from nbfn.client.call_observer import CallObserver, CallSink, CallView, set_observer
from nbfn.client.connection import HubConnection
from nbfn.config import Places
from nbfn.gateway.auth import Authenticator
from nbfn.gateway.gateway import Gateway
from nbfn.protocol.gateway_config import GatewayConfig
from nbfn.protocol.web_events import LARGEST
from nbfn.runtime.log_rotation import LogFile


class RequestObserver(CallObserver):
    """Discards the output of endpoints, which the hub stores in the logs of their Functions."""

    def call_started(self, call: CallView) -> CallSink:
        """See `nbfn.client.call_observer.CallObserver.call_started`."""
        return CallSink()


_log = logging.getLogger("nbfn.web")
#: A label with its listening socket, or with None when the endpoint was removed.
_Change = tuple[str, socket.socket | None]

#: The largest number of bytes and of descriptors that are read at a time.
CHUNK, DESCRIPTORS = 4096, 64


class Protocol(H11Protocol):
    """The HTTP protocol of uvicorn, which also closes connections whose request headers do not arrive in time."""

    #: Seconds within which the headers of a request must arrive.
    header_timeout = 30.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the deadline for the headers of a request."""
        super().connection_made(transport)
        self._start_deadline()

    def data_received(self, data: bytes) -> None:
        """Cancel the deadline when the headers have arrived; start it again after a response."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._start_deadline()
        else:
            self._cancel_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._cancel_deadline()
        super().connection_lost(exc)

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.header_timeout, self.transport.close)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """Serves on the sockets that the hub passes over a link; ends the process when the link closes.

    Args:
        config: The configuration of uvicorn.
        link: The socket over which the hub passes the listening sockets.
        labels: The labels of endpoints by port; updated by the server.
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
        self._listening_task = asyncio.create_task(self._apply_changes(changes))
        arguments = (asyncio.get_running_loop(), changes)
        threading.Thread(
            target=self._read_link, args=arguments, name="nbfn-link", daemon=True
        ).start()

    def _read_link(self, loop: asyncio.AbstractEventLoop, changes: asyncio.Queue[_Change]) -> None:
        """Read the link, in a thread, so that the end of the hub is noticed while the loop is busy."""
        try:
            for change in _changes(self._link):
                loop.call_soon_threadsafe(changes.put_nowait, change)
        except Exception:  # noqa: BLE001 - the process ends in any case
            _log.exception("The link to the hub failed. The gateway ends.")
        finally:
            os._exit(0)

    async def _apply_changes(self, changes: asyncio.Queue[_Change]) -> None:
        while True:
            label, listener = await changes.get()
            try:
                if listener is not None:
                    await self._open(label, listener)
                else:
                    self._close(label)
            except OSError:
                _log.exception("Cannot listen for the endpoint %s", label)

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


def _changes(link: socket.socket) -> Iterator[_Change]:
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
            change = line.decode()
            new = socket.socket(fileno=descriptors.popleft()) if change[0] == "+" else None
            yield change[1:], new


def main() -> None:
    """Serve until the hub ends."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[LogFile(Places.of().web_log)],
    )
    logging.getLogger("uvicorn").setLevel(
        logging.WARNING
    )  # at lower levels it logs paths, which contain keys
    sys.addaudithook(_refuse_unpickling)
    set_observer(RequestObserver())
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1]))))


async def _serve(link: socket.socket) -> None:
    client = HubConnection(start=False, registers=False)
    Protocol.header_timeout = client.settings.web_patience
    labels: dict[int, str] = {}
    authenticator = Authenticator(
        GatewayConfig.load(Places.of().web_file), client.settings.web_hosts, labels
    )
    config = uvicorn.Config(
        Gateway(client, authenticator),
        http=Protocol,
        ws="websockets-sansio",
        ws_max_size=LARGEST,
        lifespan="off",
        log_config=None,
        access_log=False,  # it would contain the keys of URLs
        proxy_headers=False,
        server_header=False,
    )
    try:
        await Server(config, link, labels).serve()
    finally:
        client.close()


def _refuse_unpickling(event: str, _arguments: tuple[Any, ...]) -> None:
    """Raise an error when anything is unpickled: data of workers is not trusted here."""
    if event == "pickle.find_class":
        raise RuntimeError("The gateway does not unpickle.")


if __name__ == "__main__":
    main()
