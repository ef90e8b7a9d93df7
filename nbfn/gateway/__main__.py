"""Runs the gateway process as ``python -m nbfn.gateway LINK``; the hub starts it.

LINK is the descriptor of a socket over which the hub passes the sockets to listen on. The gateway ends when the hub
closes the link or dies, so that the next hub can listen on the same ports.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from typing import Any

import uvicorn

from nbfn.client.call_observer import CallObserver, CallSink, CallView, set_observer
from nbfn.client.connection import HubConnection
from nbfn.config import Places
from nbfn.gateway.auth import Authenticator
from nbfn.gateway.gateway import Gateway
from nbfn.gateway.server import Protocol, Server
from nbfn.protocol.gateway_config import GatewayConfig
from nbfn.protocol.web_events import LARGEST
from nbfn.runtime.log_rotation import LogFile


class RequestObserver(CallObserver):
    """Discards the output of endpoints, which the hub stores in the logs of their Functions."""

    def call_started(self, call: CallView) -> CallSink:
        """See `nbfn.client.call_observer.CallObserver.call_started`."""
        return CallSink()


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
