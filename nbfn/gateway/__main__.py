"""``python -m nbfn.gateway LINK``: the gateway process. Started by the hub, with a descriptor of it.

LINK is a socket over which the hub passes those to listen on. It ends when the hub does, however it does, and so
does the gateway then: the next hub must be able to listen at the same ports.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from typing import Any

import uvicorn

from nbfn.client.call_observer import CallView, TextSink, set_observer
from nbfn.client.connection import HubConnection
from nbfn.config import Places
from nbfn.gateway.auth import Guard
from nbfn.gateway.gateway import Gateway
from nbfn.gateway.server import Protocol, Server
from nbfn.protocol.gateway_config import Address
from nbfn.protocol.messages import Emission
from nbfn.protocol.web_events import LARGEST
from nbfn.runtime.log_rotation import LogFile


class Quiet(TextSink):
    """Passes over what endpoints print: the hub keeps it with the logs of their Functions."""

    def emission(self, e: Emission) -> None:
        """See `nbfn.client.call_observer.CallSink.emission`."""


class Observer:
    """Has every request be as quiet."""

    def call_started(self, _call: CallView) -> Quiet:
        """See `nbfn.client.call_observer.Observer.call_started`."""
        return Quiet()


def main() -> None:
    """Serve until the hub ends."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[LogFile(Places.of().web_log)],
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # below that it logs paths: keys
    sys.addaudithook(_refuse_unpickling)
    set_observer(Observer())
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1]))))


async def _serve(link: socket.socket) -> None:
    client = HubConnection(start=False, registers=False)
    Protocol.patience = client.settings.web_patience
    labels: dict[int, str] = {}
    guard = Guard(Address.load(Places.of().web_file), client.settings.web_hosts, labels)
    config = uvicorn.Config(
        Gateway(client, guard),
        http=Protocol,
        ws="websockets-sansio",
        ws_max_size=LARGEST,
        lifespan="off",
        log_config=None,
        access_log=False,  # it would have the key of the URL in it
        proxy_headers=False,
        server_header=False,
    )
    try:
        await Server(config, link, labels).serve()
    finally:
        client.close()


def _refuse_unpickling(event: str, _arguments: tuple[Any, ...]) -> None:
    """Whatever comes from a worker is never rebuilt here, not even by mistake."""
    if event == "pickle.find_class":
        raise RuntimeError("The gateway does not unpickle.")


if __name__ == "__main__":
    main()
