"""What goes on while processes are killed: calls of all kinds, and an account of each input.

Every execution writes a line of its own to a journal, so what really ran is not a matter of belief.
As a program (``python -m tests.chaos.load``) it is a client process that accounts on stdout.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbfn
from nbfn.exception import InternalFailure, WorkerCrashed

app = nbfn.App()

#: Bytes of the ballast that goes through shared memory, there and back.
BALLAST = 300_000


def write_down(journal: Path, key: str) -> None:
    """Note that an input runs."""
    line = f"{key}\n".encode()
    descriptor = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, line)
    os.close(descriptor)


@app.function(max_containers=4)
def work(journal: Path, key: str, seconds: float, ballast: bytes) -> tuple[str, bytes]:
    """Write the key down, take a while, return what was given."""
    write_down(journal, key)
    time.sleep(seconds)
    return key, ballast[::-1]


@app.function(max_containers=2)
@nbfn.concurrent(max_inputs=5)
def crowded(journal: Path, key: str, seconds: float, ballast: bytes) -> tuple[str, bytes]:
    """Do the same beside others."""
    write_down(journal, key)
    time.sleep(seconds)
    return key, ballast[::-1]


@app.function(max_containers=2)
@nbfn.batched(max_batch_size=8, wait_ms=5)
def gathered(
    journals: list[Path], keys: list[str], seconds: list[float], ballasts: list[bytes]
) -> list[tuple[str, bytes]]:
    """Do the same for several at a time."""
    for journal, key in zip(journals, keys, strict=True):
        write_down(journal, key)
    time.sleep(max(seconds))
    return [(key, ballast[::-1]) for key, ballast in zip(keys, ballasts, strict=True)]


@app.function(max_containers=2, at_most_once=True)
def once(journal: Path, key: str, seconds: float, ballast: bytes) -> tuple[str, bytes]:
    """Do the same, never twice."""
    write_down(journal, key)
    time.sleep(seconds)
    return key, ballast[::-1]


KINDS: dict[str, nbfn.Function[..., Any, Any]] = {
    "work": work,
    "crowded": crowded,
    "gathered": gathered,
    "once": once,
}


@dataclass
class Told:
    """One input: when it was given, when its outcome came, what it was."""

    key: str
    begun: float
    ended: float = 0.0
    outcome: str = ""  # right, crashed, or what is wrong
    outcomes: int = 0


@dataclass
class Account:
    """All inputs of one client thread."""

    told: dict[str, Told] = field(default_factory=dict)
    spawned: list[tuple[str, str, int]] = field(default_factory=list)  # (key, call id, index)
    trouble: list[str] = field(default_factory=list)


class Caller(threading.Thread):
    """Makes calls, one after the other, until told to stop; then fetches what it spawned.

    Args:
        name: Prefix of its keys.
        seed: Decides what it calls.
        journal: Where executions are written down.
        until: Says when to stop.
    """

    def __init__(self, name: str, seed: int, journal: Path, until: Callable[[], bool]) -> None:
        super().__init__(name=name, daemon=True)
        self.account = Account()
        self._random = random.Random(seed)
        self._journal = journal
        self._until = until
        self._count = 0

    def run(self) -> None:
        ways = [self._remote, self._remote, self._map, self._spawn, self._spawn_map]
        while not self._until():
            way = self._random.choice(ways)
            try:
                way()
            except Exception as error:
                self.account.trouble.append(f"{self.name} {way.__name__}: {error!r}")
        for key, call_id, index in self.account.spawned:
            call = nbfn.FunctionCall.from_id(call_id)
            self._take(key, lambda call=call, index=index: call.get(timeout=60, index=index))

    def _kind(self) -> str:
        return self._random.choice(["work", "work", "work", "crowded", "gathered", "once"])

    def _arguments(self, kind: str) -> tuple[Path, str, float, bytes]:
        self._count += 1
        key = f"{self.name}-{kind}-{self._count}"
        self.account.told[key] = Told(key, time.monotonic())
        ballast = os.urandom(BALLAST) if self._random.random() < 0.05 else key.encode()
        self._sent = ballast
        return self._journal, key, self._random.choice([0.0, 0.0, 0.001, 0.05]), ballast

    def _take(self, key: str, outcome: Callable[[], object], ballast: bytes | None = None) -> None:
        told = self.account.told[key]
        try:
            value = outcome()
            if isinstance(value, Exception):
                raise value
            right = isinstance(value, tuple) and value[0] == key
            if right and ballast is not None:
                right = value[1] == ballast[::-1]
            told.outcome = "right" if right else f"wrong: {str(value)[:80]}"
        except (WorkerCrashed, InternalFailure) as error:
            told.outcome = f"crashed: {str(error)[:80]}"
        except Exception as error:
            told.outcome = f"error: {error!r}"
        told.ended = time.monotonic()
        told.outcomes += 1

    def _remote(self) -> None:
        kind = self._kind()
        arguments = self._arguments(kind)
        self._take(arguments[1], lambda: KINDS[kind].remote(*arguments), arguments[3])

    def _spawn(self) -> None:
        kind = self._kind()
        arguments = self._arguments(kind)
        self.account.spawned.append((arguments[1], KINDS[kind].spawn(*arguments).object_id, 0))

    def _spawn_map(self) -> None:
        kind = self._kind()
        given = [self._arguments(kind) for _ in range(self._random.randint(2, 60))]
        call = KINDS[kind].spawn_map(*zip(*given, strict=True))
        for index, arguments in enumerate(given):
            self.account.spawned.append((arguments[1], call.object_id, index))

    def _map(self) -> None:
        kind = self._kind()
        given = [self._arguments(kind) for _ in range(self._random.randint(2, 120))]
        results: Iterator[object] = iter(KINDS[kind].starmap(given, return_exceptions=True))
        for arguments in given:
            # In order: the n-th outcome is the n-th input's, and there are as many of them.
            self._take(arguments[1], lambda: next(results), arguments[3])
        with contextlib.suppress(StopIteration):
            self.account.trouble.append(f"one too many: {next(results)!r}")


def main() -> None:
    """Call until stdin ends; then say what came of it."""
    name, seed, journal = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    ended = threading.Event()
    caller = Caller(name, seed, journal, ended.is_set)
    caller.start()
    sys.stdin.read()
    ended.set()
    caller.join(120)
    account = asdict(caller.account) | {"hung": caller.is_alive()}
    print(json.dumps(account), flush=True)
    os._exit(0) if caller.is_alive() else None


if __name__ == "__main__":
    main()
