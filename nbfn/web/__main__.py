"""``python -m nbfn.web LISTENER ALIVE``: the gateway process. Started by the hub, with two descriptors of it.

LISTENER is the socket; ALIVE ends when the hub does, however it does, and so does the gateway then:
the next hub must be able to listen at the same port.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from nbfn.address import Address
from nbfn.config import Places
from nbfn.connection.observe import CallView, TextSink, set_observer
from nbfn.connection.session import Session
from nbfn.logfile import LogFile
from nbfn.web.gateway import Gateway
from nbfn.web.guard import Guard
from nbfn.wire.messages import Emission
from nbfn.wire.web import LARGEST


class Quiet(TextSink):
    """Passes over what endpoints print: the hub keeps it with the logs of their Functions."""

    def emission(self, e: Emission) -> None:
        """See `nbfn.connection.observe.CallSink.emission`."""


class Observer:
    """Has every request be as quiet."""

    def call_started(self, _call: CallView) -> Quiet:
        """See `nbfn.connection.observe.Observer.call_started`."""
        return Quiet()


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


def main() -> None:
    """Serve until the hub ends."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[LogFile(Places.of().web_log)],
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # below that it logs paths: tokens
    listener, alive = map(int, sys.argv[1:3])
    threading.Thread(target=_end_with, args=(alive,), name="nbfn-alive", daemon=True).start()
    sys.addaudithook(_refuse_unpickling)
    set_observer(Observer())
    asyncio.run(_serve(socket.socket(fileno=listener)))


async def _serve(listener: socket.socket) -> None:
    client = Session(start=False, registers=False)
    Protocol.patience = client.settings.web_patience
    guard = Guard(Address.load(Places.of().web_file), client.settings.web_hosts)
    config = uvicorn.Config(
        Gateway(client, guard),
        http=Protocol,
        ws="websockets-sansio",
        ws_max_size=LARGEST,
        lifespan="off",
        log_config=None,
        access_log=False,  # it would have the token in it
        proxy_headers=False,
        server_header=False,
    )
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        client.close()


def _end_with(alive: int) -> None:
    os.read(alive, 1)
    os._exit(0)


def _refuse_unpickling(event: str, _arguments: tuple[Any, ...]) -> None:
    """Whatever comes from a worker is never rebuilt here, not even by mistake."""
    if event == "pickle.find_class":
        raise RuntimeError("The gateway does not unpickle.")


if __name__ == "__main__":
    main()
