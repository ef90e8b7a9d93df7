"""Defines two classes that several test files use (docs/function-api.md#classes)."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nbfn
from nbfn.protocol.messages import FunctionRow

app = nbfn.App("classes")


@app.cls()
class Counter:
    """Counts."""

    STEP = 2

    @nbfn.enter()
    def begin(self) -> None:
        self.count = 0

    @nbfn.method()
    def up(self, by: int = 1) -> int:
        """Count up."""
        self.count += by
        return self.count

    @nbfn.method()
    def where(self) -> tuple[int, bool, bool]:
        return os.getpid(), threading.current_thread() is threading.main_thread(), _looping()

    @nbfn.method()
    async def aup(self, by: int = 1) -> int:
        await asyncio.sleep(0)
        self.count += by
        return self.count

    @nbfn.method()
    def upto(self, n: int) -> Iterator[int]:
        yield from range(n)

    @nbfn.method()
    async def aupto(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @nbfn.method()
    def add(self, x: int, y: int) -> int:
        return x + y

    @nbfn.method()
    def others(self) -> tuple[bool, bool, bool, str, int]:
        here = os.getpid()
        plain, local = self.where()[0], self.where.local()[0]
        remote = self.where.remote()[0]
        return plain == here, local == here, remote == here, self.helper(), Counter.STEP

    def helper(self) -> str:
        return "helped"


def _looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@app.cls()
class Model:
    name: str = nbfn.parameter()
    size: int = nbfn.parameter(default=7)
    raw: bytes = nbfn.parameter(default=b"\x00")
    deep: bool = nbfn.parameter(default=False)
    cache: str = nbfn.parameter(default="none", init=False)

    @nbfn.enter()
    def load(self) -> None:
        self.loaded = f"{self.name}/{self.size}/{self.raw!r}/{self.deep}/{self.cache}"

    @nbfn.method()
    def what(self) -> str:
        return self.loaded

    @nbfn.method()
    def where(self) -> int:
        return os.getpid()

    @nbfn.method()
    def again(self) -> str:
        return self.what.remote()


def rows() -> dict[str, FunctionRow]:
    return {row.name: row for row in nbfn.Client.attach().overview().functions}


def read(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []
