"""Connects a worker to the hub, on a thread of its own that neither runs user code nor unpickles.

Results are kept until the hub confirms them, and are sent again after a reconnect. An input that the hub delivers
twice runs once.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nbfn.protocol import messages
from nbfn.protocol.codec import BadFrame, split
from nbfn.protocol.messages import (
    ITEM_WINDOW,
    BindFailed,
    Bound,
    Emitted,
    LeasedInput,
    Payload,
    Result,
    Results,
    Yielded,
)
from nbfn.protocol.transport import Change, Connection
from nbfn.types import InputStatus
from nbfn_kernel.worker import concurrent_executor
from nbfn_kernel.worker.outbox import Item, Outbox, Span, Text
from nbfn_kernel.worker.serial_executor import SerialExecutor

#: Seconds that results, items and text are delayed, to be sent together with others.
SEND_DELAY, FIRST_SEND_DELAY = 0.005, 0.001
#: The largest number of results, and of bytes of results, items or text, in one message.
MAX_RESULTS, MAX_BYTES = 256, 1024 * 1024
#: Seconds between polls of the log files, for output of C code and subprocesses, while an input runs.
POLL_INTERVAL = 0.1
#: Seconds between polls of the log files while no input runs.
LOG_POLL_INTERVAL = 30.0
#: Seconds that a worker has to end after it lost the hub or was refused; the same, with exit hooks.
STOP_TIMEOUT, EXIT_HOOKS_TIMEOUT = 1.0, 30.0
#: Seconds to wait for the hub's last confirmations when the worker ends.
CLOSE_TIMEOUT = 2.0

logger = logging.getLogger("nbfn.worker")


class HubConnection:
    """Exchanges messages with the hub for one worker.

    Args:
        link: The connection to the hub; used only by the thread that calls `run`.
        executor: Runs the inputs, on the main thread.
        outbox: The queue of messages from other threads.
        hub_grace: Seconds without a hub after which the worker ends.
        versions: The versions of nbfn and cloudpickle, sent to the hub.
        open_console: Opens a console for the request with this number; must not block.
    """

    def __init__(
        self,
        link: Connection,
        executor: SerialExecutor,
        outbox: Outbox,
        hub_grace: float,
        versions: Mapping[str, str],
        open_console: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._link = link
        self._executor = executor
        self._outbox = outbox
        self._hub_grace = hub_grace
        self._versions = versions
        self._texts_sent = 0  # the number of the last output sent
        self._function, self._version, self._timeout = "", 0, math.inf
        self._gpus: tuple[str, ...] = ()
        self._leases: dict[
            int, tuple[int, str, int, int]
        ] = {}  # inputs whose results are not confirmed
        self._unfinished = 0  # inputs without a result
        self._partial_batch: list[LeasedInput] = []  # the part of a batch that has arrived
        self._unconfirmed: OrderedDict[int, tuple[Result, ...]] = OrderedDict()  # by message number
        self._unconfirmed_items: dict[
            int, tuple[int, deque[Payload]]
        ] = {}  # items that the consumer may not have, by lease
        self._bound: Bound | BindFailed | None = None
        self._number = 0
        self._send_due = math.inf  # when to send the outbox
        self._last_sent = 0.0  # when the outbox was sent
        self._log_poll_due = time.monotonic() + LOG_POLL_INTERVAL
        self._last_lease = 0
        self._timed_out = 0  # the lease that was interrupted at its timeout
        self._deadline = time.monotonic() + hub_grace  # to be connected to a hub
        self._ending = False
        self._stop_timeout = STOP_TIMEOUT
        self._closing = False
        self._fault = os.environ.get("NBFN_FAULT", "")  # set by tests
        self._closed = False
        self._handlers = {
            messages.Run: self._run,
            messages.Confirm: self._confirm,
            messages.Bind: self._bind,
            messages.CancelInput: self._cancel,
            messages.Recall: self._recall,
            messages.Synced: lambda synced: outbox.acknowledge(synced.number),
            messages.ItemsTaken: self._items_taken,
            messages.Fed: self._fed,
            messages.Drain: self._drain,
            messages.OpenConsole: lambda asked: open_console(asked.request),
            messages.Welcome: self._welcome,
            messages.Refused: self._refused,
        }

    def finish(self) -> None:
        """Send all remaining messages and disconnect; called when the main thread has stopped."""
        self._closing = True
        self._outbox.send_now()

    def input_of(self, lease: int) -> tuple[str, int] | None:
        """Return the call id and index of an input of this worker; thread-safe."""
        known = self._leases.get(lease)
        return known[1:3] if known is not None else None

    def run(self) -> None:
        """Exchange messages until the worker ends; the body of the connection's thread."""
        try:
            while not self._closed:
                self._poll_once()
        except BaseException:
            logger.exception("The thread of the hub connection failed. The worker ends.")
            os._exit(70)
        self._link.close(linger=CLOSE_TIMEOUT)

    def _receive(self, arrived: messages.Message | Change | BadFrame) -> None:
        if isinstance(arrived, Change):
            self._connection_changed(arrived)
        elif isinstance(arrived, BadFrame):
            logger.warning("Ignored a malformed message from the hub: %s", arrived.reason)
        else:
            self._handlers[type(arrived)](arrived)  # type: ignore[operator]

    def _poll_once(self) -> None:
        for arrived in self._link.wait(self._wait_time(time.monotonic())):
            self._receive(arrived)
        now = time.monotonic()
        if self._outbox.urgent or now >= self._send_due:
            self._send_outbox(now)
        elif self._outbox.waiting and self._send_due == math.inf:
            self._send_due = max(self._last_sent + SEND_DELAY, now + FIRST_SEND_DELAY)
        if self._unfinished:
            self._check_timeout(now)
        elif self._loading and now >= self._last_sent + POLL_INTERVAL:
            self._collect_files(0)
            self._last_sent = now
        if now >= self._log_poll_due:
            self._collect_files(0)  # output that was written between inputs
            self._log_poll_due = now + LOG_POLL_INTERVAL
        if self._closing:
            self._end_connection()
        elif now >= self._deadline:
            self._end_without_hub(now)

    def _wait_time(self, now: float) -> float:
        until = min(self._send_due, self._deadline, self._log_poll_due)
        if self._unfinished or self._loading:
            until = min(until, now + POLL_INTERVAL)
            if runs := self._executor.current:
                over = self._executor.started + self._timeout
                until = min(until, over if runs != self._timed_out else math.inf)
        return max(0.0, math.ceil((until - now) * 1000) / 1000)  # in whole milliseconds, rounded up

    @property
    def _loading(self) -> bool:
        return bool(self._function) and self._bound is None

    # --- the connection ---

    def _connection_changed(self, change: Change) -> None:
        if change is Change.DOWN:
            self._enqueue(
                [], more_follow=False
            )  # a batch that has arrived in part will not be completed
            self._deadline = min(self._deadline, time.monotonic() + self._hub_grace)
            return
        self._link.send(
            messages.WorkerHello(
                protocol=messages.PROTOCOL,
                peer=os.environ["NBFN_WORKER"],
                nbfn=self._versions.get("nbfn", "0"),
                cloudpickle=self._versions.get("cloudpickle", "0"),
                python=f"{sys.version_info.major}.{sys.version_info.minor}",
                pid=os.getpid(),
                host=socket.gethostname(),
                executable=sys.executable,
                function=self._function,
                version=self._version,
                running=tuple(self._leases.values()),
                gpus=self._gpus,
                output=self._texts_sent,
            )
        )
        if self._bound is not None:
            self._link.send(self._bound)
        for lease, (start, payloads) in self._unconfirmed_items.items():
            items = [Item(lease, start + n, payload) for n, payload in enumerate(payloads)]
            self._send_yielded(lease, items)
        for number, results in self._unconfirmed.items():
            self._link.send(Results(number, results, time.monotonic()))

    def _welcome(self, _welcome: messages.Welcome) -> None:
        self._deadline = math.inf

    def _refused(self, refused: messages.Refused) -> None:
        logger.warning("The hub refused this worker: %s", refused.message)
        self._unconfirmed.clear()
        self._terminate()

    def _end_without_hub(self, now: float) -> None:
        """Stop the worker, which has had no hub for too long; exit at once if it was stopped before."""
        if self._ending:
            os._exit(0)
        self._deadline = now + self._stop_timeout
        self._unconfirmed.clear()
        self._terminate()

    def _terminate(self) -> None:
        self._ending = True
        self._deadline = min(self._deadline, time.monotonic() + self._stop_timeout)
        os.kill(os.getpid(), signal.SIGTERM)

    # --- messages from the hub ---

    def _bind(self, bind: messages.Bind) -> None:
        self._function, self._version = bind.function, bind.version
        if bind.definition.exit_hooks:
            self._stop_timeout = EXIT_HOOKS_TIMEOUT
        if bind.definition.resources.gpus:
            self._gpus = tuple(bind.variables.get("CUDA_VISIBLE_DEVICES", "").split(","))
        # The concurrent executor measures timeouts itself.
        own_clocks = concurrent_executor.is_needed(bind.definition)
        self._timeout = math.inf if own_clocks else bind.definition.timeout or math.inf
        self._executor.wake(bind)

    def _run(self, run: messages.Run) -> None:
        leases, fresh = self._leases, []
        for entry in run.inputs:
            if entry.lease not in leases:
                leases[entry.lease] = (entry.lease, entry.call, entry.index, entry.attempt)
                fresh.append(entry)
        if not self._unfinished:
            self._collect_files(0)  # output that was written before these inputs start
        self._unfinished += len(fresh)
        if (
            len(fresh) > 1
        ):  # send their results together; the executor sends a single one without delay
            self._send_due = min(self._send_due, time.monotonic() + SEND_DELAY)
            self._outbox.send_scheduled = True
        if run.levels:
            self._executor.levels.store(run.levels)
        self._enqueue(fresh, more_follow=run.goes_on)
        if run.confirm:
            self._drop_confirmed(run.confirm)

    def _enqueue(self, fresh: list[LeasedInput], *, more_follow: bool) -> None:
        """Pass inputs to the main thread, a batch only when it is complete.

        Args:
            fresh: The new inputs.
            more_follow: Whether the rest of the last batch is in a later message.
        """
        fresh = self._partial_batch + fresh
        self._partial_batch = []
        if more_follow and fresh:
            whole = next(n for n, entry in enumerate(fresh) if entry.batch == fresh[-1].batch)
            fresh, self._partial_batch = fresh[:whole], fresh[whole:]
        if fresh:
            self._executor.todo.extend(fresh)
            self._executor.wake()

    def _confirm(self, confirm: messages.Confirm) -> None:
        self._drop_confirmed(confirm.upto)

    def _drop_confirmed(self, upto: int) -> None:
        unconfirmed, leases = self._unconfirmed, self._leases
        weight = 0
        while unconfirmed and next(iter(unconfirmed)) <= upto:
            results = unconfirmed.popitem(last=False)[1]
            weight += _total_weight(results)
            for result in results:
                leases.pop(result.lease, None)
                self._unconfirmed_items.pop(result.lease, None)
        if weight:
            self._executor.confirm_results(weight)

    def _cancel(self, cancel: messages.CancelInput) -> None:
        lease = cancel.lease
        for entry in (*self._partial_batch, *self._executor.todo):
            if entry.lease == lease and self._remove_queued(entry):
                self._outbox.entries.append(Result(lease, int(InputStatus.TERMINATED), None, 0.0))
                self._outbox.urgent = True
                return
        if (
            lease in self._leases
        ):  # running, about to run, or finished; in the last case this has no effect
            self._executor.interrupt(lease, "cancel")

    def _remove_queued(self, entry: LeasedInput) -> bool:
        """Remove an input from the queue; return False if the main thread has taken it."""
        target = self._partial_batch if entry in self._partial_batch else self._executor.todo
        try:
            target.remove(entry)
        except ValueError:
            return False
        return True

    def _recall(self, _: messages.Recall) -> None:
        self._link.send(messages.Returned(self._return_queued()))

    def _return_queued(self) -> tuple[int, ...]:
        returned: list[int] = []
        todo = self._executor.todo
        while todo:
            try:
                entry = todo.pop()
            except IndexError:
                break
            returned.append(entry.lease)
            del self._leases[entry.lease]
        self._unfinished -= len(returned)
        return tuple(reversed(returned))

    def _items_taken(self, taken: messages.ItemsTaken) -> None:
        if taken.lease in self._leases:
            self._executor.grant(taken.lease, taken.upto)
            if taken.lease in self._unconfirmed_items:
                start, payloads = self._unconfirmed_items[taken.lease]
                while payloads and start < taken.upto - ITEM_WINDOW:
                    payloads.popleft()
                    start += 1
                self._unconfirmed_items[taken.lease] = (start, payloads)

    def _fed(self, fed: messages.Fed) -> None:
        self._executor.feed(fed.lease, fed.data)

    def _drain(self, _drain: messages.Drain) -> None:
        self._executor.drain()

    def _check_timeout(self, now: float) -> None:
        lease, started = self._executor.current, self._executor.started
        if self._executor.concurrent is not None:
            lease = self._executor.concurrent.latest
        elif lease != self._executor.current:
            return
        if not lease:
            return
        if now >= started + self._timeout and lease != self._timed_out:
            self._timed_out = lease
            self._executor.interrupt(lease, "timeout")
        if now >= self._last_sent + POLL_INTERVAL:
            self._collect_files(lease)
            self._last_sent = now

    # --- messages to the hub ---

    def _collect_files(self, lease: int) -> None:
        if self._outbox.collect_files(lease):
            self._send_due = min(self._send_due, time.monotonic() + FIRST_SEND_DELAY)

    def _send_outbox(self, now: float) -> None:
        """Send all entries of the outbox, the output of an input before its result."""
        outbox = self._outbox
        outbox.urgent, self._send_due, self._last_sent = False, math.inf, now
        results: list[Result] = []
        gathered: dict[int, list[Item]] = {}
        outbox.flush()
        self._send_entries(results, gathered)
        if results and outbox.collect_files(results[0].lease):
            self._send_entries(results, gathered)
        for lease, items in gathered.items():
            self._send_items(lease, items)
        if results:
            self._send_results(results)
        outbox.truncate_files()
        outbox.send_scheduled = bool(self._executor.todo or outbox.waiting)
        if outbox.send_scheduled or outbox.waiting:
            outbox.send_scheduled, self._send_due = True, now + SEND_DELAY

    def _send_entries(self, results: list[Result], gathered: dict[int, list[Item]]) -> None:
        """Send the entries of the outbox, adjacent texts joined, except results and items, which are collected.

        Args:
            results: Results are added to it.
            gathered: Items are added to it, by lease.
        """
        outbox = self._outbox
        texts: list[str] = []
        target: tuple[int, str] = (0, "")
        for _ in range(len(outbox.entries)):
            entry = outbox.entries.popleft()
            if type(entry) is Result:
                results.append(entry)
            elif type(entry) is Text or type(entry) is Span:
                if (entry.lease, entry.channel) != target:
                    self._send_text(target, texts)
                    target, texts = (entry.lease, entry.channel), []
                texts.append(entry.text if type(entry) is Text else outbox.read(entry))  # type: ignore[arg-type]
                self._texts_sent = entry.number
            elif type(entry) is Item:
                gathered.setdefault(entry.lease, []).append(entry)
            else:
                self._send_text(target, texts)
                texts = []
                if isinstance(entry, (Bound, BindFailed)):
                    self._bound = entry
                elif isinstance(entry, Emitted):
                    self._texts_sent = max(self._texts_sent, entry.number)
                self._link.send(entry)  # type: ignore[arg-type]
        if texts:
            self._send_text(target, texts)

    def _send_text(self, target: tuple[int, str], texts: list[str]) -> None:
        data = "".join(texts).encode("utf-8", "backslashreplace")
        for start in range(0, len(data), MAX_BYTES):
            part = data[start : start + MAX_BYTES]
            self._link.send(Emitted(*target, part, self._texts_sent))

    def _send_items(self, lease: int, items: list[Item]) -> None:
        _, payloads = self._unconfirmed_items.setdefault(lease, (items[0].number, deque()))
        payloads.extend(item.payload for item in items)
        self._send_yielded(lease, items)

    def _send_yielded(self, lease: int, items: list[Item]) -> None:
        for part in split(items, _total_weight, most_bytes=MAX_BYTES):
            self._link.send(Yielded(lease, part[0].number, tuple(item.payload for item in part)))

    def _send_results(self, results: list[Result]) -> None:
        self._unfinished -= len(results)
        if self._fault:
            _exit_if_asked(self._fault, "die_before_ack")
        for part in split(results, _total_weight, most=MAX_RESULTS, most_bytes=MAX_BYTES):
            self._number += 1
            self._unconfirmed[self._number] = part
            self._link.send(Results(self._number, part, time.monotonic()))

    def _end_connection(self) -> None:
        if not self._ending:
            self._ending = True
            self._outbox.collect_files(0)
            if returned := self._return_queued():
                self._link.send(messages.Returned(returned))
            self._send_outbox(time.monotonic())
            self._link.send(messages.Goodbye(self._executor.ended_by))
            self._deadline = time.monotonic() + CLOSE_TIMEOUT
        if not self._unconfirmed or time.monotonic() >= self._deadline:
            self._closed = True


def _total_weight(entries: Sequence[Result | Item]) -> int:
    payloads = [payload for entry in entries if (payload := entry.payload) is not None]
    return messages.total_weight(payloads)


def _exit_if_asked(fault: str, name: str) -> None:
    """Exit if a test set ``NBFN_FAULT=name``; with ``name:path`` only once, which the file records."""
    wanted, _, mark = fault.partition(":")
    if wanted == name and not (mark and Path(mark).exists()):
        if mark:
            Path(mark).touch()
        os._exit(86)
