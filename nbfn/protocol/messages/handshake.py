"""Messages that open and close a connection. Different versions of the protocol can read them."""

from __future__ import annotations

from nbfn.protocol.messages.base import Message
from nbfn.protocol.messages.definition import Environment
from nbfn.protocol.messages.fields import ClientId, Count, Id, Lease, PathName, WorkerId

#: The version of the protocol. It increases by one with each incompatible change.
PROTOCOL = 4


class ClientHello(Message):
    """First message of a client to the hub. ``peer`` is the same for all connections of one process."""

    protocol: Count
    peer: ClientId
    nbfn: str
    cloudpickle: str
    python: str
    pid: Count
    host: str
    environment: Environment | None = (
        None  # set by clients that will register functions: the hub prepares a fork server for it
    )
    name: str = ""  # the name of the notebook or script, shown to users
    worker: Id = (
        ""  # the worker that runs this client, if any: its slot is lent out while the client waits
    )
    origin: str = ""  # the path of the notebook or the name of the script, stored with its calls


class ClientLeaves(Message):
    """Last message of a client to the hub: the client is closed and will not reconnect."""


class WorkerHello(Message):
    """First message of a worker to the hub.

    ``running`` are its leases: running, queued, or finished with results that are not acknowledged yet.
    """

    protocol: Count
    peer: WorkerId
    nbfn: str
    cloudpickle: str
    python: str
    pid: Count
    host: str
    executable: PathName
    function: Id = ""  # empty for a blank worker
    version: Count = 0
    running: tuple[tuple[Lease, Id, Count, Count], ...] = ()  # (lease, call, index, attempt)
    gpus: tuple[str, ...] = ()  # that were reserved for it when it was bound
    output: Count = 0  # the number of the last piece of output that it sent, see `Emitted`


class Welcome(Message):
    """Answer of the hub that accepts a connection. A new ``epoch`` means a new hub process."""

    protocol: int
    epoch: int
    nbfn: str
    pid: int


class Refused(Message):
    """Answer of the hub that refuses a connection, with the reason. The hub ignores its other messages."""

    code: str
    message: str
