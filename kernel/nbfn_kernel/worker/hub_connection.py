"""The worker's connection to the hub, on a thread of its own.

It never runs user code and never unpickles. Results are kept until the hub confirms them and are sent again after a
reconnect; an input that is delivered twice runs once.
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

#: Seconds that results, items and text wait for company.
GATHER, GATHER_FIRST = 0.005, 0.001
#: Most results, and bytes of results, items or text, in one message.
MAX_RESULTS, MAX_BYTES = 256, 1024 * 1024
#: Seconds between looks at what C code and subprocesses wrote, while an input runs.
LOOK = 0.1
#: Seconds between looks at how long these files of a worker without inputs have become.
LOOK_AT_LOGS = 30.0
#: Seconds a worker has to end by itself when nobody wants it any more, and one with exit hooks.
END_WITHIN, HOOKS_WITHIN = 1.0, 30.0
#: Seconds the hub has for the last confirmations.
LAST_WORDS = 2.0

logger = logging.getLogger("nbfn.worker")


class HubConnection:
    """Exchanges messages with the hub for one worker.

    Args:
        link: To the hub; belongs to the thread that calls `run`.
        executor: Runs the inputs, on the main thread.
        outbox: Messages of user code's threads.
        hub_grace: Seconds without a hub after which the worker ends.
        versions: Of nbfn and cloudpickle, for the hello.
        open_console: Takes the number of a request for one, and does not block.
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
        self._texts_sent = 0  # the number of the last piece of output
        self._function, self._version, self._timeout = "", 0, math.inf
        self._gpus: tuple[str, ...] = ()
        self._known: dict[int, tuple[int, str, int, int]] = {}  # leases until they are confirmed
        self._unfinished = 0  # of the known ones
        self._partial: list[LeasedInput] = []  # the last batch, whose rest is on its way
        self._kept: OrderedDict[int, tuple[Result, ...]] = OrderedDict()  # unconfirmed, by number
        self._items: dict[int, tuple[int, deque[Payload]]] = {}  # not known to be taken, by lease
        self._bound: Bound | BindFailed | None = None
        self._number = 0
        self._due = math.inf  # when the outbox is to be sent
        self._sent = 0.0  # when it was
        self._logs_due = time.monotonic() + LOOK_AT_LOGS
        self._last_lease = 0
        self._overdue = 0  # the lease that was told of its timeout
        self._deadline = time.monotonic() + hub_grace  # to have a hub
        self._asked_to_end = False
        self._end_within = END_WITHIN
        self._closing = False
        self._closed = False
        self._handlers = {
            messages.Run: self._run,
            messages.Confirm: self._confirm,
            messages.Bind: self._bind,
            messages.CancelInput: self._cancel,
            messages.Recall: self._recall,
            messages.Synced: lambda synced: outbox.arrived(synced.number),
            messages.ItemsTaken: self._items_taken,
            messages.Fed: self._fed,
            messages.Drain: self._drain,
            messages.OpenConsole: lambda asked: open_console(asked.request),
            messages.Welcome: self._welcome,
            messages.Refused: self._refused,
        }

    def finish(self) -> None:
        """Send what is left, then say goodbye; called when the main thread has stopped."""
        self._closing = True
        self._outbox.hurry()

    def input_of(self, lease: int) -> tuple[str, int] | None:
        """Return the call id and index of an input that this worker has. Safe from any thread."""
        known = self._known.get(lease)
        return known[1:3] if known is not None else None

    def run(self) -> None:
        """Run until the worker ends; the body of this thread."""
        try:
            while not self._closed:
                self._turn()
        except BaseException:
            logger.exception("The connection's thread failed; the worker ends.")
            os._exit(70)
        self._link.close(linger=LAST_WORDS)

    def _turn(self) -> None:
        for arrived in self._link.wait(self._wait_for(time.monotonic())):
            if isinstance(arrived, Change):
                self._changed(arrived)
            elif isinstance(arrived, BadFrame):
                logger.warning("From the hub: %s", arrived.reason)
            else:
                self._handlers[type(arrived)](arrived)  # type: ignore[operator]
        now = time.monotonic()
        if self._outbox.urgent or now >= self._due:
            self._send_outbox(now)
        elif self._outbox.waiting and self._due == math.inf:
            self._due = max(self._sent + GATHER, now + GATHER_FIRST)
        if self._unfinished:
            self._check_timeout(now)
        elif self._loading and now >= self._sent + LOOK:
            self._collect_files(0)
            self._sent = now
        if now >= self._logs_due:
            self._collect_files(0)  # what was written between inputs
            self._logs_due = now + LOOK_AT_LOGS
        if self._closing:
            self._say_goodbye()
        elif now >= self._deadline:
            self._give_up(now)

    def _wait_for(self, now: float) -> float:
        until = min(self._due, self._deadline, self._logs_due)
        if self._unfinished or self._loading:
            until = min(until, now + LOOK)
            if runs := self._executor.current:
                over = self._executor.started + self._timeout
                until = min(until, over if runs != self._overdue else math.inf)
        return max(0.0, math.ceil((until - now) * 1000) / 1000)  # whole milliseconds, never too few

    @property
    def _loading(self) -> bool:
        return bool(self._function) and self._bound is None

    # --- the connection ---

    def _changed(self, change: Change) -> None:
        if change is Change.DOWN:
            self._queue([], goes_on=False)  # the rest of a batch will not come here
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
                running=tuple(self._known.values()),
                gpus=self._gpus,
                output=self._texts_sent,
            )
        )
        if self._bound is not None:
            self._link.send(self._bound)
        for lease, (start, payloads) in self._items.items():
            items = [Item(lease, start + n, payload) for n, payload in enumerate(payloads)]
            self._send_yielded(lease, items)
        for number, results in self._kept.items():
            self._link.send(Results(number, results))

    def _welcome(self, _welcome: messages.Welcome) -> None:
        self._deadline = math.inf

    def _refused(self, refused: messages.Refused) -> None:
        logger.warning("The hub refused this worker: %s", refused.message)
        self._kept.clear()
        self._stop_everything()

    def _give_up(self, now: float) -> None:
        """No hub for too long: stop what runs; if that takes too long as well, without asking."""
        if self._asked_to_end:
            os._exit(0)
        self._deadline = now + self._end_within
        self._kept.clear()
        self._stop_everything()

    def _stop_everything(self) -> None:
        self._asked_to_end = True
        self._deadline = min(self._deadline, time.monotonic() + self._end_within)
        os.kill(os.getpid(), signal.SIGTERM)

    # --- messages from the hub ---

    def _bind(self, bind: messages.Bind) -> None:
        self._function, self._version = bind.function, bind.version
        if bind.definition.exit_hooks:
            self._end_within = HOOKS_WITHIN
        if bind.definition.resources.gpus:
            self._gpus = tuple(bind.variables.get("CUDA_VISIBLE_DEVICES", "").split(","))
        # What runs at once has clocks of its own.
        own_clocks = concurrent_executor.needed(bind.definition)
        self._timeout = math.inf if own_clocks else bind.definition.timeout or math.inf
        self._executor.notice(bind)

    def _run(self, run: messages.Run) -> None:
        known, fresh = self._known, []
        for entry in run.inputs:
            if entry.lease not in known:
                known[entry.lease] = (entry.lease, entry.call, entry.index, entry.attempt)
                fresh.append(entry)
        if not self._unfinished:
            self._collect_files(0)  # what was written before these begin
        self._unfinished += len(fresh)
        if len(fresh) > 1:  # their results are gathered; a single one hurries by itself
            self._due = min(self._due, time.monotonic() + GATHER)
            self._outbox.watched = True
        if run.levels:
            self._executor.levels.note(run.levels)
        self._queue(fresh, goes_on=run.goes_on)
        if run.confirm:
            self._forget(run.confirm)

    def _queue(self, fresh: list[LeasedInput], *, goes_on: bool) -> None:
        """Hand inputs to the main thread, a batch only when all of it is here."""
        fresh = self._partial + fresh
        self._partial = []
        if goes_on and fresh:
            whole = next(n for n, entry in enumerate(fresh) if entry.batch == fresh[-1].batch)
            fresh, self._partial = fresh[:whole], fresh[whole:]
        if fresh:
            self._executor.todo.extend(fresh)
            self._executor.notice()

    def _confirm(self, confirm: messages.Confirm) -> None:
        self._forget(confirm.upto)

    def _forget(self, upto: int) -> None:
        kept, known = self._kept, self._known
        weight = 0
        while kept and next(iter(kept)) <= upto:
            results = kept.popitem(last=False)[1]
            weight += _weigh(results)
            for result in results:
                known.pop(result.lease, None)
                self._items.pop(result.lease, None)
        if weight:
            self._executor.confirmed(weight)

    def _cancel(self, cancel: messages.CancelInput) -> None:
        lease = cancel.lease
        for entry in (*self._partial, *self._executor.todo):
            if entry.lease == lease and self._take_back(entry):
                self._outbox.entries.append(Result(lease, int(InputStatus.TERMINATED), None, 0.0))
                self._outbox.urgent = True
                return
        if lease in self._known:  # running, about to, or already answered: then nothing is armed
            self._executor.interrupt(lease, "cancel")

    def _take_back(self, entry: LeasedInput) -> bool:
        """Take an input from the queue; False when the main thread was faster."""
        where = self._partial if entry in self._partial else self._executor.todo
        try:
            where.remove(entry)
        except ValueError:
            return False
        return True

    def _recall(self, _: messages.Recall) -> None:
        self._link.send(messages.Returned(self._give_back()))

    def _give_back(self) -> tuple[int, ...]:
        returned: list[int] = []
        todo = self._executor.todo
        while todo:
            try:
                entry = todo.pop()
            except IndexError:
                break
            returned.append(entry.lease)
            del self._known[entry.lease]
        self._unfinished -= len(returned)
        return tuple(reversed(returned))

    def _items_taken(self, taken: messages.ItemsTaken) -> None:
        if taken.lease in self._known:
            self._executor.grant(taken.lease, taken.upto)
            if taken.lease in self._items:
                start, payloads = self._items[taken.lease]
                while payloads and start < taken.upto - ITEM_WINDOW:
                    payloads.popleft()
                    start += 1
                self._items[taken.lease] = (start, payloads)

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
        if now >= started + self._timeout and lease != self._overdue:
            self._overdue = lease
            self._executor.interrupt(lease, "timeout")
        if now >= self._sent + LOOK:
            self._collect_files(lease)
            self._sent = now

    # --- messages to the hub ---

    def _collect_files(self, lease: int) -> None:
        if self._outbox.collect_files(lease):
            self._due = min(self._due, time.monotonic() + GATHER_FIRST)

    def _send_outbox(self, now: float) -> None:
        """Send all there is; an input's output before its result."""
        outbox = self._outbox
        outbox.urgent, self._due, self._sent = False, math.inf, now
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
        outbox.cut_files()
        outbox.watched = bool(self._executor.todo or outbox.waiting)
        if outbox.watched or outbox.waiting:
            outbox.watched, self._due = True, now + GATHER

    def _send_entries(self, results: list[Result], gathered: dict[int, list[Item]]) -> None:
        """Send what waits, neighbouring texts joined; collect results and items."""
        outbox = self._outbox
        texts: list[str] = []
        where: tuple[int, str] = (0, "")
        for _ in range(len(outbox.entries)):
            entry = outbox.entries.popleft()
            if type(entry) is Result:
                results.append(entry)
            elif type(entry) is Text or type(entry) is Span:
                if (entry.lease, entry.channel) != where:
                    self._send_text(where, texts)
                    where, texts = (entry.lease, entry.channel), []
                texts.append(entry.text if type(entry) is Text else outbox.read(entry))  # type: ignore[arg-type]
                self._texts_sent = entry.number
            elif type(entry) is Item:
                gathered.setdefault(entry.lease, []).append(entry)
            else:
                self._send_text(where, texts)
                texts = []
                if isinstance(entry, (Bound, BindFailed)):
                    self._bound = entry
                elif isinstance(entry, Emitted):
                    self._texts_sent = max(self._texts_sent, entry.number)
                self._link.send(entry)  # type: ignore[arg-type]
        self._send_text(where, texts)

    def _send_text(self, where: tuple[int, str], texts: list[str]) -> None:
        data = "".join(texts).encode("utf-8", "backslashreplace")
        for start in range(0, len(data), MAX_BYTES):
            part = data[start : start + MAX_BYTES]
            self._link.send(Emitted(*where, part, self._texts_sent))

    def _send_items(self, lease: int, items: list[Item]) -> None:
        _, kept = self._items.setdefault(lease, (items[0].number, deque()))
        kept.extend(item.payload for item in items)
        self._send_yielded(lease, items)

    def _send_yielded(self, lease: int, items: list[Item]) -> None:
        for part in split(items, _weigh, most_bytes=MAX_BYTES):
            self._link.send(Yielded(lease, part[0].number, tuple(item.payload for item in part)))

    def _send_results(self, results: list[Result]) -> None:
        self._unfinished -= len(results)
        _fault("die_before_ack")
        for part in split(results, _weigh, most=MAX_RESULTS, most_bytes=MAX_BYTES):
            self._number += 1
            self._kept[self._number] = part
            self._link.send(Results(self._number, part))

    def _say_goodbye(self) -> None:
        if not self._asked_to_end:
            self._asked_to_end = True
            self._outbox.collect_files(0)
            if returned := self._give_back():
                self._link.send(messages.Returned(returned))
            self._send_outbox(time.monotonic())
            self._link.send(messages.Goodbye(self._executor.ended_by))
            self._deadline = time.monotonic() + LAST_WORDS
        if not self._kept or time.monotonic() >= self._deadline:
            self._closed = True


def _weigh(entries: Sequence[Result | Item]) -> int:
    payloads = [payload for entry in entries if (payload := entry.payload) is not None]
    return messages.total_weight(payloads)


def _fault(name: str) -> None:
    """Die here if a test asks for it; ``name:path`` does so once, and leaves that file as a mark."""
    wanted, _, mark = os.environ.get("NBFN_FAULT", "").partition(":")
    if wanted == name and not (mark and Path(mark).exists()):
        if mark:
            Path(mark).touch()
        os._exit(86)
