"""Runs several inputs at once: coroutines as tasks of a loop on the main thread, other functions in threads.

Whoever takes a batch out of `ConcurrentExecutor.running` sends its results, so they are sent once. A thread cannot
be stopped: when one should be, its inputs are answered and the worker ends; the hub gives the other inputs that ran
in threads to other workers.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from nbfn.context import set_current
from nbfn.protocol.messages import Definition, LeasedInput, Result
from nbfn.serialization.payload import Carrier
from nbfn_kernel.web.request_stream import RequestStream, request_stream
from nbfn_kernel.worker import input_result, output_capture
from nbfn_kernel.worker.batch import Batch, take
from nbfn_kernel.worker.display_shell import flush_figures
from nbfn_kernel.worker.generator_stream import GeneratorStream
from nbfn_kernel.worker.input_result import InputResult
from nbfn_kernel.worker.loaded_function import LoadedFunction
from nbfn_kernel.worker.log_forwarding import CallerLogLevels
from nbfn_kernel.worker.outbox import Outbox
from nbfn_kernel.worker.unconfirmed_results import UnconfirmedResults

#: Seconds that tasks have to end when the worker is told to go at once.
LAST_STEPS = 1.0

_lease: contextvars.ContextVar[int] = contextvars.ContextVar("nbfn_lease", default=0)


def needed(definition: Definition) -> bool:
    """Whether a Function's worker runs inputs at once, or needs a loop that goes on between them."""
    return (
        (definition.concurrency.max_inputs or 1) > 1
        or definition.endpoint is not None
        or any(method.endpoint is not None for method in definition.methods)
    )


class _Running:
    """A batch that runs."""

    __slots__ = (
        "batch",
        "began",
        "context",
        "credit",
        "items",
        "reason",
        "request_stream",
        "task",
        "timer",
    )

    def __init__(self, batch: Batch, outbox: Outbox) -> None:
        self.batch = batch
        self.began = time.monotonic()
        self.credit = 0  # items that it may send, where that is more than at first
        self.items: GeneratorStream | None = None  # of a generator
        self.request_stream = RequestStream(batch.lease, outbox)
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.reason = ""  # why it is to stop: cancel, timeout, exit
        entry = batch.entries[0]
        self.context = contextvars.copy_context()
        self.context.run(set_current, (entry.call, entry.index))
        self.context.run(_lease.set, entry.lease)
        self.context.run(request_stream.set, self.request_stream)


class ConcurrentExecutor:
    """Runs the inputs of one `LoadedFunction` at once.

    Args:
        loaded: What inputs call.
        carrier: Of this process.
        outbox: Takes results and items.
        todo: Inputs waiting, filled by the connection's thread.
        cell: Shared with the fork server: not 0 while anything runs.
        loop: The worker's, not running.
        unconfirmed: Counts results that are not confirmed.
        levels: Of the callers' loggers; those of the input that began last are in force.

    Attributes:
        running: What runs, by the lease of its first input.
        latest: The one begun last, or 0.
    """

    def __init__(
        self,
        loaded: LoadedFunction,
        carrier: Carrier,
        outbox: Outbox,
        todo: deque[LeasedInput],
        cell: Any,
        loop: asyncio.AbstractEventLoop,
        unconfirmed: UnconfirmedResults,
        levels: CallerLogLevels,
    ) -> None:
        self.running: dict[int, _Running] = {}
        self.latest = 0
        self._loaded = loaded
        self._limit = loaded.definition.timeout
        self._carrier = carrier
        self._outbox = outbox
        self._todo = todo
        self._cell = cell
        self._loop = loop
        self._unconfirmed = unconfirmed
        self._levels = levels
        self._threads = _ThreadPool()
        self._stopping = False
        self._disowned = False
        self._over = loop.create_future()
        loaded.on_stuck(self._leave)

    # --- called by any thread, and by signal handlers ---

    def look(self) -> None:
        """Begin what waits in ``todo``."""
        self._loop.call_soon_threadsafe(self._begin_waiting)

    def interrupt(self, lease: int, reason: str) -> None:
        """Stop an input, if it runs."""
        self._loop.call_soon_threadsafe(self._stop, lease, reason)

    def grant(self, lease: int, upto: int) -> None:
        """Let a generator input go on up to item number ``upto``."""
        self._loop.call_soon_threadsafe(self._grant, lease, upto)

    def feed(self, lease: int, data: bytes) -> None:
        """Bring something for an input that runs; its code takes it from `request_stream`."""
        self._loop.call_soon_threadsafe(self._feed, lease, data)

    def drain(self) -> None:
        """Begin nothing more, and end when all that runs has ended."""
        self._loop.call_soon_threadsafe(self._drain)

    def leave(self) -> None:
        """End now: what runs goes to other workers."""
        self._loop.call_soon_threadsafe(self._leave)

    def lease(self) -> int:
        """Return the lease of the input whose code asks; in a thread of its own, of the latest one."""
        mine = _lease.get()
        return mine if mine in self.running else self.latest

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return the tasks of what runs on the loop."""
        return [r.task for r in tuple(self.running.values()) if r.task is not None]

    def disown(self) -> None:
        """Forget all, in a child that user code forked."""
        self.running.clear()
        self.latest = 0
        self._disowned = True

    # --- on the main thread ---

    def serve(self, told_to_end: Callable[[], None]) -> None:
        """Work until told to stop; ``told_to_end`` is called when a signal does that."""

        def terminate() -> None:
            told_to_end()
            self._leave()

        self._loop.add_signal_handler(signal.SIGTERM, terminate)
        self.look()
        self._loop.run_until_complete(self._over)

    def _begin_waiting(self) -> None:
        while self._may_begin() and (entries := take(self._todo)):
            self._begin(Batch(entries, self._loaded.targets[entries[0].method], self._carrier))
        if self._stopping and not self.running:
            self._end()

    def _may_begin(self) -> bool:
        return not (self._stopping or (self._unconfirmed.full and self._todo))

    def _begin(self, batch: Batch) -> None:
        running = _Running(batch, self._outbox)
        self._levels.of(batch.entries[0].call)
        self.running[batch.lease] = running
        self.latest = self._cell[0] = batch.lease
        running.timer = self._loop.call_later(self._limit, self._stop, batch.lease, "timeout")
        if batch.target.is_async:
            attend = self._attend(running)
            running.task = task = self._loop.create_task(attend, context=running.context)
            task.add_done_callback(lambda _: self._stopped_early(running))
        else:
            self._threads.take(lambda: running.context.run(self._work, running))

    def _stopped_early(self, running: _Running) -> None:
        """Answer for a task that was cancelled before its first step."""
        if running.batch.lease in self.running:
            self._answer(running, self._stopped(running, None))

    def _stop(self, lease: int, reason: str) -> None:
        running = self.running.get(lease) or self._one_with(lease)
        if running is None or running.reason:
            return  # once is enough, and the first reason counts
        running.reason = reason
        if running.task is not None:
            running.task.cancel()
        else:
            self._answer(running, self._stopped(running, None))
            self._leave()

    def _one_with(self, lease: int) -> _Running | None:
        at_work = tuple(self.running.values())
        return next((r for r in at_work if any(e.lease == lease for e in r.batch.entries)), None)

    def _grant(self, lease: int, upto: int) -> None:
        running = self.running.get(lease)
        if running is not None:
            running.credit = upto  # for a thread that has not begun to take
            if running.items is not None:
                running.items.grant(upto)

    def _feed(self, lease: int, data: bytes) -> None:
        if (running := self.running.get(lease)) is not None:
            running.request_stream.put(data)

    def _drain(self) -> None:
        self._stopping = True
        self._begin_waiting()

    def _leave(self) -> None:
        self._stopping = True
        for lease, running in tuple(self.running.items()):
            if running.task is None:
                self.running.pop(lease, None)  # what its thread returns is dropped from now on
            elif not running.reason:
                running.reason = "exit"
                running.task.cancel()
        self._loop.call_later(LAST_STEPS, self._end)
        self._begin_waiting()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    # --- an input's way ---

    async def _attend(self, running: _Running) -> None:
        """Run an async batch, as a task."""
        batch = running.batch
        try:
            returned = batch.call()
            if batch.target.is_generator:
                returned = await self._items(running).take_async(returned)
            elif hasattr(returned, "__await__"):
                returned = await returned
            found = batch.returned(returned) if not running.reason else self._stopped(running, None)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            found = self._raised(running, error)
        flush_figures()
        self._answer(running, found)

    def _work(self, running: _Running) -> None:
        """Run a sync batch, in a thread."""
        batch = running.batch
        try:
            returned = batch.call()
            if batch.target.is_generator:
                returned = self._items(running).take(returned)
            if self._disowned:
                input_result.end_child(None)
            found = batch.returned(returned)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            if self._disowned:
                input_result.end_child(error)
            found = self._raised(running, error)
        flush_figures()
        self._answer(running, found)

    def _items(self, running: _Running) -> GeneratorStream:
        batch = running.batch
        running.items = GeneratorStream(batch.target.name, batch.lease, self._carrier, self._outbox)
        running.items.grant(running.credit)
        return running.items

    def _raised(self, running: _Running, error: BaseException) -> list[InputResult]:
        if isinstance(error, KeyboardInterrupt):
            input_result.die_interrupted(error)
        return self._stopped(running, error) if running.reason else running.batch.raised(error)

    def _stopped(self, running: _Running, error: BaseException | None) -> list[InputResult]:
        return running.batch.stopped(running.reason, self._limit, error)

    def _answer(self, running: _Running, found: Sequence[InputResult]) -> None:
        """Send the results of a batch, unless that was done before."""
        entries = running.batch.entries
        output_capture.end_lines(running.batch.lease)
        if self.running.pop(running.batch.lease, None) and running.reason != "exit":
            took = (time.monotonic() - running.began) / len(entries)
            self._unconfirmed.add(
                sum(answer[1].weight for answer in found if answer[1] is not None)
            )
            for entry, (status, payload, final) in zip(entries, found, strict=True):
                self._outbox.entries.append(Result(entry.lease, status, payload, took, final))
            self._outbox.hurry()
        self._loop.call_soon_threadsafe(self._answered, running)

    def _answered(self, running: _Running) -> None:
        assert running.timer is not None
        running.timer.cancel()
        self.latest = self._cell[0] = next(reversed(tuple(self.running)), 0)
        self._begin_waiting()


class _ThreadPool:
    """Runs jobs in threads, which are started when needed and reused."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._free: deque[None] = deque()  # one for each thread that waits, or is about to

    def take(self, job: Callable[[], None]) -> None:
        """Run a job in a free thread, or a new one."""
        self._jobs.put(job)
        try:
            self._free.pop()
        except IndexError:
            threading.Thread(target=self._work, name="nbfn-input", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            self._free.append(None)
