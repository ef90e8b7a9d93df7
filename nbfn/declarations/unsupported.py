"""Placeholders for objects of Modal's cloud that programs name: volumes, queues, sandboxes and so on.

They can be made and passed in options. Using one raises an error that says what to do instead. Only `Volume.commit`,
`Volume.reload` and `forward` work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from nbfn.exception import UnimplementedError
from nbfn.runtime.sync import blocking


class _NoSuchAttribute(UnimplementedError, AttributeError):
    """An `UnimplementedError` for which `hasattr` returns False."""


class _CloudType(type):
    """Gives the classes below their constructors (``from_name`` and the like), and refuses the rest."""

    _instead: str

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        if name.startswith("from_"):
            return cls
        raise _NoSuchAttribute(_refusal(cls.__name__, name, cls._instead))


class CloudObject(metaclass=_CloudType):
    """Base of the objects that only Modal's cloud has."""

    __module__ = "nbfn"

    _instead: ClassVar[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args, self._kwargs = args, kwargs

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise _NoSuchAttribute(_refusal(type(self).__name__, name, self._instead))

    def __repr__(self) -> str:
        shown = [repr(a) for a in self._args] + [f"{k}={v!r}" for k, v in self._kwargs.items()]
        return f"<{type(self).__name__} of Modal's cloud ({', '.join(shown)})>"


def _refusal(kind: str, name: str, instead: str) -> str:
    return f"{kind}.{name} needs Modal's cloud, and nbfn has no {kind}: {instead}."


class Volume(CloudObject):
    """A directory shared by workers: here that is any directory, since workers see this machine's files."""

    __module__ = "nbfn"

    _instead = "workers see this machine's files, so use a directory"

    @blocking
    async def commit(self) -> None:
        """Do nothing: what a worker writes is on this machine's disk already."""

    @blocking
    async def reload(self) -> None:
        """Do nothing: workers see this machine's files as they are."""


class NetworkFileSystem(CloudObject):
    """Modal's older shared directory."""

    __module__ = "nbfn"

    _instead = "workers see this machine's files, so use a directory"


class CloudBucketMount(CloudObject):
    """A bucket as a directory."""

    __module__ = "nbfn"

    _instead = "mount the bucket on this machine, or read it with its own client"


class Mount(CloudObject):
    """Local files that Modal copies to its workers."""

    __module__ = "nbfn"

    _instead = "workers see this machine's files"


class FilePatternMatcher(CloudObject):
    """Which local files Modal copies to its workers."""

    __module__ = "nbfn"

    _instead = "workers see all of this machine's files"


class Proxy(CloudObject):
    """A fixed address for outgoing connections."""

    __module__ = "nbfn"

    _instead = "workers use this machine's network"


class SchedulerPlacement(CloudObject):
    """Where in Modal's cloud workers run."""

    __module__ = "nbfn"

    _instead = "workers run on this machine"


class Dict(CloudObject):
    """A dictionary shared by workers."""

    __module__ = "nbfn"

    _instead = "pass values as arguments and results, or keep them in a file or a database"


class Queue(CloudObject):
    """A queue shared by workers."""

    __module__ = "nbfn"

    _instead = "use Function.map, Function.remote_gen or Function.spawn to pass values on"


class Sandbox(CloudObject):
    """A container for commands."""

    __module__ = "nbfn"

    _instead = "run the command from a Function with subprocess"


class SandboxSnapshot(CloudObject):
    """A stopped container for commands."""

    __module__ = "nbfn"

    _instead = "run the command from a Function with subprocess"


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Where a port of a worker is reached: workers run on this machine, so at the port itself."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address for a browser."""
        return f"http://{self.host}:{self.port}"

    @property
    def tcp_socket(self) -> tuple[str, int]:
        """The address for a socket."""
        return self.host, self.port


@contextlib.contextmanager
def forward(port: int, *, unencrypted: bool = False) -> Iterator[Tunnel]:
    """Return the address of a port that this code listens on; it can be reached from this machine only."""
    yield Tunnel("127.0.0.1", port)


def interact() -> NoReturn:
    """Refuse: a worker has no terminal.

    Raises:
        UnimplementedError: Always.
    """
    raise UnimplementedError(
        "interact() needs a terminal in the worker, and nbfn's have none: "
        "run the body here with .local(...) and use breakpoint()."
    )
