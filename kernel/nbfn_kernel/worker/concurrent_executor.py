"""Runs several inputs concurrently: coroutines as tasks on the main thread's event loop, other functions in threads.

The code that removes a batch from `ConcurrentExecutor.running` sends its results, so that they are sent once. A thread
cannot be stopped: when an input in a thread is cancelled or times out, its result is sent and the worker ends. The hub
runs the other inputs that were in threads on other workers.
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
from nbfn.serialization.payload import Serializer
from nbfn_kernel.web.request_stream import RequestStream, request_stream
from nbfn_kernel.worker import input_result, output_capture
from nbfn_kernel.worker.batch import Batch, next_batch
from nbfn_kernel.worker.display_shell import flush_figures
from nbfn_kernel.worker.generator_stream import GeneratorStream
from nbfn_kernel.worker.input_result import InputResult
from nbfn_kernel.worker.loaded_function import LoadedFunction
from nbfn_kernel.worker.log_forwarding import CallerLogLevels
from nbfn_kernel.worker.outbox import Outbox
from nbfn_kernel.worker.unconfirmed_results import UnconfirmedResults

#: Seconds that cancelled tasks have to end when the worker aborts.
CANCEL_TIMEOUT = 1.0

_lease: contextvars.ContextVar[int] = contextvars.ContextVar("nbfn_lease", default=0)


def is_needed(definition: Definition) -> bool:
    """Return whether a Function has concurrent inputs, or needs an event loop that runs between inputs."""
    return (
        (definition.concurrency.max_inputs or 1) > 1
        or definition.endpoint is not None
        or any(method.endpoint is not None for method in definition.methods)
    )


class _Running:
    """The state of a running batch."""

    __slots__ = (
        "batch",
        "context",
        "credit",
        "items",
        "reason",
        "request_stream",
        "started",
        "task",
        "timer",
    )

    def __init__(self, batch: Batch, outbox: Outbox) -> None:
        self.batch = batch
        self.started = time.monotonic()
        self.credit = 0  # items that it may send, if more than the initial window
        self.items: GeneratorStream | None = None  # set for generators
        self.request_stream = RequestStream(batch.lease, outbox)
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.reason = ""  # why it was stopped: cancel, timeout, exit
        entry = batch.entries[0]
        self.context = contextvars.copy_context()
        self.context.run(set_current, (entry.call, entry.index))
        self.context.run(_lease.set, entry.lease)
        self.context.run(request_stream.set, self.request_stream)


class ConcurrentExecutor:
    """Runs inputs of one `LoadedFunction` concurrently.

    Args:
        loaded: The Function or class that inputs call.
        serializer: Unpickles arguments and pickles results.
        outbox: Queues results and items for the hub.
        todo: Queued inputs; the connection's thread adds to it.
        shared: Memory shared with the fork server; its first number is not 0 while an input runs.
        loop: The worker's event loop, not running.
        unconfirmed: Counts the bytes of results that the hub has not confirmed.
        levels: The callers' log levels; those of the input that started last apply.

    Attributes:
        running: The running batches, by lease.
        latest: The lease of the batch that started last, or 0.
    """

    def __init__(
        self,
        loaded: LoadedFunction,
        serializer: Serializer,
        outbox: Outbox,
        todo: deque[LeasedInput],
        shared: Any,
        loop: asyncio.AbstractEventLoop,
        unconfirmed: UnconfirmedResults,
        levels: CallerLogLevels,
    ) -> None:
        self.running: dict[int, _Running] = {}
        self.latest = 0
        self._loaded = loaded
        self._limit = loaded.definition.timeout
        self._serializer = serializer
        self._outbox = outbox
        self._todo = todo
        self._shared = shared
        self._loop = loop
        self._unconfirmed = unconfirmed
        self._levels = levels
        self._threads = _ThreadPool()
        self._stopping = False
        self._forked = False
        self._finished = loop.create_future()
        loaded.set_abort(self._abort)

    # --- for any thread, and for signal handlers ---

    def wake(self) -> None:
        """Start queued inputs."""
        self._loop.call_soon_threadsafe(self._begin_waiting)

    def interrupt(self, lease: int, reason: str) -> None:
        """Stop an input if it is running."""
        self._loop.call_soon_threadsafe(self._stop, lease, reason)

    def grant(self, lease: int, upto: int) -> None:
        """Allow a generator input to send items up to number ``upto``."""
        self._loop.call_soon_threadsafe(self._grant, lease, upto)

    def feed(self, lease: int, data: bytes) -> None:
        """Add data to the `request_stream` of a running input."""
        self._loop.call_soon_threadsafe(self._feed, lease, data)

    def drain(self) -> None:
        """Start no further input; end when all running inputs have ended."""
        self._loop.call_soon_threadsafe(self._drain)

    def abort(self) -> None:
        """Stop running inputs without a result, and end; the hub runs them on other workers."""
        self._loop.call_soon_threadsafe(self._abort)

    def current_lease(self) -> int:
        """Return the lease of the input whose code calls this; in a thread started by user code, the latest lease."""
        own = _lease.get()
        return own if own in self.running else self.latest

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return the tasks of running coroutines."""
        return [r.task for r in tuple(self.running.values()) if r.task is not None]

    def reset_after_fork(self) -> None:
        """Drop all state in a child process that user code forked."""
        self.running.clear()
        self.latest = 0
        self._forked = True

    # --- on the main thread ---

    def serve(self, on_sigterm: Callable[[], None]) -> None:
        """Run inputs until drained or aborted.

        Args:
            on_sigterm: Called when SIGTERM arrives, before the executor aborts.
        """

        def terminate() -> None:
            on_sigterm()
            self._abort()

        self._loop.add_signal_handler(signal.SIGTERM, terminate)
        self.wake()
        self._loop.run_until_complete(self._finished)

    def _begin_waiting(self) -> None:
        while self._may_begin() and (entries := next_batch(self._todo)):
            self._begin(Batch(entries, self._loaded.targets[entries[0].method], self._serializer))
        if self._stopping and not self.running:
            self._end()

    def _may_begin(self) -> bool:
        return not (self._stopping or (self._unconfirmed.full and self._todo))

    def _begin(self, batch: Batch) -> None:
        running = _Running(batch, self._outbox)
        self._levels.apply_for(batch.entries[0].call)
        self.running[batch.lease] = running
        self.latest = self._shared[0] = batch.lease
        running.timer = self._loop.call_later(self._limit, self._stop, batch.lease, "timeout")
        if batch.target.is_async:
            run_async = self._run_async(running)
            running.task = task = self._loop.create_task(run_async, context=running.context)
            task.add_done_callback(lambda _: self._cancelled_before_start(running))
        else:
            self._threads.submit(lambda: running.context.run(self._run_sync, running))

    def _cancelled_before_start(self, running: _Running) -> None:
        """Send the results of a task that was cancelled before its first step."""
        if running.batch.lease in self.running:
            self._send_results(running, self._stop_results(running, None))

    def _stop(self, lease: int, reason: str) -> None:
        running = self.running.get(lease) or self._find(lease)
        if running is None or running.reason:
            return  # the first reason counts
        running.reason = reason
        if running.task is not None:
            running.task.cancel()
        else:
            self._send_results(running, self._stop_results(running, None))
            self._abort()

    def _find(self, lease: int) -> _Running | None:
        batches = tuple(self.running.values())
        return next((r for r in batches if any(e.lease == lease for e in r.batch.entries)), None)

    def _grant(self, lease: int, upto: int) -> None:
        running = self.running.get(lease)
        if running is not None:
            running.credit = upto  # for a thread that has not started its generator
            if running.items is not None:
                running.items.grant(upto)

    def _feed(self, lease: int, data: bytes) -> None:
        if (running := self.running.get(lease)) is not None:
            running.request_stream.put(data)

    def _drain(self) -> None:
        self._stopping = True
        self._begin_waiting()

    def _abort(self) -> None:
        self._stopping = True
        for lease, running in tuple(self.running.items()):
            if running.task is None:
                self.running.pop(lease, None)  # what its thread returns later is dropped
            elif not running.reason:
                running.reason = "exit"
                running.task.cancel()
        self._loop.call_later(CANCEL_TIMEOUT, self._end)
        self._begin_waiting()

    def _end(self) -> None:
        if not self._finished.done():
            self._finished.set_result(None)

    # --- running a batch ---

    async def _run_async(self, running: _Running) -> None:
        """Run a batch of an async function; the body of a task."""
        batch = running.batch
        try:
            returned = batch.call()
            if batch.target.is_generator:
                returned = await self._items(running).send_all_async(returned)
            elif hasattr(returned, "__await__"):
                returned = await returned
            found = (
                batch.success_results(returned)
                if not running.reason
                else self._stop_results(running, None)
            )
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            found = self._failure_results(running, error)
        flush_figures()
        self._send_results(running, found)

    def _run_sync(self, running: _Running) -> None:
        """Run a batch of a plain function; called in a thread."""
        batch = running.batch
        try:
            returned = batch.call()
            if batch.target.is_generator:
                returned = self._items(running).send_all(returned)
            if self._forked:
                input_result.exit_child(None)
            found = batch.success_results(returned)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            if self._forked:
                input_result.exit_child(error)
            found = self._failure_results(running, error)
        flush_figures()
        self._send_results(running, found)

    def _items(self, running: _Running) -> GeneratorStream:
        batch = running.batch
        running.items = GeneratorStream(
            batch.target.name, batch.lease, self._serializer, self._outbox
        )
        running.items.grant(running.credit)
        return running.items

    def _failure_results(self, running: _Running, error: BaseException) -> list[InputResult]:
        if isinstance(error, KeyboardInterrupt):
            input_result.exit_interrupted(error)
        return (
            self._stop_results(running, error)
            if running.reason
            else running.batch.failure_results(error)
        )

    def _stop_results(self, running: _Running, error: BaseException | None) -> list[InputResult]:
        return running.batch.stop_results(running.reason, self._limit, error)

    def _send_results(self, running: _Running, found: Sequence[InputResult]) -> None:
        """Send the results of a batch unless they have been sent."""
        entries = running.batch.entries
        output_capture.end_lines(running.batch.lease)
        if self.running.pop(running.batch.lease, None) and running.reason != "exit":
            seconds = (time.monotonic() - running.started) / len(entries)
            self._unconfirmed.add(
                sum(answer[1].weight for answer in found if answer[1] is not None)
            )
            for entry, (status, payload, final) in zip(entries, found, strict=True):
                self._outbox.entries.append(
                    Result(entry.lease, status, payload, seconds, final, running.started)
                )
            self._outbox.send_now()
        self._loop.call_soon_threadsafe(self._batch_ended, running)

    def _batch_ended(self, running: _Running) -> None:
        assert running.timer is not None
        running.timer.cancel()
        self.latest = self._shared[0] = next(reversed(tuple(self.running)), 0)
        self._begin_waiting()


class _ThreadPool:
    """Runs jobs in threads, which are started on demand and reused."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._free: deque[None] = deque()  # one entry for each idle thread

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job in an idle thread, or in a new one."""
        self._jobs.put(job)
        try:
            self._free.pop()
        except IndexError:
            threading.Thread(target=self._run_sync, name="nbfn-input", daemon=True).start()

    def _run_sync(self) -> None:
        while True:
            self._jobs.get()()
            self._free.append(None)
