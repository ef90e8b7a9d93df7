"""ZeroMQ, and its in-memory twin: how messages get from one process to another. Knows nothing of
what they mean.

A peer owns a `Link`; the hub owns a `Router`. `pair()` gives two ends of the same shape without
sockets, for tests. A link that loses the hub begins anew with a fresh socket, so nothing half-sent
survives: its owner says hello again and resends what is not confirmed. Heartbeats are ZMTP's own,
answered by libzmq's I/O thread even while user code holds the GIL.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import math
import queue
import select
from collections.abc import Iterator
from typing import Protocol

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from nbfn.exception import InvalidError, ResourceExhaustedError
from nbfn.protocol import codec, descriptors
from nbfn.protocol.codec import BadFrame
from nbfn.protocol.messages import Message
from nbfn.protocol.wakeup import Wakeup

#: Milliseconds between ZMTP heartbeats, and without an answer until the connection is given up
#: (docs/guarantees.md, F9).
HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT = 1000, 3000
#: Messages taken at once before the owner may do something else.
DRAIN = 512
#: Descriptors that a socket needs at least, and seconds until it is tried again where there are none.
SOCKET_DESCRIPTORS, RETRY_OPEN = 8, 0.1

#: Flags of libzmq as plain numbers: pyzmq's enums cost more to combine than a message costs to send.
_NOBLOCK, _SNDMORE, _POLLIN = int(zmq.NOBLOCK), int(zmq.SNDMORE), int(zmq.POLLIN)

_log = logging.getLogger("nbfn.hub")

Decoder = msgspec.msgpack.Decoder[Message]


class Change(enum.Enum):
    """What can happen to a connection."""

    UP = "up"
    DOWN = "down"


class Connection(Protocol):
    """One peer's end of the way to the hub. All but `wake` belong to one thread."""

    def wait(self, timeout: float | None) -> list[Message | Change | BadFrame]:
        """Return what arrived; an empty list after ``timeout`` seconds, or when woken."""

    def send(self, message: Message) -> None:
        """Send without blocking; while the hub is away the message is dropped, the owner resends
        after `Change.UP`.
        """

    def wake(self) -> None:
        """Make `wait` return soon. Safe from any thread, from signal handlers, and after `close`."""

    def close(self, linger: float = 0.0) -> None:
        """End the connection, giving what was sent ``linger`` seconds to leave."""


class Link:
    """A `Connection` over ZeroMQ.

    Args:
        endpoint: The hub's address.
        decoder: `codec.TO_CLIENT` or `codec.TO_WORKER`.
    """

    def __init__(self, endpoint: str, decoder: Decoder) -> None:
        self._endpoint = endpoint
        self._decoder = decoder
        self._context = zmq.Context()
        self._context.setsockopt(zmq.MAX_SOCKETS, 64)
        self._wakeup = Wakeup()
        self.up = False
        self._open()

    def _open(self) -> None:
        self._socket = _tuned(self._context.socket(zmq.DEALER))
        self._socket.setsockopt(zmq.RECONNECT_IVL, 10)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        try:
            self._socket.connect(self._endpoint)
        except zmq.ZMQError:  # the address itself is wrong: that nobody listens there is no error
            self.close()
            raise InvalidError(
                f"{self._endpoint!r} is not the address of a hub. Give one like ipc:///path/to/hub.sock, "
                "which 'nbfn hub status' shows."
            ) from None
        self._poller = zmq.Poller()
        for source in (self._socket, self._monitor, self._wakeup.fileno()):
            self._poller.register(source, zmq.POLLIN)

    def wait(self, timeout: float | None) -> list[Message | Change | BadFrame]:
        """See `Connection.wait`."""
        if self._socket.closed and not self._open_again():
            poller = select.poll()  # select() refuses descriptors from 1024 on
            poller.register(self._wakeup.fileno(), select.POLLIN)
            limit = RETRY_OPEN if timeout is None else min(timeout, RETRY_OPEN)
            poller.poll(math.ceil(limit * 1000))
            return []
        ready = dict(
            self._poller.poll(None if timeout is None else max(0, math.ceil(timeout * 1000)))
        )
        arrived: list[Message | Change | BadFrame] = []
        if self._wakeup.fileno() in ready:
            self._wakeup.clear()
        if self._monitor in ready and Change.UP in (changes := self._changes()):
            self.up = True
            arrived.append(Change.UP)
        else:
            changes = [] if self._monitor not in ready else changes
        if self._socket in ready:
            arrived.extend(self._receive())
        if Change.DOWN in changes:
            arrived.append(Change.DOWN)
            self.up = False
            self._close_socket(0)
            self._open_again()
        return arrived

    def _open_again(self) -> bool:
        """Open a fresh socket unless the process has no descriptors left; return whether there is one."""
        try:
            descriptors.check_free(SOCKET_DESCRIPTORS)
        except ResourceExhaustedError:
            return False
        self._open()
        return True

    def _changes(self) -> list[Change]:
        found = []
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"]
            found.append(Change.UP if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else Change.DOWN)
        return found

    def _receive(self) -> Iterator[Message | BadFrame]:
        for _ in range(DRAIN):
            if not _has_message(self._socket):
                return
            yield codec.decode(self._socket.recv(_NOBLOCK), self._decoder)

    def send(self, message: Message) -> None:
        """See `Connection.send`."""
        if self.up:
            self._socket.send(codec.encode(message), _NOBLOCK)

    def wake(self) -> None:
        """See `Connection.wake`."""
        self._wakeup.set()

    def close(self, linger: float = 0.0) -> None:
        """See `Connection.close`."""
        self._close_socket(linger)
        self._context.term()

    def _close_socket(self, linger: float) -> None:
        if self._socket.closed:
            return
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(int(linger * 1000))


class Router:
    """The hub's one socket: receives from all peers, sends to one, notices who is gone.

    Args:
        endpoint: Address to listen on. The caller holds the hub's lock; a stale socket file is
            replaced.
    """

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = _tuned(self._context.socket(zmq.ROUTER))
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, 2000)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._peer_of: dict[int, bytes] = {}  # connection's file descriptor -> peer
        self._fd_of: dict[bytes, int] = {}
        self._gone: list[bytes] = []
        self._told: list[bytes] = []  # peers that the last `lost` returned
        self._quiet = False  # the last wait saw nothing of the monitor
        self._readable = False  # ... but a message, which was not received yet
        self._foreign = 0  # messages of peers that speak no ZMTP of today
        self._socket.bind(endpoint)
        self._wakeup = Wakeup()
        self._poller = zmq.Poller()
        self.watch(self._socket, self._monitor, self._wakeup.fileno())

    def watch(self, *sources: zmq.Socket[bytes] | int) -> None:
        """Have `wait` end also when one of these file descriptors is readable."""
        for source in sources:
            self._poller.register(source, zmq.POLLIN)

    def wait(self, timeout: float) -> bool:
        """Return when there is something to receive, a peer is lost, or after ``timeout`` seconds.

        Returns:
            Whether one of the watched descriptors is readable.
        """
        ready = dict(self._poller.poll(math.ceil(max(0.0, timeout) * 1000)))
        if ready.pop(self._wakeup.fileno(), None):
            self._wakeup.clear()
        self._readable = ready.pop(self._socket, None) is not None
        self._quiet = ready.pop(self._monitor, None) is None
        return bool(ready)

    def wake(self) -> None:
        """Make `wait` return soon. Safe from any thread, and from signal handlers."""
        self._wakeup.set()

    def lost(self) -> list[bytes]:
        """Return the peers whose connections ended since the last call.

        What they sent before can be received until the next call.
        """
        for peer in self._told:
            self._fd_of.pop(peer, None)
        self._told = []
        if self._quiet and not self._gone:
            return []
        self._told = self._read_monitor()
        return self._told

    def _read_monitor(self) -> list[bytes]:
        while self._monitor.poll(0):
            descriptor = int(recv_monitor_message(self._monitor, zmq.NOBLOCK)["value"])
            peer = self._peer_of.pop(descriptor, None)
            if peer is not None:
                self._gone.append(peer)
        gone, self._gone = self._gone, []
        return gone

    def receive(self, most: int = DRAIN) -> Iterator[tuple[bytes, Message | BadFrame]]:
        """Yield (peer, message) for what has arrived, ``most`` at a time."""
        for _ in range(most):
            if not (self._readable or _has_message(self._socket)):
                return
            self._readable = False
            peer = self._socket.recv(_NOBLOCK)
            known = peer in self._fd_of
            first = b""
            if known:
                first = self._socket.recv()
            elif self._socket.getsockopt(zmq.RCVMORE):
                frame = self._socket.recv(copy=False)
                known = self._remember(peer, frame)
                first = frame.bytes
            count = 1
            while self._socket.getsockopt(zmq.RCVMORE):
                self._socket.recv()
                count += 1
            if count > 1 and known:
                yield peer, BadFrame(f"{count} frames where one belongs.")
            elif known:
                yield peer, codec.decode(first, codec.TO_HUB)
            else:
                self._count_foreign()

    def _count_foreign(self) -> None:
        """Note a message of a peer that speaks an old ZMTP: it has no descriptor, so its end would not be noticed."""
        self._foreign += 1
        if (
            self._foreign & (self._foreign - 1) == 0
        ):  # 1, 2, 4, 8, ...: a flood must not fill the log
            _log.warning("refused %d messages of peers that are not nbfn's", self._foreign)

    def _remember(self, peer: bytes, frame: zmq.Frame) -> bool:
        """Note the connection of a peer by its first frame; False if it does not tell."""
        try:
            descriptor = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:
            return False
        self._gone.extend(
            self._read_monitor()
        )  # so that an older connection's end is not taken for this one's
        self._peer_of[descriptor] = peer
        self._fd_of[peer] = descriptor
        return True

    def send(self, peer: bytes, message: Message) -> bool:
        """Send to one peer; False when it is gone."""
        try:
            frame = codec.encode(message)
            self._socket.send(peer, _SNDMORE | _NOBLOCK)
            self._socket.send(frame, _NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return False
            raise
        return True

    def close(self, linger: float = 1.0) -> None:
        """Stop listening; what was sent has ``linger`` seconds to leave."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(int(linger * 1000))
        self._context.term()


def _has_message(socket: zmq.Socket[bytes]) -> bool:
    """Return whether a message can be received; a third of the cost of an `zmq.Again` raised and caught."""
    return bool(socket.getsockopt(zmq.EVENTS) & _POLLIN)  # type: ignore[operator]


def _tuned(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """No high-water mark (credits bound what is sent), ZMTP heartbeats, a limit on what a peer
    may send.
    """
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, codec.MAX_FRAME)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_INTERVAL)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT)
    socket.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT)
    return socket


class Pipe:
    """One end of an in-memory pair; frames are really encoded and decoded on the way."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._inbox: queue.SimpleQueue[bytes | Change | None] = queue.SimpleQueue()
        self._other: Pipe | None = None

    def wait(self, timeout: float | None) -> list[Message | Change | BadFrame]:
        """See `Connection.wait`."""
        arrived: list[Message | Change | BadFrame] = []
        with contextlib.suppress(queue.Empty):
            item = self._inbox.get(timeout=timeout) if timeout != 0 else self._inbox.get_nowait()
            while item is not None:
                arrived.append(
                    item if isinstance(item, Change) else codec.decode(item, self._decoder)
                )
                item = self._inbox.get_nowait()
        return arrived

    def send(self, message: Message) -> None:
        """See `Connection.send`."""
        if self._other is not None:
            self._other._inbox.put(codec.encode(message))

    def wake(self) -> None:
        """See `Connection.wake`."""
        self._inbox.put(None)

    def close(self, linger: float = 0.0) -> None:
        """See `Connection.close`."""
        if self._other is not None:
            self._other._inbox.put(Change.DOWN)
            self._other._other = None
            self._other = None


def pair(here: Decoder = codec.TO_CLIENT, there: Decoder = codec.TO_HUB) -> tuple[Pipe, Pipe]:
    """Return two connected in-memory ends: what one sends, the other's `wait` returns."""
    left, right = Pipe(here), Pipe(there)
    left._other, right._other = right, left
    for end in (left, right):
        end._inbox.put(Change.UP)
    return left, right
