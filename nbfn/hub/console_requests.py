"""Requests for consoles on workers: passed on to the worker, and its answer back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container

from nbfn.protocol import messages as m
from nbfn.protocol.messages import Message


class Consoles:
    """Remembers who asked for which worker's console.

    Args:
        send: Sends a message to a peer.
        connected: The peers that are there.
    """

    def __init__(self, send: Callable[[str, Message], None], connected: Container[str]) -> None:
        self._send = send
        self._connected = connected
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[str, int, str]] = {}  # (client, its request, worker)

    def ask(self, client: str, asked: m.Attach) -> None:
        """Pass a request on."""
        if not asked.worker.startswith("wk-") or asked.worker not in self._connected:
            said = f"There is no worker {asked.worker!r} here now."
            hint = "'nbfn container list' and %session show those that are."
            self._send(client, m.Failed(asked.request, "not_found", f"{said} {hint}"))
            return
        number = next(self._numbers)
        self._asked[number] = (client, asked.request, asked.worker)
        self._send(asked.worker, m.OpenConsole(number))

    def opened(self, worker: str, answer: m.ConsoleOpened) -> None:
        """Pass an answer back."""
        client, request, asked = self._asked.get(answer.request, ("", 0, ""))
        if not asked or asked != worker:
            return  # nobody asked for it
        del self._asked[answer.request]
        if answer.error:
            said = f"Worker {worker} could not open a console: {answer.error}"
            self._send(client, m.Failed(request, "execution", said))
        else:
            self._send(client, m.Attached(request, answer.connection_file))

    def lost(self, peer: str) -> None:
        """Answer for a worker that is gone; forget a client that is."""
        for number, (client, request, worker) in list(self._asked.items()):
            if peer in (client, worker):
                del self._asked[number]
            if peer == worker:
                said = f"Worker {worker} ended before it had opened a console."
                self._send(client, m.Failed(request, "not_found", said))
