"""Sends and receives messages over ZeroMQ, or in memory for tests.

A client or worker has a `Link`, the hub has a `Router`; `pair` returns two connected ends in memory.
A link that loses the hub opens a new socket, so partially sent messages are dropped: its owner sends
its hello message again, and resends messages that the hub has not acknowledged. ZMTP sends the
heartbeats: the I/O thread of libzmq answers them even while user code holds the GIL.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import math
import os
import queue
import select
import sys
import weakref
from collections.abc import Iterator
from typing import Protocol

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from nbfn.exception import InvalidError, ResourceExhaustedError
from nbfn.protocol import codec, descriptors
from nbfn.protocol.codec import BadFrame
from nbfn.protocol.messages import Message

#: Milliseconds between ZMTP heartbeats, and milliseconds without an answer after which the connection is
#: closed (docs/guarantees.md, F9).
HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT = 1000, 3000
#: The most messages that are received at once, so that the owner can do other work in between.
DRAIN = 512
#: The least descriptors that a socket needs, and the seconds between two attempts to open it without them.
SOCKET_DESCRIPTORS, RETRY_OPEN = 8, 0.1

#: Flags of libzmq as plain integers: combining enums of pyzmq takes longer than sending a message.
_NOBLOCK, _SNDMORE, _POLLIN = int(zmq.NOBLOCK), int(zmq.SNDMORE), int(zmq.POLLIN)

_log = logging.getLogger("nbfn.hub")

Decoder = msgspec.msgpack.Decoder[Message]


class Change(enum.Enum):
    """A change of the state of a connection."""

    UP = "up"
    DOWN = "down"


class Connection(Protocol):
    """The end of a connection to the hub. Only `wake` may be called from several threads."""

    def wait(self, timeout: float | None) -> list[Message | Change | BadFrame]:
        """Wait for messages and changes of the connection.

        Args:
            timeout: Seconds to wait; None for no limit.

        Returns:
            The messages and changes, in order; an empty list after the time-out or after `wake`.
        """

    def send(self, message: Message) -> None:
        """Send a message without blocking.

        The message is dropped while there is no connection; the owner resends it after `Change.UP`.
        """

    def wake(self) -> None:
        """Make `wait` return soon. Safe from any thread, from signal handlers, and after `close`."""

    def close(self, linger: float = 0.0) -> None:
        """Close the connection; ``linger`` is the number of seconds to send pending messages."""


class Link:
    """A `Connection` over ZeroMQ.

    Args:
        endpoint: The address of the hub.
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
        except zmq.ZMQError:  # the address is not valid; that no hub listens there is not an error
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
            self._pause(timeout)
            return []
        ready = dict(
            self._poller.poll(None if timeout is None else max(0, math.ceil(timeout * 1000)))
        )
        arrived: list[Message | Change | BadFrame] = []
        if self._wakeup.fileno() in ready:
            self._wakeup.clear()
        changes = self._changes() if self._monitor in ready else ()
        if Change.UP in changes:
            self.up = True
            arrived.append(Change.UP)
        if self._socket in ready:
            arrived.extend(self._receive())
        if Change.DOWN in changes:
            arrived.append(Change.DOWN)
            self.up = False
            self._close_socket(0)
            self._open_again()
        return arrived

    def _pause(self, timeout: float | None) -> None:
        """Wait until `wake`, or until the socket can be opened again."""
        poller = select.poll()  # select() does not accept descriptors from 1024 on
        poller.register(self._wakeup.fileno(), select.POLLIN)
        limit = RETRY_OPEN if timeout is None else min(timeout, RETRY_OPEN)
        poller.poll(math.ceil(limit * 1000))

    def _open_again(self) -> bool:
        """Open a new socket; return False if the process has no file descriptors left."""
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
    """The socket of the hub: it receives messages of all peers, sends to one peer, and detects lost peers.

    Args:
        endpoint: The address to listen on. A stale socket file is replaced, so the caller must hold the
            lock of the hub.
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
        self._quiet = False  # whether the last wait found no event of the monitor
        self._readable = False  # whether the last wait found a message that is not received yet
        self._foreign = 0  # messages of peers that use an old version of ZMTP
        self._socket.bind(endpoint)
        self._wakeup = Wakeup()
        self._poller = zmq.Poller()
        self.watch(self._socket, self._monitor, self._wakeup.fileno())

    def watch(self, *sources: zmq.Socket[bytes] | int) -> None:
        """Make `wait` return also when one of these sockets or file descriptors is readable."""
        for source in sources:
            self._poller.register(source, zmq.POLLIN)

    def wait(self, timeout: float) -> bool:
        """Wait until a message can be received or a peer is lost.

        Args:
            timeout: Seconds to wait at most.

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

        Messages that they sent before can be received until the next call.
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
        """Yield the received messages as (peer, message).

        Args:
            most: The most messages to receive.
        """
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
        """Count a refused message of a peer that uses an old version of ZMTP.

        Such a peer has no descriptor, so the hub could not detect the end of its connection.
        """
        self._foreign += 1
        if (
            self._foreign & (self._foreign - 1) == 0
        ):  # log 1, 2, 4, 8, ..., so that many messages do not fill the log
            _log.warning("refused %d messages of peers that are not nbfn's", self._foreign)

    def _remember(self, peer: bytes, frame: zmq.Frame) -> bool:
        """Record the descriptor of a peer's connection; return False if its first frame has none."""
        try:
            descriptor = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:
            return False
        self._gone.extend(
            self._read_monitor()
        )  # first, so that the end of an earlier connection is not attributed to this one
        self._peer_of[descriptor] = peer
        self._fd_of[peer] = descriptor
        return True

    def send(self, peer: bytes, message: Message) -> bool:
        """Send a message to one peer; return False if the peer has disconnected."""
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
        """Stop listening; ``linger`` is the number of seconds to send pending messages."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(int(linger * 1000))
        self._context.term()


def _has_message(socket: zmq.Socket[bytes]) -> bool:
    """Return whether a message can be received. This takes a third of the time of catching `zmq.Again`."""
    return bool(socket.getsockopt(zmq.EVENTS) & _POLLIN)  # type: ignore[operator]


def _tuned(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """Set the options of a socket: heartbeats, a limit on message size, and no high-water mark.

    The credits of the protocol already limit the number of messages.
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
    """One end of a connection in memory. Messages are encoded and decoded as on a socket."""

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
    """Return the two ends of a connection in memory.

    Args:
        here: The decoder of the first end.
        there: The decoder of the second end.
    """
    left, right = Pipe(here), Pipe(there)
    left._other, right._other = right, left
    for end in (left, right):
        end._inbox.put(Change.UP)
    return left, right


# --- waking a thread -----------------------------------------------------------------------------

_ONE = (1).to_bytes(
    8, sys.byteorder
)  # an eventfd requires integers of eight bytes; a pipe accepts any bytes


class Wakeup:
    """Wakes a thread that polls `fileno`.

    The descriptor stays open as long as the object exists, so other threads can call `set` at any time without a lock.
    If it were closed earlier, they could write to a file of the user that has the same descriptor number.
    """

    def __init__(self) -> None:
        if sys.platform == "linux" and hasattr(os, "eventfd"):
            self._readable = self._writable = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._readable, self._writable = os.pipe()
            os.set_blocking(self._readable, False)
            os.set_blocking(self._writable, False)
        weakref.finalize(self, _close, {self._readable, self._writable})

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._readable

    def set(self) -> None:
        """Make the descriptor readable. Safe from any thread and from signal handlers."""
        try:
            os.write(self._writable, _ONE)
        except BlockingIOError:  # it is full, and therefore readable
            pass

    def clear(self) -> None:
        """Make the descriptor unreadable until the next `set`."""
        try:
            os.read(self._readable, 64 * 1024)
        except BlockingIOError:
            pass


def _close(descriptors: set[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
