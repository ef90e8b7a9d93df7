"""Runs the gateway process (`python -m nbfn.gateway`), which serves HTTP on sockets that the hub owns.

So a URL is known before its gateway runs, connections wait in the backlog while a gateway starts, and a
gateway that dies is replaced under the same addresses. The hub passes the sockets over a Unix socket; when it
closes, the hub has ended, and the gateway exits.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Collection

import msgspec

from nbfn.config import Places
from nbfn.hub.endpoint_sockets import EndpointSockets
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
