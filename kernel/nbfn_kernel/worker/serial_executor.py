"""Runs inputs one at a time on the main thread, outside of a running event loop.

`concurrent_executor` runs the inputs of Functions with concurrent inputs.

To stop an input, the thread of the hub connection writes its lease to `_lease_to_stop` and sends SIGUSR1 to the main
thread. The handler raises `InputCancellation` only while `_armed` is that lease, which it is while user code runs. So
the exception is raised neither in the executor's own code nor in the next input.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import signal
import sys
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
from nbfn.runtime import threads
from nbfn.runtime.byte_size import format_bytes
from nbfn.serialization.payload import Serializer
from nbfn.serialization.remote_exception import dump_exception, format_exception
from nbfn_kernel.worker import (
    batch,
    concurrent_executor,
    function_loader,
    input_result,
    output_capture,
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

#: Seconds after which the idle main thread wakes up. A signal that arrives between Python's last check and the wait
#: does not interrupt the wait, so its handler would not run.
SIGNAL_POLL_INTERVAL = 1.0
#: The largest number of characters of the traceback of a function that cannot be loaded.
MAX_TRACEBACK = 64 * 1024

logger = logging.getLogger("nbfn.worker")


class SerialExecutor:
    """Runs inputs on the thread that creates it.

    Args:
        serializer: Unpickles arguments and pickles results.
        outbox: Queues results, items and replies to a Bind for the hub.
        state: The memory shared with the fork server.

    Attributes:
        todo: Queued inputs; the connection's thread adds to it.
        current: The running lease, or 0.
        started: The start of the running input, by `time.monotonic`.
        stopping: Whether no further input may start.
        levels: The callers' log levels.
        concurrent: The executor of a Function with concurrent inputs, which runs them instead of this one.
        unconfirmed: Counts the bytes of results that the hub has not confirmed.
    """

    def __init__(self, serializer: Serializer, outbox: Outbox, state: WorkerState) -> None:
        self.todo: deque[LeasedInput] = deque()
        self.current = 0
        self.started = 0.0
        self.stopping = False
        self.concurrent: ConcurrentExecutor | None = None
        self.levels = CallerLogLevels()
        self._serializer = serializer
        self._outbox = outbox
        self._state = state
        self._shared = state.numbers
        self._commands: queue.SimpleQueue[Bind | None] = queue.SimpleQueue()
        self._loaded: LoadedFunction | None = None
        self._batched = False
        self._functions: dict[str, Callable[..., Any]] = {}  # by method; "" for a Function
        self._batch_leases: frozenset[int] = frozenset()  # the leases of the running batch
        self._armed = 0  # the lease whose user code may be interrupted now
        self._lease_to_stop = 0  # the lease to stop
        self._stop_reason = ""  # why it is stopped: cancel, timeout, exit
        self._last_stopped = 0  # the lease that was stopped last
        self._task: asyncio.Task[Any] | None = None
        self._loops = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._items: GeneratorStream | None = None  # of the generator that runs or ran last
        self._credit: dict[int, int] = {}  # of generators that have not started, by lease
        self._thread = threading.get_ident()
        self.unconfirmed = UnconfirmedResults(outbox.send_now)

    @property
    def ended_by(self) -> int:
        """The number of the signal that ended the worker, or 0."""
        return self._shared[ENDED_BY]

    @property
    def loaded(self) -> LoadedFunction | None:
        """The Function that the worker runs; None until it is bound."""
        return self._loaded

    # --- for the connection's thread ---

    def wake(self, command: Bind | None = None) -> None:
        """Wake the main thread, to handle a Bind or to check `todo` and `stopping`."""
        if self.concurrent is not None:
            self.concurrent.wake()
        else:
            self._commands.put(command)

    def drain(self) -> None:
        """Start no further input, and end after the running ones; user code may call it too."""
        self.stopping = True
        self._commands.put(None)
        if self.concurrent is not None:
            self.concurrent.drain()

    def interrupt(self, lease: int, reason: str) -> None:
        """Stop an input that runs or is about to run.

        Args:
            lease: The lease of the input.
            reason: Why: "cancel" or "timeout".
        """
        if self.concurrent is not None:
            self.concurrent.interrupt(lease, reason)
            return
        if lease in self._batch_leases:
            lease = min(self._batch_leases)  # the lease of the batch
        if lease == self._last_stopped:
            return  # the first reason counts
        self._stop_reason, self._lease_to_stop = reason, lease
        signal.pthread_kill(self._thread, signal.SIGUSR1)

    def grant(self, lease: int, upto: int) -> None:
        """Allow a generator input to send items up to number ``upto``."""
        if self.concurrent is not None:
            self.concurrent.grant(lease, upto)
        elif (items := self._items) is not None and items.lease == lease:
            items.grant(upto)
        else:
            self._credit[lease] = upto
            if (items := self._items) is not None and items.lease == lease:  # it started meanwhile
                items.grant(upto)

    def confirm_results(self, weight: int) -> None:
        """Record that the hub has confirmed results of ``weight`` bytes."""
        self.unconfirmed.confirm(weight)
        if self.concurrent is not None:
            self.concurrent.wake()

    def feed(self, lease: int, data: bytes) -> None:
        """Add data to the request stream of a running input."""
        if self.concurrent is not None:
            self.concurrent.feed(lease, data)

    def current_lease(self) -> int:
        """Return the lease of the input whose code calls this, or 0."""
        return self.current if self.concurrent is None else self.concurrent.current_lease()

    def function_name(self) -> str:
        """Return the name of the Function that the worker runs."""
        return "This code" if self._loaded is None else self._loaded.definition.name

    # --- signals, on the main thread ---

    def install_signal_handlers(self) -> None:
        """Install handlers: SIGUSR1 stops an input, SIGTERM ends the worker, SIGINT raises KeyboardInterrupt."""
        signal.signal(signal.SIGUSR1, self._on_stop)
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGINT, self._on_interrupt)

    def reset_after_fork(self) -> None:
        """Drop all state in a child process that user code forked, so that it runs no inputs and sends nothing."""
        self.current = self._armed = 0
        output_capture.reset_after_fork()
        if self.concurrent is not None:
            self.concurrent.reset_after_fork()

    def owns_handler(self, handler: object) -> bool:
        """Return whether `install_signal_handlers` installed a signal handler."""
        return handler in (self._on_stop, self._on_terminate, self._on_interrupt)

    def _on_stop(self, _signal: int, _frame: FrameType | None) -> None:
        if self._armed and self._armed == self._lease_to_stop:
            self._stop_armed()

    def _stop_armed(self) -> None:
        self._last_stopped, self._armed = self._armed, 0
        if self._task is not None:
            self._loops.get_loop().call_soon_threadsafe(self._task.cancel)
            return
        raise InputCancellation(_STOP_MESSAGES[self._stop_reason])

    def _on_terminate(self, _signal: int, _frame: FrameType | None) -> None:
        self._note_sigterm()
        self._commands.put(None)
        if self.concurrent is not None:
            self.concurrent.abort()
        elif self.current:
            self._stop_reason, self._lease_to_stop = "exit", self.current
            if self._armed:
                self._stop_armed()

    def _note_sigterm(self) -> None:
        self.stopping = True
        self._shared[ENDED_BY] = signal.SIGTERM

    def _on_interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if self._armed:
            raise KeyboardInterrupt

    # --- running inputs, on the main thread ---

    def run(self) -> None:
        """Run inputs until the worker is drained or SIGTERM arrives."""
        while not self.stopping:
            try:
                command = self._commands.get(timeout=SIGNAL_POLL_INTERVAL)
            except queue.Empty:
                continue
            if command is not None:
                self._bind(command)
            if self.concurrent is not None:
                self.concurrent.serve(self._note_sigterm)
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
            limit_threads(bind.threads)
        self._limit_memory(bind.definition.resources.memory_limit or 0)
        try:
            self._loaded = loaded = LoadedFunction(self._serializer, bind)
            loaded.start(self._loops.get_loop().run_until_complete)
            self._functions = {name: self._adapt(t) for name, t in loaded.targets.items()}
            self._batched = batch.is_batched(bind.definition)
            if concurrent_executor.is_needed(bind.definition):
                self._start_concurrent(loaded)
        except BaseException as error:  # noqa: BLE001 - user code at import may raise anything
            payload = dump_exception(self._serializer, error, hide=HIDDEN)
            text = _truncate(format_exception(error, hide=HIDDEN))
            self._send_output()
            self._outbox.put(BindFailed(bind.function, bind.version, payload, text))
        else:
            self._send_output()
            self._outbox.put(Bound(bind.function, bind.version))
        self._outbox.send_now()

    def _send_output(self) -> None:
        """Send output and figures of code outside of inputs, before the message that follows."""
        flush_figures()
        output_capture.end_lines(0)
        self._outbox.collect_files(0)

    def _limit_memory(self, limit: int) -> None:
        """Set the memory limit in the shared memory; the fork server enforces it."""
        if limit and self._state.shared:
            self._shared[MEMORY_LIMIT] = limit
            os.kill(os.getppid(), signal.SIGCHLD)  # wakes the fork server
        elif limit:
            logger.warning(
                "The memory limit of %s is not enforced: this worker has no fork server.",
                format_bytes(limit),
            )

    def _start_concurrent(self, loaded: LoadedFunction) -> None:
        loop = self._loops.get_loop()
        self.concurrent = ConcurrentExecutor(
            loaded,
            self._serializer,
            self._outbox,
            self.todo,
            self._shared,
            loop,
            self.unconfirmed,
            self.levels,
        )
        output_capture.install(
            self._outbox, self.concurrent.current_lease, output_capture.LineBufferedStream
        )
        if self.stopping:
            self.concurrent.drain()

    def _adapt(self, target: Target) -> Callable[..., Any]:
        """Return a plain function, from arguments to the value to send, for any of the four kinds of function."""
        function = target.function
        if target.is_generator or target.is_async:
            return lambda *args, **kwargs: self._resolve(target, function(*args, **kwargs))
        return function

    def _resolve(self, target: Target, returned: Any) -> Any:
        """Return the value to send: await a coroutine, send the items of a generator."""
        if target.is_generator:
            items = self._items = GeneratorStream(
                target.name, self.current, self._serializer, self._outbox
            )
            items.grant(self._credit.pop(items.lease, 0))
            if hasattr(returned, "__aiter__"):
                return self._await(items.send_all_async(returned))
            return items.send_all(returned)
        return self._await(returned) if target.is_async else returned

    def _run_queue(self, loaded: LoadedFunction) -> None:
        # The hot loop: one function, with names bound to locals, for speed.
        todo, outbox, shared = self.todo, self._outbox, self._shared
        clock = time.monotonic
        load = self._serializer.load
        dumps = (self._serializer.dump_result, self._serializer.durable.dump_result)
        append, popleft, functions = outbox.entries.append, todo.popleft, self._functions
        levels = self.levels
        by_call = levels.by_call
        plain, check, end_lines = (
            function_loader.PLAIN_TYPES,
            function_loader.check_value,
            output_capture.end_lines,
        )
        unconfirmed = self.unconfirmed
        answer: Payload | None
        args: Any
        kwargs: Any
        value: Any
        while not self.stopping:
            if unconfirmed.total - unconfirmed.confirmed >= UNCONFIRMED_BYTES:
                self.current = shared[0] = 0
                unconfirmed.wait_for_room(lambda: self.stopping)
                continue
            try:
                entry = popleft()
            except IndexError:
                break
            lease = entry.lease
            set_current((entry.call, entry.index))
            if (wanted := by_call.get(entry.call, b"")) != levels.current:
                levels.apply(wanted)
            self.started = started_at = clock()
            self.current = shared[0] = lease
            try:
                try:
                    self._armed = lease
                    if self._lease_to_stop == lease:
                        self._stop_armed()
                    args, kwargs = load(entry.payload)
                    value = functions[entry.method](*args, **kwargs)
                    self._armed = 0
                    if not self.current:
                        input_result.exit_child(None)
                    if type(value) not in plain:
                        check(loaded.targets[entry.method].name, value)
                    answer = dumps[entry.durable](value)
                    status, final = SUCCESS, False
                except BaseException as error:  # noqa: BLE001 - user code may raise anything
                    self._armed = 0
                    if not self.current:
                        input_result.exit_child(error)
                    status, answer, final = self._failure_result(error, entry)
            except InputCancellation as error:  # raised while another exception was handled
                self._armed = 0
                status, answer, final = self._failure_result(error, entry)
            args = kwargs = (
                None  # before the result is sent: the caller may then reuse their memory
            )
            if self._last_stopped == lease:
                if self._stop_reason == "exit":
                    break  # without a result: the hub runs the input on another worker
                if status == SUCCESS:
                    status, answer, final = self._failure_result(None, entry)
            if answer is not None:
                unconfirmed.total += answer.weight if answer.segments else len(answer.data)
            flush_figures()
            end_lines(lease)
            if not todo:
                self.current = shared[0] = 0
                append(Result(lease, status, answer, clock() - started_at, final, started_at))
                outbox.send_now()
            else:
                append(Result(lease, status, answer, clock() - started_at, final, started_at))
                if not outbox.send_scheduled:
                    outbox.send_scheduled = True
                    outbox.wake()
            value = None  # after the result is sent: freeing it takes time
        self.current = shared[0] = 0
        set_current(None)

    def _run_batches(self, loaded: LoadedFunction) -> None:
        """Run the queued inputs of a batched Function, one batch at a time."""
        while True:
            self.unconfirmed.wait_for_room(lambda: self.stopping)
            if self.stopping or not (entries := batch.next_batch(self.todo)):
                break
            todo = Batch(entries, loaded.targets[entries[0].method], self._serializer)
            set_current((entries[0].call, entries[0].index))
            self.levels.apply_for(entries[0].call)
            self.started = started_at = time.monotonic()
            self._batch_leases = frozenset(entry.lease for entry in entries)
            self.current = self._shared[0] = todo.lease
            try:
                found = self._run_batch(todo)
            except InputCancellation as error:  # raised while another exception was handled
                self._armed = 0
                found = self._batch_failure_results(todo, error)
            if self._last_stopped == todo.lease:
                if self._stop_reason == "exit":
                    break  # without a result: the hub runs the inputs on another worker
                if found[0][0] not in {TERMINATED, TIMEOUT}:  # the code ignored the interrupt
                    found = todo.stop_results(self._stop_reason, loaded.definition.timeout, None)
            flush_figures()
            output_capture.end_lines(todo.lease)
            self.current = self._shared[0] = 0
            seconds = (time.monotonic() - started_at) / len(entries)
            for entry, (status, payload, final) in zip(entries, found, strict=True):
                self.unconfirmed.total += payload.weight if payload is not None else 0
                self._outbox.entries.append(
                    Result(entry.lease, status, payload, seconds, final, started_at)
                )
            self._outbox.send_now()
        self.current = self._shared[0] = 0
        set_current(None)

    def _run_batch(self, todo: Batch) -> list[InputResult]:
        try:
            self._armed = todo.lease
            if self._lease_to_stop in self._batch_leases:
                self._stop_armed()
            returned = self._resolve(todo.target, todo.call())
            self._armed = 0
            if not self.current:
                input_result.exit_child(None)
            return todo.success_results(returned)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._armed = 0
            if not self.current:
                input_result.exit_child(error)
            return self._batch_failure_results(todo, error)

    def _batch_failure_results(self, todo: Batch, error: BaseException) -> list[InputResult]:
        if self._last_stopped == todo.lease:
            assert self._loaded is not None
            error.__traceback__ = input_result.cut_traceback(
                error.__traceback__, SerialExecutor._on_stop.__code__
            )
            return todo.stop_results(self._stop_reason, self._loaded.definition.timeout, error)
        if isinstance(error, KeyboardInterrupt):
            input_result.exit_interrupted(error, SerialExecutor._on_interrupt.__code__)
        return todo.failure_results(error)

    def _failure_result(self, error: BaseException | None, entry: LeasedInput) -> InputResult:
        """Return the result of an input that raised, or that was stopped and ignored the interrupt."""
        assert self._loaded is not None
        serializer = self._serializer.durable if entry.durable else self._serializer
        target = self._loaded.targets[entry.method]
        logged_as = entry.lease if entry.unattended else 0
        if self._last_stopped != entry.lease:
            assert error is not None
            if isinstance(error, KeyboardInterrupt):
                input_result.exit_interrupted(error, SerialExecutor._on_interrupt.__code__)
            return input_result.failure(serializer, error, target, logged_as=logged_as)
        if self._stop_reason != "timeout":
            return TERMINATED, None, False
        name, limit = target.name, self._loaded.definition.timeout
        trace = input_result.cut_traceback(
            error.__traceback__ if error else None, SerialExecutor._on_stop.__code__
        )
        return input_result.timed_out(serializer, name, limit, trace, logged_as=logged_as)

    # --- async functions and generators ---

    def _await(self, awaitable: Any) -> Any:
        """Run a coroutine until it is complete, on the worker's loop, which runs at no other time."""
        if not asyncio.iscoroutine(awaitable):
            if not hasattr(awaitable, "__await__"):
                return awaitable
            awaitable = _await_any(awaitable)
        loop = self._loops.get_loop()
        task = loop.create_task(awaitable)
        self._task = task
        try:
            return loop.run_until_complete(task)
        finally:
            self._task = None


def _truncate(text: str) -> str:
    """Remove the middle of a text that is too long for the logs."""
    if (omitted := len(text) - MAX_TRACEBACK) <= 0:
        return text
    half = MAX_TRACEBACK // 2
    return f"{text[:half]}\n[nbfn: {omitted} characters are omitted here]\n{text[-half:]}"


async def _await_any(awaitable: Any) -> Any:
    return await awaitable


#: The texts of `InputCancellation`, by reason.
_STOP_MESSAGES = {
    "cancel": "This input was cancelled.",
    "timeout": "This input ran longer than its timeout.",
    "exit": "The worker is shutting down.",
}


# --- threads of libraries ------------------------------------------------------------------------

#: Modules with a native library whose threads can be limited after it is loaded.
_NATIVE = frozenset({"numpy", "scipy", "sklearn", "torch"})


def limit_threads(count: int) -> None:
    """Limit numeric libraries to ``count`` threads, unless the user has set another number.

    Libraries that are loaded later read environment variables. Libraries that are loaded already, for example by a
    ``sitecustomize``, are limited by threadpoolctl.
    """
    threads.limit(count)
    if _NATIVE.isdisjoint(sys.modules):
        return
    from threadpoolctl import threadpool_limits  # imported only where a native library is loaded

    openmp = int(os.environ["OMP_NUM_THREADS"])
    blas = int(os.environ.get("OPENBLAS_NUM_THREADS") or openmp)
    threadpool_limits(limits={"openmp": openmp, "blas": blas})
    if (torch := sys.modules.get("torch")) is not None:
        set_threads: Any = torch.set_num_threads
        set_threads(openmp)
