"""Where web endpoints listen: the hub owns the socket, a gateway process (`python -m nbfn.web`) answers.

So a URL is known before anything runs behind it, connections wait in the backlog while a gateway
starts, and a gateway that dies is replaced under the same address. The port and the secret part of
the URLs are kept in ``web.json`` (0600): URLs stay the same from one hub to the next.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import msgspec

from nbfn.address import Address
from nbfn.config import Places
from nbfn.exception import Error
from nbfn.wire.messages import Definition, FunctionInfo

_log = logging.getLogger("nbfn.hub")

#: What the extra ``nbfn[web]`` installs.
NEEDED = ("uvicorn", "websockets")
#: Connections that wait while a gateway starts.
BACKLOG = 512
#: Seconds that the gateway of a killed hub has to let go of the port.
PORT_GRACE = 2.0
#: Seconds between two looks whether the gateway lives.
LOOK_EVERY = 0.05
#: Seconds until a gateway that died is replaced; the more often it did in a row, the later.
AGAIN, AGAIN_MAX = 0.05, 10.0
#: Seconds after which a gateway counts as having started well.
STARTED_WELL = 10.0


class GatewayProcess:
    """The gateway process of one hub, and the socket that it answers on.

    Args:
        places: Of this hub.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._socket: socket.socket | None = None
        self._base = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._alive = -1  # the gateway ends when this is closed, however the hub ended
        self._began = 0.0
        self._deaths = 0
        self._again = 0.0
        self._looked = 0.0

    def open(self) -> str:
        """Listen, because there is an endpoint; return why that cannot be, empty when it can."""
        lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if lacking:
            return (
                f"Web endpoints need {' and '.join(lacking)} in the hub's Python ({sys.executable}). "
                "Install them there: pip install 'nbfn[web]'."
            )
        if self._socket is None:
            try:
                self._listen()
            except (Error, OSError) as error:
                return str(error)
        self.look()
        return ""

    def complete(self, info: FunctionInfo) -> FunctionInfo:
        """Return what a client learns of a Function with its URL; of a class, what labels are appended to."""
        if not has_endpoint(info) or not self._base:
            return info
        label = info.endpoint.label if info.endpoint is not None else ""
        return msgspec.structs.replace(info, web_url=self._base + label)

    def url(self, label: str) -> str | None:
        """Return the URL of a label; None when nothing listens."""
        return self._base + label if self._base else None

    def look(self) -> None:
        """Start the gateway if it should run and does not."""
        if self._socket is None:
            return
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return  # the hub turns thousands of times a second
        self._looked = now
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._deaths = 0 if now - self._began > STARTED_WELL else self._deaths + 1
            self._again = now + min(AGAIN * 2**self._deaths, AGAIN_MAX)
            _log.warning(
                "the web gateway ended (exit %s); another follows", self._process.returncode
            )
            self._forget_process()
        if now >= self._again:
            self._start(self._socket, now)

    def close(self) -> None:
        """End the gateway and stop listening."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process = self._process
        self._forget_process()
        if process is not None:
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _listen(self) -> None:
        path = self._places.web_file
        kept = Address.load(path)
        listener = _listening(kept.port)
        port = listener.getsockname()[1]
        if kept.port != port:
            if kept.port:
                _log.warning("port %d is taken: URLs have port %d now", kept.port, port)
            kept = replace(kept, port=port)
            kept.save(path)
        self._socket, self._base = listener, kept.base

    def _start(self, listener: socket.socket, now: float) -> None:
        theirs, self._alive = os.pipe()
        environment = os.environ | {"NBFN_HOME": str(self._places.home)}
        environment.pop("NBFN_HUB", None)
        numbers = (listener.fileno(), theirs)
        with self._places.web_log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nbfn.web", *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._places.home,
                env=environment,
                pass_fds=numbers,
                start_new_session=True,
            )
        os.close(theirs)
        self._began = now
        _log.info("web gateway, pid %d, at port %d", self._process.pid, listener.getsockname()[1])

    def _forget_process(self) -> None:
        self._process = None
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1


def has_endpoint(what: FunctionInfo | Definition) -> bool:
    """Return whether it, or one of its methods, answers HTTP."""
    return what.endpoint is not None or any(method.endpoint for method in what.methods)


def _listening(port: int) -> socket.socket:
    """Listen on this machine only: at the port that was before, or at any when that is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Connections of an earlier hub linger; a socket that listens there still forbids it all the same.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    until = time.monotonic() + (PORT_GRACE if port else 0.0)
    while True:
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(BACKLOG)
        except OSError:
            if not port:
                raise
            if time.monotonic() >= until:
                port = 0
            time.sleep(0.02)
        else:
            return listener
