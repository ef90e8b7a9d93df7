"""The listening sockets of web endpoints: one port for each label, so that each endpoint is a separate origin.

The number of sockets is limited, and sockets of stopped endpoints are closed. A label keeps the port that
``web.json`` has for it, unless another process has taken that port.
"""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from nbfn.exception import Error, InvalidError, ResourceExhaustedError
from nbfn.protocol.gateway_config import GatewayConfig

_log = logging.getLogger("nbfn.hub")

#: Labels that need no quoting in a URL.
_LABEL = re.compile(r"[a-z0-9-]{1,1000}")
#: Connections that wait while a gateway starts.
BACKLOG = 512
#: Seconds an unused socket stays open: its endpoint may be staged for a deployment, or ``nbfn serve`` may restart it.
LINGER = 5.0
#: Seconds that a gateway may take to close a port: the gateway of a killed hub, or that of a stopped endpoint.
PORT_GRACE = 2.0


class EndpointSockets:
    """The sockets of one hub, by label.

    Args:
        path: The path of ``web.json``.
        most: Most sockets.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.sockets: dict[str, socket.socket] = {}
        #: When each label without an endpoint became unused.
        self.unused: dict[str, float] = {}
        self._path = path
        self._most = most
        self._address: GatewayConfig | None = None
        #: When a port was last closed, by this hub or the previous one.
        self._port_closed_at = time.monotonic()

    def listen_for(self, wanted: Iterable[str]) -> dict[str, str]:
        """Listen for these labels, and close others after `LINGER`; return errors by label."""
        wanted = dict.fromkeys(wanted)
        now = time.monotonic()
        self.unused = {
            label: self.unused.get(label, now) for label in self.sockets if label not in wanted
        }
        missing = [label for label in wanted if label not in self.sockets]
        room = self._most - len(self.sockets)
        for label, since in sorted(self.unused.items(), key=lambda item: item[1]):
            if now - since >= LINGER or len(missing) > room:
                self._close(label)
                room += 1
        refused = {}
        for label in missing:
            try:
                self.sockets[label] = self._listen(label)
            except (Error, OSError) as error:
                refused[label] = str(error)
        return refused

    def url(self, label: str) -> str:
        """Return the URL of a label; empty if it has no socket."""
        if label not in self.sockets or self._address is None:
            return ""
        return self._address.url(label)

    def close(self) -> None:
        """Close all sockets."""
        for label in list(self.sockets):
            self._close(label)

    def _close(self, label: str) -> None:
        self.sockets.pop(label).close()
        self.unused.pop(label, None)
        self._port_closed_at = time.monotonic()

    def _listen(self, label: str) -> socket.socket:
        """Listen for a label.

        Raises:
            Error: If the label cannot be part of a URL, ``web.json`` cannot be parsed, or there are too many sockets.
            OSError: If there is no port, or no descriptor.
        """
        if not _LABEL.fullmatch(label):
            raise InvalidError(
                f"Web endpoint {label[:64]!r} cannot have a URL: use letters, digits and '-'."
            )
        if len(self.sockets) >= self._most:
            raise ResourceExhaustedError(
                f"Web endpoint {label!r} gets no port: {self._most} listen already. Stop an App that is not "
                "needed, or restart the hub with a higher setting web_endpoints."
            )
        if self._address is None:
            self._address = GatewayConfig.load(self._path)
        before = self._address.ports.get(label, 0)
        listener = _listening(before, self._port_closed_at + PORT_GRACE)
        port = listener.getsockname()[1]
        if port != before:
            if before:
                _log.warning("port %d is taken: the URL of %s has port %d now", before, label, port)
            try:
                self._address = self._address.with_port(label, port, used=self.sockets)
                self._address.save(self._path)
            except OSError:
                listener.close()
                raise
        return listener


def _listening(port: int, until: float) -> socket.socket:
    """Listen on localhost: on the earlier port of the label, or on any free port if that one is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Connections of an earlier hub may be in TIME_WAIT; a socket that still listens there is an error all the same.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    while True:
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(BACKLOG)
        except OSError:
            if not port:
                listener.close()
                raise
            if time.monotonic() >= until:
                port = 0
            else:
                time.sleep(0.02)
        else:
            return listener
