"""Provides placeholders for objects of Modal's cloud, such as volumes, queues and sandboxes.

Programs can create them and pass them in options. Using one raises an error that suggests an alternative. Only
`Volume.commit`, `Volume.reload` and `forward` work.
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
    """Metaclass that adds constructors such as ``from_name``, and raises for all other class attributes."""

    _instead: str

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        if name.startswith("from_"):
            return cls
        raise _NoSuchAttribute(_refusal(cls.__name__, name, cls._instead))


class CloudObject(metaclass=_CloudType):
    """Base of placeholders for objects that only Modal's cloud has."""

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
    """Placeholder for Modal's shared directory. In nbfn, workers share all directories of this machine."""

    __module__ = "nbfn"

    _instead = "workers see this machine's files, so use a directory"

    @blocking
    async def commit(self) -> None:
        """Do nothing: workers already write to the disk of this machine."""

    @blocking
    async def reload(self) -> None:
        """Do nothing: workers already read the current files of this machine."""


class NetworkFileSystem(CloudObject):
    """Placeholder for Modal's older shared directory."""

    __module__ = "nbfn"

    _instead = "workers see this machine's files, so use a directory"


class CloudBucketMount(CloudObject):
    """Placeholder for a storage bucket that is mounted as a directory."""

    __module__ = "nbfn"

    _instead = "mount the bucket on this machine, or read it with its own client"


class Mount(CloudObject):
    """Placeholder for local files that Modal copies to its workers."""

    __module__ = "nbfn"

    _instead = "workers see this machine's files"


class FilePatternMatcher(CloudObject):
    """Placeholder for a selection of local files that Modal copies to its workers."""

    __module__ = "nbfn"

    _instead = "workers see all of this machine's files"


class Proxy(CloudObject):
    """Placeholder for a fixed address for outgoing connections."""

    __module__ = "nbfn"

    _instead = "workers use this machine's network"


class SchedulerPlacement(CloudObject):
    """Placeholder for the region of Modal's cloud in which workers run."""

    __module__ = "nbfn"

    _instead = "workers run on this machine"


class Dict(CloudObject):
    """Placeholder for a dictionary that workers share."""

    __module__ = "nbfn"

    _instead = "pass values as arguments and results, or keep them in a file or a database"


class Queue(CloudObject):
    """Placeholder for a queue that workers share."""

    __module__ = "nbfn"

    _instead = "use Function.map, Function.remote_gen or Function.spawn to pass values on"


class Sandbox(CloudObject):
    """Placeholder for a container that runs commands."""

    __module__ = "nbfn"

    _instead = "run the command from a Function with subprocess"


class SandboxSnapshot(CloudObject):
    """Placeholder for a snapshot of a container that runs commands."""

    __module__ = "nbfn"

    _instead = "run the command from a Function with subprocess"


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The address of a port of a worker. Workers run on this machine, so it is the port itself."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The URL of the port."""
        return f"http://{self.host}:{self.port}"

    @property
    def tcp_socket(self) -> tuple[str, int]:
        """The address for a socket, as (host, port)."""
        return self.host, self.port


@contextlib.contextmanager
def forward(port: int, *, unencrypted: bool = False) -> Iterator[Tunnel]:
    """Provide the address of a port that this code listens on; it is reachable from this machine only.

    Args:
        port: The port.
        unencrypted: Has no effect.
    """
    yield Tunnel("127.0.0.1", port)


def interact() -> NoReturn:
    """Raise an error, because a worker has no terminal.

    Raises:
        UnimplementedError: Always.
    """
    raise UnimplementedError(
        "interact() needs a terminal in the worker, and nbfn's have none: "
        "run the body here with .local(...) and use breakpoint()."
    )
