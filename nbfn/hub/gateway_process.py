"""Runs the gateway process (`python -m nbfn.gateway`), which serves HTTP on sockets that the hub owns.

So a URL is known before its gateway runs, connections wait in the backlog while a gateway starts, and a
gateway that dies is replaced under the same addresses. The hub passes the sockets over a Unix socket; when it
closes, the hub has ended, and the gateway exits.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from nbfn.config import Places
from nbfn.exception import Error, InvalidError, ResourceExhaustedError
from nbfn.protocol.gateway_config import GatewayConfig
from nbfn.protocol.messages import Definition, FunctionInfo

_log = logging.getLogger("nbfn.hub")

#: The packages that the extra ``nbfn[web]`` installs.
NEEDED = ("uvicorn", "websockets")
#: Seconds between two checks whether the gateway runs.
CHECK_INTERVAL = 0.05
#: Seconds until a gateway that died is restarted: doubled for each failure in a row, up to the second.
RESTART_DELAY, MAX_RESTART_DELAY = 0.05, 10.0
#: Seconds of running after which earlier failures no longer count.
STARTED_WELL = 10.0


class GatewayProcess:
    """The gateway process of one hub, and its listening sockets.

    Args:
        places: The directories of this hub.
        most: Most endpoints that may listen.
    """

    def __init__(self, places: Places, most: int) -> None:
        self._places = places
        self._listeners = EndpointSockets(places.web_file, most)
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = (
            None  # the gateway exits when it closes, however the hub ended
        )
        self._sent_sockets: dict[
            str, socket.socket
        ] = {}  # the sockets that the gateway has, by label
        self._started_at = 0.0
        self._failures = 0
        self._restart_at = 0.0
        self._checked_at = 0.0

    def listen_for(self, labels: Collection[str]) -> dict[str, str]:
        """Listen for exactly these labels; return errors by label."""
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if labels and missing:
            text = (
                f"Web endpoints need {' and '.join(missing)} in the hub's Python ({sys.executable}). "
                "Install them there: pip install 'nbfn[web]'."
            )
            return dict.fromkeys(labels, text)
        refused = self._listeners.listen_for(labels)
        self.check()
        self._pass_sockets()  # immediately: a closed port may be needed again soon
        return refused

    @property
    def closing(self) -> bool:
        """Whether sockets of removed endpoints are still open."""
        return bool(self._listeners.unused)

    def complete(self, info: FunctionInfo) -> FunctionInfo:
        """Return the info of a Function with the URLs of it and of its methods."""
        if not has_endpoint(info):
            return info
        methods = tuple(
            msgspec.structs.replace(method, web_url=self._listeners.url(method.endpoint.label))
            if method.endpoint is not None
            else method
            for method in info.methods
        )
        url = self._listeners.url(info.endpoint.label) if info.endpoint is not None else ""
        return msgspec.structs.replace(info, web_url=url, methods=methods)

    def url(self, label: str) -> str | None:
        """Return the URL of a label; None if it has no socket."""
        return self._listeners.url(label) or None

    def check(self) -> None:
        """Start the gateway if it should run but does not; pass it the sockets that it lacks."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_INTERVAL:
            return  # the hub calls this thousands of times a second
        self._checked_at = now
        if self._process is not None and self._process.poll() is not None:
            self._failures = 0 if now - self._started_at > STARTED_WELL else self._failures + 1
            self._restart_at = now + min(RESTART_DELAY * 2**self._failures, MAX_RESTART_DELAY)
            _log.warning(
                "the web gateway ended (exit %s) and is restarted", self._process.returncode
            )
            self._forget_process()
        if self._process is None and self._listeners.sockets and now >= self._restart_at:
            self._start(now)
        self._pass_sockets()

    def close(self) -> None:
        """Stop the gateway and close the sockets."""
        self._listeners.close()
        process = self._process
        self._forget_process()
        if process is not None:
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, now: float) -> None:
        environment = os.environ | {"NBFN_HOME": str(self._places.home)}
        environment.pop("NBFN_HUB", None)
        try:
            self._link, theirs = socket.socketpair()
            self._link.setblocking(False)
            with theirs, self._places.web_log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "nbfn.gateway", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._places.home,
                    env=environment,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except OSError as error:
            _log.error("the web gateway cannot be started: %s", error)
            self._forget_process()
            self._restart_at = now + MAX_RESTART_DELAY
            return
        self._started_at = now
        _log.info("started the web gateway, pid %d", self._process.pid)

    def _pass_sockets(self) -> None:
        """Send a line for each change: ``+label`` with a socket, or ``-label``."""
        if self._link is None:
            return
        sockets = self._listeners.sockets
        try:
            for label, sent in list(self._sent_sockets.items()):
                if sockets.get(label) is not sent:
                    self._link.send(f"-{label}\n".encode())
                    del self._sent_sockets[label]
            for label in sockets.keys() - self._sent_sockets.keys():
                line, listener = f"+{label}\n".encode(), sockets[label]
                socket.send_fds(self._link, [line], [listener.fileno()])
                self._sent_sockets[label] = listener
        except BlockingIOError:
            pass  # the buffer is full: the other sockets follow at the next check
        except OSError as error:
            _log.debug("a socket was not passed to the web gateway: %s", error)

    def _forget_process(self) -> None:
        self._process = None
        self._sent_sockets.clear()
        if self._link is not None:
            self._link.close()
            self._link = None


def has_endpoint(what: FunctionInfo | Definition) -> bool:
    """Return whether a Function, or one of its methods, serves HTTP."""
    return what.endpoint is not None or any(method.endpoint for method in what.methods)


# --- sockets of endpoints ------------------------------------------------------------------------

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
