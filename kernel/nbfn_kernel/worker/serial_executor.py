"""Runs inputs on the main thread, one at a time, without a running event loop around them.

Functions that run several inputs at once are left to `concurrent_executor`.

To stop an input, the hub connection's thread writes its lease to `_wanted` and sends the main thread SIGUSR1. The
handler raises `InputCancellation` only while `_armed` is that lease, which it is from just before the user's code to
just after it. So the exception is raised neither in the executor's own code nor in the next input.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from nbfn.context import set_current
from nbfn.exception import InputCancellation
from nbfn.protocol.messages import Bind, BindFailed, Bound, LeasedInput, Payload, Result
from nbfn.protocol.worker_state import ENDED_BY, MEMORY_LIMIT, WorkerState
from nbfn.serialization.payload import Carrier
from nbfn.serialization.remote_exception import dump_exception, format_exception
from nbfn_kernel.worker import (
    batch,
    concurrent_executor,
    function_loader,
    input_result,
    output_capture,
    thread_limits,
)
from nbfn_kernel.worker.batch import Batch
from nbfn_kernel.worker.concurrent_executor import ConcurrentExecutor
from nbfn_kernel.worker.display_shell import flush_figures
from nbfn_kernel.worker.generator_stream import GeneratorStream
from nbfn_kernel.worker.input_result import HIDDEN, SUCCESS, TERMINATED, TIMEOUT, InputResult
from nbfn_kernel.worker.loaded_function import LoadedFunction
from nbfn_kernel.worker.log_forwarding import CallerLogLevels
from nbfn_kernel.worker.outbox import Outbox
from nbfn_kernel.worker.target import Target
from nbfn_kernel.worker.unconfirmed_results import UNCONFIRMED_BYTES, UnconfirmedResults

#: Seconds after which an idle main thread looks up. A signal that comes between Python's last look
#: for one and the wait itself does not end the wait, and its handler would not run.
SIGNALS_SEEN = 1.0
#: Characters of the traceback of a function that cannot be loaded.
MAX_TRACEBACK = 64 * 1024

logger = logging.getLogger("nbfn.worker")


class SerialExecutor:
    """Runs inputs on the thread that makes it.

    Args:
        carrier: Of this process.
        outbox: Takes results, items and the answer to a Bind.
        state: Shared with the fork server.

    Attributes:
        todo: Inputs waiting, filled by the connection's thread.
        current: The lease that runs, or 0.
        started: When it began, by `time.monotonic`.
        stopping: No further input is to be begun.
        levels: Of the callers' loggers.
        concurrent: Runs the inputs instead, where several run at once.
    """

    def __init__(self, carrier: Carrier, outbox: Outbox, state: WorkerState) -> None:
        self.todo: deque[LeasedInput] = deque()
        self.current = 0
        self.started = 0.0
        self.stopping = False
        self.concurrent: ConcurrentExecutor | None = None
        self.levels = CallerLogLevels()
        self._carrier = carrier
        self._outbox = outbox
        self._state = state
        self._cell = state.numbers
        self._commands: queue.SimpleQueue[Bind | None] = queue.SimpleQueue()
        self._loaded: LoadedFunction | None = None
        self._batched = False
        self._functions: dict[str, Callable[..., Any]] = {}  # by method, "" for a Function's own
        self._members: frozenset[int] = frozenset()  # leases of the batch that runs
        self._armed = 0  # the lease whose user code runs now
        self._wanted = 0  # the lease to stop
        self._reason = ""  # why: cancel, timeout, exit
        self._stopped = 0  # the last lease that was stopped
        self._task: asyncio.Task[Any] | None = None
        self._loops = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._items: GeneratorStream | None = None  # of the generator that runs, or ran last
        self._credit: dict[int, int] = {}  # of those that have not begun
        self._thread = threading.get_ident()
        self.unconfirmed = UnconfirmedResults(outbox.hurry)

    @property
    def ended_by(self) -> int:
        """The signal that told the worker to end, or 0."""
        return self._cell[ENDED_BY]

    @property
    def loaded(self) -> LoadedFunction | None:
        """The Function that the worker runs; None before it is bound."""
        return self._loaded

    # --- called by the connection's thread ---

    def notice(self, command: Bind | None = None) -> None:
        """Wake the main thread: for a Bind, or for what is in `todo` or `stopping`."""
        if self.concurrent is not None:
            self.concurrent.look()
        else:
            self._commands.put(command)

    def drain(self) -> None:
        """Begin nothing more, and end after what runs; user code may ask for that as well."""
        self.stopping = True
        self._commands.put(None)
        if self.concurrent is not None:
            self.concurrent.drain()

    def interrupt(self, lease: int, reason: str) -> None:
        """Stop the user code of this lease, if it runs or is about to."""
        if self.concurrent is not None:
            self.concurrent.interrupt(lease, reason)
            return
        if lease in self._members:
            lease = min(self._members)  # what the batch is known by
        if lease == self._stopped:
            return  # once is enough, and the first reason counts
        self._reason, self._wanted = reason, lease
        signal.pthread_kill(self._thread, signal.SIGUSR1)

    def grant(self, lease: int, upto: int) -> None:
        """Let a generator input go on up to item number ``upto``."""
        if self.concurrent is not None:
            self.concurrent.grant(lease, upto)
        elif (items := self._items) is not None and items.lease == lease:
            items.grant(upto)
        else:
            self._credit[lease] = upto
            if (items := self._items) is not None and items.lease == lease:  # it began meanwhile
                items.grant(upto)

    def confirmed(self, weight: int) -> None:
        """Note that results of so many bytes are safe."""
        self.unconfirmed.confirm(weight)
        if self.concurrent is not None:
            self.concurrent.look()

    def feed(self, lease: int, data: bytes) -> None:
        """Bring a piece of what an input reads while it runs."""
        if self.concurrent is not None:
            self.concurrent.feed(lease, data)

    def lease(self) -> int:
        """Return the lease of the input whose code asks, or 0."""
        return self.current if self.concurrent is None else self.concurrent.lease()

    def name(self) -> str:
        """Return the name of the Function that the worker runs."""
        return "This code" if self._loaded is None else self._loaded.definition.name

    # --- signals, on the main thread ---

    def take_signals(self) -> None:
        """Install the handlers: SIGUSR1 stops an input, SIGTERM the worker, SIGINT is the user's."""
        signal.signal(signal.SIGUSR1, self._on_stop)
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGINT, self._on_interrupt)

    def disown(self) -> None:
        """Make a child that user code forked an ordinary process: it runs no inputs and sends nothing."""
        self.current = self._armed = 0
        output_capture.detach()
        if self.concurrent is not None:
            self.concurrent.disown()

    def handles(self, handler: object) -> bool:
        """Whether a signal handler is one that `take_signals` installed."""
        return handler in (self._on_stop, self._on_terminate, self._on_interrupt)

    def _on_stop(self, _signal: int, _frame: FrameType | None) -> None:
        if self._armed and self._armed == self._wanted:
            self._stop_armed()

    def _stop_armed(self) -> None:
        self._stopped, self._armed = self._armed, 0
        if self._task is not None:
            self._loops.get_loop().call_soon_threadsafe(self._task.cancel)
            return
        raise InputCancellation(_SAID[self._reason])

    def _on_terminate(self, _signal: int, _frame: FrameType | None) -> None:
        self._told_to_end()
        self._commands.put(None)
        if self.concurrent is not None:
            self.concurrent.leave()
        elif self.current:
            self._reason, self._wanted = "exit", self.current
            if self._armed:
                self._stop_armed()

    def _told_to_end(self) -> None:
        self.stopping = True
        self._cell[ENDED_BY] = signal.SIGTERM

    def _on_interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if self._armed:
            raise KeyboardInterrupt

    # --- the main thread's work ---

    def run(self) -> None:
        """Work until told to stop."""
        while not self.stopping:
            try:
                command = self._commands.get(timeout=SIGNALS_SEEN)
            except queue.Empty:
                continue
            if command is not None:
                self._bind(command)
            if self.concurrent is not None:
                self.concurrent.serve(self._told_to_end)
                break
            if self.todo and self._loaded is not None:
                if self._batched:
                    self._run_batches(self._loaded)
                else:
                    self._run_queue(self._loaded)
        if self._loaded is not None:
            self._loaded.close(self._loops.get_loop().run_until_complete)
            self._send_output()

    def _bind(self, bind: Bind) -> None:
        output_capture.forward_all()
        function_loader.set_variables(bind)
        if bind.threads:
            thread_limits.limit(bind.threads)
        self._limit_memory(bind.definition.resources.memory_limit or 0)
        try:
            self._loaded = loaded = LoadedFunction(self._carrier, bind)
            loaded.start(self._loops.get_loop().run_until_complete)
            self._functions = {name: self._adapted(t) for name, t in loaded.targets.items()}
            self._batched = batch.batched(bind.definition)
            if concurrent_executor.needed(bind.definition):
                self._start_concurrent(loaded)
        except BaseException as error:  # noqa: BLE001 - user code at import may raise anything
            payload = dump_exception(self._carrier, error, hide=HIDDEN)
            text = _shortened(format_exception(error, hide=HIDDEN))
            self._send_output()
            self._outbox.put(BindFailed(bind.function, bind.version, payload, text))
        else:
            self._send_output()
            self._outbox.put(Bound(bind.function, bind.version))
        self._outbox.hurry()

    def _send_output(self) -> None:
        """Send what was written and drawn outside of inputs, before it is said what follows."""
        flush_figures()
        output_capture.end_lines(0)
        self._outbox.collect_files(0)

    def _limit_memory(self, limit: int) -> None:
        """Tell the fork server how much this worker may hold; it watches from then on."""
        if limit and self._state.shared:
            self._cell[MEMORY_LIMIT] = limit
            os.kill(os.getppid(), signal.SIGCHLD)  # what it wakes up for
        elif limit:
            logger.warning("Nobody watches the memory limit of %d MB here.", limit // 2**20)

    def _start_concurrent(self, loaded: LoadedFunction) -> None:
        loop = self._loops.get_loop()
        self.concurrent = ConcurrentExecutor(
            loaded,
            self._carrier,
            self._outbox,
            self.todo,
            self._cell,
            loop,
            self.unconfirmed,
            self.levels,
        )
        output_capture.install(
            self._outbox, self.concurrent.lease, output_capture.LineBufferedStream
        )
        if self.stopping:
            self.concurrent.drain()

    def _adapted(self, target: Target) -> Callable[..., Any]:
        """Give all four kinds of function one shape: arguments in, value to send out."""
        function = target.function
        if target.is_generator or target.is_async:
            return lambda *args, **kwargs: self._settled(target, function(*args, **kwargs))
        return function

    def _settled(self, target: Target, returned: Any) -> Any:
        """Return the value to send out for what a target's function returned."""
        if target.is_generator:
            items = self._items = GeneratorStream(
                target.name, self.current, self._carrier, self._outbox
            )
            items.grant(self._credit.pop(items.lease, 0))
            if hasattr(returned, "__aiter__"):
                return self._await(items.take_async(returned))
            return items.take(returned)
        return self._await(returned) if target.is_async else returned

    def _run_queue(self, loaded: LoadedFunction) -> None:
        # The hot loop: one piece, and everything hoisted, on purpose.
        todo, outbox, cell = self.todo, self._outbox, self._cell
        clock = time.monotonic
        load, dump, keep = (
            self._carrier.load,
            self._carrier.dump_result,
            self._carrier.durable.dump_result,
        )
        append, popleft, functions = outbox.entries.append, todo.popleft, self._functions
        levels = self.levels
        by_call = levels.by_call
        plain, check, end_lines = (
            function_loader.PLAIN,
            function_loader.check_value,
            output_capture.end_lines,
        )
        unconfirmed = self.unconfirmed
        answer: Payload | None
        args: Any
        kwargs: Any
        value: Any
        while not self.stopping:
            if unconfirmed.made - unconfirmed.confirmed >= UNCONFIRMED_BYTES:
                self.current = cell[0] = 0
                unconfirmed.await_room(lambda: self.stopping)
                continue
            try:
                entry = popleft()
            except IndexError:
                break
            lease = entry.lease
            set_current((entry.call, entry.index))
            if (wanted := by_call.get(entry.call, b"")) != levels.current:
                levels.apply(wanted)
            self.started = began = clock()
            self.current = cell[0] = lease
            try:
                try:
                    self._armed = lease
                    if self._wanted == lease:
                        self._stop_armed()
                    args, kwargs = load(entry.payload)
                    value = functions[entry.method](*args, **kwargs)
                    self._armed = 0
                    if not self.current:
                        input_result.end_child(None)
                    if type(value) not in plain:
                        check(loaded.targets[entry.method].name, value)
                    answer = keep(value) if entry.durable else dump(value)
                    status, final = SUCCESS, False
                except BaseException as error:  # noqa: BLE001 - user code may raise anything
                    self._armed = 0
                    if not self.current:
                        input_result.end_child(error)
                    status, answer, final = self._failed(error, entry)
            except InputCancellation as error:  # it came while another exception was on its way
                self._armed = 0
                status, answer, final = self._failed(error, entry)
            args = kwargs = None  # before the answer: the caller may fill their memory again
            if self._stopped == lease:
                if self._reason == "exit":
                    break  # without a result: the hub gives the input to another worker
                if status == SUCCESS:
                    status, answer, final = self._failed(None, entry)
            if answer is not None:
                unconfirmed.made += answer.weight if answer.segments else len(answer.data)
            flush_figures()
            end_lines(lease)
            if not todo:
                self.current = cell[0] = 0
                append(Result(lease, status, answer, clock() - began, final))
                outbox.hurry()
            else:
                append(Result(lease, status, answer, clock() - began, final))
                if not outbox.watched:
                    outbox.watched = True
                    outbox.wake()
            value = None  # after the answer: nobody waits for its memory
        self.current = cell[0] = 0
        set_current(None)

    def _run_batches(self, loaded: LoadedFunction) -> None:
        """Run what waits where some of it is batches, one batch after the other."""
        while True:
            self.unconfirmed.await_room(lambda: self.stopping)
            if self.stopping or not (entries := batch.take(self.todo)):
                break
            todo = Batch(entries, loaded.targets[entries[0].method], self._carrier)
            set_current((entries[0].call, entries[0].index))
            self.levels.of(entries[0].call)
            self.started = began = time.monotonic()
            self._members = frozenset(entry.lease for entry in entries)
            self.current = self._cell[0] = todo.lease
            try:
                found = self._run_batch(todo)
            except InputCancellation as error:  # it came while another exception was on its way
                self._armed = 0
                found = self._batch_failed(todo, error)
            if self._stopped == todo.lease:
                if self._reason == "exit":
                    break  # without a result: the hub gives the inputs to another worker
                if found[0][0] not in {TERMINATED, TIMEOUT}:  # it did not care
                    found = todo.stopped(self._reason, loaded.definition.timeout, None)
            flush_figures()
            output_capture.end_lines(todo.lease)
            self.current = self._cell[0] = 0
            took = (time.monotonic() - began) / len(entries)
            for entry, (status, payload, final) in zip(entries, found, strict=True):
                self.unconfirmed.made += payload.weight if payload is not None else 0
                self._outbox.entries.append(Result(entry.lease, status, payload, took, final))
            self._outbox.hurry()
        self.current = self._cell[0] = 0
        set_current(None)

    def _run_batch(self, todo: Batch) -> list[InputResult]:
        try:
            self._armed = todo.lease
            if self._wanted in self._members:
                self._stop_armed()
            returned = self._settled(todo.target, todo.call())
            self._armed = 0
            if not self.current:
                input_result.end_child(None)
            return todo.returned(returned)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._armed = 0
            if not self.current:
                input_result.end_child(error)
            return self._batch_failed(todo, error)

    def _batch_failed(self, todo: Batch, error: BaseException) -> list[InputResult]:
        if self._stopped == todo.lease:
            assert self._loaded is not None
            error.__traceback__ = input_result.without(
                error.__traceback__, SerialExecutor._on_stop.__code__
            )
            return todo.stopped(self._reason, self._loaded.definition.timeout, error)
        if isinstance(error, KeyboardInterrupt):
            input_result.die_interrupted(error, SerialExecutor._on_interrupt.__code__)
        return todo.raised(error)

    def _failed(self, error: BaseException | None, entry: LeasedInput) -> InputResult:
        """Return the outcome of an input that raised, or that was stopped and did not care."""
        assert self._loaded is not None
        carrier = self._carrier.durable if entry.durable else self._carrier
        target = self._loaded.targets[entry.method]
        logged_as = entry.lease if entry.unattended else 0
        if self._stopped != entry.lease:
            assert error is not None
            if isinstance(error, KeyboardInterrupt):
                input_result.die_interrupted(error, SerialExecutor._on_interrupt.__code__)
            return input_result.failure(carrier, error, target, logged_as=logged_as)
        if self._reason != "timeout":
            return TERMINATED, None, False
        name, limit = target.name, self._loaded.definition.timeout
        trace = input_result.without(
            error.__traceback__ if error else None, SerialExecutor._on_stop.__code__
        )
        return input_result.late(carrier, name, limit, trace, logged_as=logged_as)

    # --- async functions and generators ---

    def _await(self, awaitable: Any) -> Any:
        """Run one coroutine to its end on the worker's loop, which runs at no other time."""
        if not asyncio.iscoroutine(awaitable):
            if not hasattr(awaitable, "__await__"):
                return awaitable
            awaitable = _awaiting(awaitable)
        loop = self._loops.get_loop()
        task = loop.create_task(awaitable)
        self._task = task
        try:
            return loop.run_until_complete(task)
        finally:
            self._task = None


def _shortened(text: str) -> str:
    """Leave out the middle of a text that is too long for the logs."""
    if (left_out := len(text) - MAX_TRACEBACK) <= 0:
        return text
    half = MAX_TRACEBACK // 2
    return f"{text[:half]}\n[nbfn: {left_out} characters are left out here]\n{text[-half:]}"


async def _awaiting(awaitable: Any) -> Any:
    return await awaitable


_SAID = {
    "cancel": "This input was cancelled.",
    "timeout": "This input ran longer than its timeout.",
    "exit": "The worker is shutting down.",
}
