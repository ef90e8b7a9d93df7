"""The first word on every connection, and its answer. These are read across versions of the protocol."""

from __future__ import annotations

from nbfn.protocol.messages.base import Message
from nbfn.protocol.messages.definition import Environment
from nbfn.protocol.messages.fields import ClientId, Count, Id, Lease, PathName, WorkerId

#: Raised by one whenever two versions could not understand each other.
PROTOCOL = 3


class ClientHello(Message):
    """Client to hub. ``peer`` is stable across reconnects of one process."""

    protocol: Count
    peer: ClientId
    nbfn: str
    cloudpickle: str
    python: str
    pid: Count
    host: str
    environment: Environment | None = (
        None  # given by clients that will register functions: a fork server is readied for it
    )
    name: str = ""  # the notebook's or script's name, for people
    worker: Id = (
        ""  # the worker that runs this client, if one does: it lends its slot while it waits
    )
    origin: str = ""  # the notebook's path or the script's name: its calls are known by it later


class ClientLeaves(Message):
    """Client to hub: the client is closed and will not be back; the last message of it."""


class WorkerHello(Message):
    """Worker to hub. ``running`` and ``holding`` are leases: at work or queued here, and
    finished but not yet confirmed.
    """

    protocol: Count
    peer: WorkerId
    nbfn: str
    cloudpickle: str
    python: str
    pid: Count
    host: str
    executable: PathName
    function: Id = ""  # empty: a blank worker
    version: Count = 0
    running: tuple[tuple[Lease, Id, Count, Count], ...] = ()  # (lease, call, index, attempt)
    gpus: tuple[str, ...] = ()  # that were set aside for it when it was bound
    output: Count = 0  # the number of the last piece of output that it sent; see `Emitted`


class Welcome(Message):
    """Hub to peer: the connection is good. A new ``epoch`` means a new hub process."""

    protocol: int
    epoch: int
    nbfn: str
    pid: int


class Refused(Message):
    """Hub to peer: the connection is not good, and why. Nothing else will be read from it."""

    code: str
    message: str
