"""What every launcher is: five methods and two ways to wait, all of which return at once.

A launcher starts and ends worker processes and says why they ended. Whether a worker is well is
the hub's own business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """A worker to start, as data.

    Attributes:
        worker: Its id, ``wk-...``; also its peer id on the wire.
        executable: The Python that it runs.
        environment: Variables set in it, over those of the launcher.
        cwd: Where it starts; a directory that does not exist is passed over.
        cpu: Cores it needs.
        memory: Bytes it needs; 0 when it was not said.
        gpu: GPUs it needs.
        labels: Free words for an engine.
        start_timeout: Seconds from `Launcher.submit` to its hello.
    """

    worker: str
    executable: str
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    cpu: float = 1.0
    memory: int = 0
    gpu: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    start_timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Ref:
    """A worker that a launcher holds; ``pid`` is 0 while it is not known."""

    worker: str
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a launcher can hold: cores, bytes of memory, GPUs by their names in CUDA_VISIBLE_DEVICES."""

    cpu: float
    memory: int
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """The process exists; its hello follows on the wire."""

    worker: str
    pid: int


@dataclass(frozen=True, slots=True)
class Exit:
    """The process ended, and nothing that it started is left.

    Attributes:
        worker: Its id.
        exit_code: What it exited with; None when a signal ended it, or when nobody could know.
        signal: The signal that ended it, or None.
        running_lease: The lease it was working on, 0 for none, None when nobody could know.
        memory_peak: The largest resident memory seen, in bytes, or None.
        stderr_tail: The last lines it wrote to stderr.
        ordered: Whether `Launcher.stop` had asked for it.
        memory_limit: Bytes that it, with all that it started, held more of; 0 when that did not end it.
        finished: Whether it came to its end in good order.
        ended_by: The signal that told it to, or 0.
        output: What it wrote last, as (number, lease, channel, data); the hub may have some of it already.
    """

    worker: str
    exit_code: int | None = None
    signal: int | None = None
    running_lease: int | None = None
    memory_peak: int | None = None
    stderr_tail: str = ""
    ordered: bool = False
    memory_limit: int = 0
    finished: bool = False
    ended_by: int = 0
    output: Sequence[tuple[int, int, str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The process could not be started, and why, in a sentence for the user."""

    worker: str
    reason: str


Report = Started | Exit | Failed


class Launcher(Protocol):
    """Starts workers somewhere. Owned by one thread; no method blocks."""

    def submit(self, spec: WorkerSpec) -> Ref:
        """Start a worker; asking again for the same id changes nothing."""

    def poll(self) -> list[Report]:
        """Return what happened since the last time; each worker ends in one `Exit` or `Failed`."""

    def stop(self, ref: Ref, grace: float) -> None:
        """Ask a worker to end; ``grace`` seconds later kill it, with all that it started."""

    def list(self) -> Sequence[Ref]:
        """Return all that it holds for this hub, also what an earlier hub process started."""

    def capacity(self) -> Capacity:
        """Return what it can hold in all."""

    def sources(self) -> Sequence[int]:
        """Return descriptors, always the same, that become readable when `poll` has something."""

    def ready(self, executable: str) -> None:
        """Prepare to start workers of this Python soon."""

    def close(self) -> None:
        """Let go of the workers; they end by themselves when no hub takes them up."""
