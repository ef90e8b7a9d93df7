"""A hub of one's own: started in an empty ``NBFN_HOME``, gone without a trace at the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn.protocol.messages import Overview
from tests.bench.clock import wait_until
from tests.conftest import a_home, processes_of


@contextlib.contextmanager
def home(**settings: float) -> Iterator[Path]:
    """Have an empty home; ``settings`` are those of `nbfn.config.Settings`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(f"NBFN_{name.upper()}", str(value))
        with a_home() as base:
            yield base


def register(function: Callable[..., Any], **options: Any) -> nbfn.Function[..., Any]:
    """Make a Function of its own, that runs on one worker unless told otherwise."""
    options = {"max_containers": 1} | options
    made: nbfn.Function[..., Any] = nbfn.App("bench").function(**options)(function)
    return made


def overview() -> Overview:
    """Return what the hub says of itself."""
    return nbfn.Client.attach().overview()


def await_blanks(count: int = 1) -> None:
    """Wait until so many workers stand by."""
    wait_until(lambda: sum(w.state == "blank" for w in overview().workers) >= count)


def hub_pid() -> int:
    """Return the hub's process."""
    return overview().hub.pid


def named(base: Path, name: str) -> list[int]:
    """Return the processes of a home that call themselves so."""
    found = []
    for pid in processes_of(base):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                found.append(pid)
    return found


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has touched (RSS)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def share(pid: int) -> int:
    """Return the bytes that are a process's, shared ones split between those who share them (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
