"""Starts and stops worker processes through a launcher, and converts its reports into events."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import psutil

from nbfn.hub.launchers.base import Exit, Failed, Launcher, WorkerSpec
from nbfn.hub.scheduler.effects import StartWorker, StopWorker
from nbfn.hub.scheduler.events import Event, WorkerExited, WorkerNotStarted

_log = logging.getLogger("nbfn.hub")


class WorkerProcesses:
    """The processes behind the workers of one launcher."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._refs = {ref.worker: ref for ref in launcher.list()}  # of a previous hub

    def sources(self) -> Sequence[int]:
        """Return file descriptors to poll; when one is readable, `events` returns events."""
        return self._launcher.sources()

    def ready(self, executable: str) -> None:
        """Prepare for workers of this Python."""
        self._launcher.ready(executable)

    def start(self, effect: StartWorker) -> None:
        """Start a worker."""
        spec = WorkerSpec(worker=effect.worker, executable=effect.executable)
        self._refs[effect.worker] = self._launcher.submit(spec)

    def stop(self, effect: StopWorker) -> None:
        """Stop a worker; one that this launcher does not know ends by its own rules."""
        ref = self._refs.get(effect.worker)
        if ref is not None:
            self._launcher.stop(ref, effect.grace)

    def events(self) -> list[Event]:
        """Return the events since the last call."""
        return [
            event for report in self._launcher.poll() if (event := self._event(report)) is not None
        ]

    def _event(self, report: object) -> Event | None:
        match report:
            case Exit():
                self._refs.pop(report.worker, None)
                how = (
                    f"exit code {report.exit_code}"
                    if report.signal is None
                    else f"signal {report.signal}"
                )
                _log.info("%s ended (%s)", report.worker, how)
                return WorkerExited(
                    report.worker,
                    report.exit_code,
                    report.signal,
                    report.running_lease,
                    report.memory_peak,
                    report.stderr_tail,
                    report.memory_limit,
                    report.finished,
                    report.ended_by,
                    report.output,
                )
            case Failed():
                self._refs.pop(report.worker, None)
                _log.warning("%s did not start: %s", report.worker, report.reason)
                return WorkerNotStarted(report.worker, report.reason)
        return None

    def alive(self) -> bool:
        """Whether any process is running."""
        return bool(self._refs)

    def stop_all(self, grace: float) -> None:
        """End all workers."""
        for ref in self._refs.values():
            self._launcher.stop(ref, grace)

    def close(self) -> None:
        """Close the launcher."""
        self._launcher.close()


def memory_of(pid: int) -> int | None:
    """Return a process's resident bytes, or None if they cannot be read."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, ValueError):
        return None
