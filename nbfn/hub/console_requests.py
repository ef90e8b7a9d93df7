"""Forwards requests for consoles to workers, and their answers to clients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container

from nbfn.protocol import messages as m
from nbfn.protocol.messages import Message


class ConsoleRequests:
    """The pending requests for consoles of workers.

    Args:
        send: Sends a message to a peer.
        connected: The ids of connected peers.
    """

    def __init__(self, send: Callable[[str, Message], None], connected: Container[str]) -> None:
        self._send = send
        self._connected = connected
        self._numbers = itertools.count(1)
        self._requests: dict[int, tuple[str, int, str]] = {}  # (client, its request, worker)

    def attach(self, client: str, message: m.Attach) -> None:
        """Forward a request to its worker."""
        if not message.worker.startswith("wk-") or message.worker not in self._connected:
            text = f"There is no worker {message.worker!r} here now."
            hint = "'nbfn container list' and %session show those that are."
            self._send(client, m.Failed(message.request, "not_found", f"{text} {hint}"))
            return
        number = next(self._numbers)
        self._requests[number] = (client, message.request, message.worker)
        self._send(message.worker, m.OpenConsole(number))

    def handle_opened(self, worker: str, answer: m.ConsoleOpened) -> None:
        """Forward an answer to the client."""
        client, request, expected = self._requests.get(answer.request, ("", 0, ""))
        if not expected or expected != worker:
            return  # there is no such request
        del self._requests[answer.request]
        if answer.error:
            text = f"Worker {worker} could not open a console: {answer.error}"
            self._send(client, m.Failed(request, "execution", text))
        else:
            self._send(client, m.Attached(request, answer.connection_file))

    def lost(self, peer: str) -> None:
        """Fail the requests for a lost worker; drop those of a lost client."""
        for number, (client, request, worker) in list(self._requests.items()):
            if peer in (client, worker):
                del self._requests[number]
            if peer == worker:
                text = f"Worker {worker} ended before it had opened a console."
                self._send(client, m.Failed(request, "not_found", text))
