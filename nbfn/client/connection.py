"""`HubConnection`: the connection of a process to its hub. One thread owns the socket; others queue messages for it.

Active calls and unanswered requests are sent again after a reconnect; ids make the hub ignore duplicates. If no hub
answers within ``connect_timeout``, all of them fail with ConnectionError.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import platform
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from nbfn import exception
from nbfn._version import __version__
from nbfn.client import call_observer, discovery
from nbfn.client.calls.active_call import ActiveCall, guarded, settle
from nbfn.client.discovery import HubFinder
from nbfn.client.process_info import own_name, this_environment, this_origin
from nbfn.config import Places, Settings
from nbfn.protocol import codec, descriptors, messages
from nbfn.protocol.codec import BadFrame, FrameTooLargeError
from nbfn.protocol.messages import FunctionInfo, Message, new_id
from nbfn.protocol.transport import Change, Link
from nbfn.runtime.sync import answering, wait
from nbfn.serialization import segment_directory
from nbfn.serialization.payload import Serializer

logger = logging.getLogger("nbfn.client")

#: Seconds that the last messages have to be sent when the client closes.
LINGER = 0.5
#: Abandoned calls that are remembered, so that the shared memory of late results is freed.
MOST_ABANDONED = 1000
#: Times in a row that a hub may be lost before it has answered anything; then all that waits fails.
MOST_LOSSES = 10

_NO_INPUTS = "The process that made the map no longer has inputs that can run again."
_ABOUT_CALLS = (
    messages.Outputs,
    messages.Items,
    messages.FeedWanted,
    messages.Window,
    messages.Accepted,
    messages.Emission,
    messages.Progress,
)


class HubConnection:
    """A connection to the hub.

    Args:
        hub: The hub's endpoint; when not given, ``NBFN_HUB`` or the home's hub.
        start: Whether to start the embedded hub when none runs.
        registers: Whether this process may register Functions: the hub then prepares a fork server for its Python, and
            an embedded hub does not end while it is connected.

    Attributes:
        closed: Whether it can no longer be used.
    """

    def __init__(
        self, hub: str | None = None, *, start: bool = True, registers: bool = True
    ) -> None:
        descriptors.check_free(descriptors.CONNECTION)
        self.peer = new_id("cl")
        self.settings = Settings.load()
        self.places = Places.of().create()
        self.serializer = Serializer(self.places, self.peer)
        self.epoch = 0
        self._registers = registers
        self._finder = HubFinder(self.places, hub, may_start=start)
        self._state = "down"  # down, greeting (ClientHello sent), ready
        self._waiting_since: float | None = None  # when this began to wait for a hub
        self._last_look = 0.0
        self._losses = 0  # in a row, of hubs that had not answered anything
        self._refused = False  # the hub reads no further messages from this connection
        self._numbers = itertools.count(1)
        #: Maps that have ended and still have inputs which can run again.
        self._ended_maps: weakref.WeakValueDictionary[str, ActiveCall] = (
            weakref.WeakValueDictionary()
        )
        self._calls: dict[str, ActiveCall] = {}
        # Calls that were forgotten before all outcomes had arrived.
        self._abandoned: deque[str] = deque(maxlen=MOST_ABANDONED)
        self._tracking = threading.Lock()  # guards adding a call and removing it
        self._requests: dict[int, tuple[Message, Future[Message]]] = {}
        self._registrations = RegistrationCache(self._request_again)
        self._awaiting_hub: list[Future[None]] = []
        self._outbox: deque[Message | Callable[[], Iterable[Message]]] = deque()
        self._tasks: deque[Callable[[], object]] = deque()
        self._watchers: list[Callable[[messages.OverviewChanges], None]] = []
        self._followed: dict[str, Callable[[messages.AppOutput], object]] = {}
        self._lost: list[Callable[[], None]] = []
        self.closed = False
        self._closing_lock = threading.Lock()
        self._endpoint = self._finder.endpoint
        self._link = Link(self._endpoint, codec.TO_CLIENT)
        self._ident = 0  # of the client's thread
        self._thread = threading.Thread(target=self._main, name="nbfn-client", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether the hub is connected and has answered."""
        return self._state == "ready"

    async def ready(self) -> None:
        """Wait until the hub has accepted the connection."""
        __tracebackhide__ = True
        if self._state == "ready":
            return
        welcome: Future[None] = Future()
        self._awaiting_hub.append(welcome)
        self._wake()
        await wait(welcome)

    async def request(self, make: Callable[[int], Message]) -> Any:
        """Send a request and return the answer of the hub.

        Args:
            make: Makes the message from the number of the request.

        Raises:
            Error: The error that the hub answers.
            ConnectionError: If no hub answers.
            InvalidError: If a value has the wrong type.
            ExecutionError: If it is called on the client's thread.
        """
        __tracebackhide__ = True
        if threading.get_ident() == self._ident:
            raise exception.ExecutionError(
                "An observer must not send a request and wait for it: it runs on the thread that receives the answer."
            )
        number = next(self._numbers)
        answer: Future[Message] = Future()
        message = make(number)
        if wrong := codec.find_problem(message):
            raise exception.InvalidError(wrong)
        self._requests[number] = (message, answer)
        self.send(message)
        try:
            return await wait(answer)
        finally:
            self._requests.pop(number, None)

    def open(self, call: ActiveCall) -> None:
        """Begin a call: send it, now and after each reconnect, and pass its messages on to it."""
        self._calls[call.id] = call
        self._outbox.append(functools.partial(_opening, call, resent=False))
        if threading.get_ident() != self._ident and not self.closed:
            self._link.wake()

    def track(self, call: ActiveCall) -> ActiveCall:
        """Pass messages of a call on to it, without sending it; return the one that has this id already, if any."""
        with self._tracking:
            return self._calls.setdefault(call.id, call)

    def tracked(self, call_id: str) -> ActiveCall | None:
        """Return the active call of an id, if there is one."""
        return self._calls.get(call_id)

    def remember(self, function_id: str, register: Message) -> None:
        """Keep the message that registered a Function, for a hub that has forgotten it."""
        self._registrations.keep(function_id, register)

    def forget(self, call: ActiveCall, *, settled: bool) -> bool:
        """Remove a call and, unless it is settled, release it at the hub; return False if it was removed before."""
        with self._tracking:
            # Otherwise it was removed before, and another object may watch the same call.
            if self._calls.get(call.id) is not call:
                return False
            if call.total is None or call.done < call.total:
                self._abandoned.append(call.id)  # first: messages from now on are too late
            del self._calls[call.id]
        if not settled:
            self.send(messages.Release(call.id))
        return True

    def keep_ended(self, call: ActiveCall) -> None:
        """Note that an ended map has inputs which can run again, for as long as the map exists."""
        self._ended_maps[call.id] = call

    def send(self, message: Message | Callable[[], Iterable[Message]]) -> None:
        """Queue a message, or a function that returns messages on the client's thread. Any thread; does not block."""
        self._outbox.append(message)
        if threading.get_ident() != self._ident:
            self._wake()

    def run_soon(self, task: Callable[[], object]) -> None:
        """Run a task on the client's thread; at once if this is that thread."""
        if threading.get_ident() == self._ident:
            task()
        else:
            self._tasks.append(task)
            self._wake()

    def _wake(self) -> None:
        # Without a lock: what another thread appended before it read `_link` is looked at after `_link` is replaced.
        if not self.closed:
            self._link.wake()

    def watch(self, callback: Callable[[messages.OverviewChanges], None]) -> None:
        """Call ``callback(changes)`` on the client's thread, with all rows first and with those that change later."""
        self._watchers.append(callback)
        self.send(messages.WatchOverview())

    async def follow_app(self, app_id: str, take: Callable[[messages.AppOutput], object]) -> None:
        """Call ``take`` on the client's thread with the output of an App's workers; see `messages.FollowApp`."""
        __tracebackhide__ = True
        self._followed[app_id] = take
        await self.request(lambda number: messages.FollowApp(number, app_id))

    def unfollow_app(self, app_id: str) -> None:
        """Ignore further output of an App's workers."""
        self._followed.pop(app_id, None)

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` on the client's thread whenever the connection is lost."""
        self._lost.append(callback)

    def close(self) -> None:
        """End the connection; active calls fail."""
        with self._closing_lock:
            if self.closed:
                return
            self.closed = True
            self._link.wake()
        if threading.get_ident() != self._ident:
            self._thread.join(5.0)

    # --- the thread ------------------------------------------------------------------------------

    def _main(self) -> None:
        self._ident = threading.get_ident()
        answering.add(self._ident)
        try:
            while not self.closed:
                for arrived in self._link.wait(self._wait_timeout()):
                    self._receive_guarded(arrived)
                self._find_hub(time.monotonic())
                self._flush()
                self._run_tasks()
            self._send_goodbye()
        except Exception:
            logger.exception("The nbfn client failed")
            self.closed = True
            for callback in self._lost:
                guarded(callback)
        self._fail_all(exception.ConnectionError("The nbfn client of this process was closed."))
        self._run_tasks()
        self.serializer.close()
        segment_directory.remove_if_unused(self.places.shm)  # if the hub has ended before
        self._link.close(LINGER)
        answering.discard(threading.get_ident())

    def _wait_timeout(self) -> float | None:
        """Return how long to wait for messages: until the hub is looked for again, or memory can be freed."""
        due = self.serializer.tidy(time.monotonic())
        return due if self._waiting_since is None else discovery.LOOK_EVERY

    def _run_tasks(self) -> None:
        while self._tasks:
            task = self._tasks.popleft()
            try:
                task()
            except Exception:
                logger.exception("A task of the nbfn client failed")

    def _send_goodbye(self) -> None:
        for call_id in list(self._calls):
            self._outbox.append(messages.Release(call_id))
        self._outbox.append(messages.ClientLeaves())
        self._flush()

    def _receive_guarded(self, arrived: Message | Change | BadFrame) -> None:
        """Handle a message; if that raises, fail the call or request that it belongs to."""
        try:
            self._receive(arrived)
        except Exception as error:
            logger.exception("%s from the hub could not be handled", type(arrived).__name__)
            text = f"nbfn failed to handle an answer of the hub ({type(error).__name__}: {error})."
            self._fail(arrived, exception.InternalError(text))

    def _fail(self, message: object, error: exception.Error) -> None:
        """Fail the call and the request that a message belongs to."""
        if (call := self._calls.get(getattr(message, "call", ""))) is not None:
            call.fail(error)
        if (number := getattr(message, "request", 0)) in self._requests:
            settle(self._requests[number][1], error=error)

    def _receive(self, arrived: Message | Change | BadFrame) -> None:
        if self._losses and not isinstance(arrived, Change | messages.Welcome):
            self._losses = 0
        if isinstance(arrived, _ABOUT_CALLS):
            if (call := self._calls.get(arrived.call)) is None:
                self._discard(arrived)
            else:
                _pass_to_call(call, arrived)
        elif isinstance(arrived, Change):
            self._connected() if arrived is Change.UP else self._disconnected()
        elif isinstance(arrived, BadFrame):
            logger.warning("A message of the hub could not be decoded: %s", arrived.reason)
            text = f"The hub's answer cannot be read: {arrived.reason}"
            self._fail(arrived, exception.InternalError(text))
        else:
            self._receive_other(arrived)

    def _discard(self, arrived: Message) -> None:
        """Free the shared memory of results of an abandoned call.

        Results of any other call are duplicates, whose memory may still be read.
        """
        if (
            isinstance(arrived, messages.Outputs | messages.Items)
            and arrived.call in self._abandoned
        ):
            for payload in _payloads(arrived):
                self.serializer.discard(payload)

    def _receive_other(self, arrived: Message) -> None:
        match arrived:
            case messages.Welcome():
                self._welcomed(arrived)
            case messages.Refused():
                self._state, self._refused = "down", True
                self._fail_all(exception.from_fault(arrived.code, arrived.message))
            case messages.CallRefused():
                self._call_refused(arrived)
            case messages.AppOutput():
                guarded(self._followed.get(arrived.app_id, _ignore), arrived)
            case messages.RetryWanted():
                ended = self._ended_maps.get(arrived.call)
                count, problem = ended.retry_asked() if ended is not None else (0, _NO_INPUTS)
                self.send(messages.RetryTaken(arrived.number, count, problem))
            case messages.OverviewChanges():
                for callback in self._watchers:
                    guarded(callback, arrived)
            case _:
                self._answered(getattr(arrived, "request", 0), arrived)

    def _call_refused(self, refused: messages.CallRefused) -> None:
        if (call := self._calls.get(refused.call)) is not None:
            error = exception.from_fault(refused.code, refused.message)
            self._registrations.refused(call, error, self.epoch)

    def _answered(self, number: int, answer: Message) -> None:
        """Resolve a request with the answer of the hub."""
        if number not in self._requests:
            return
        future = self._requests[number][1]
        if isinstance(answer, messages.Failed):
            settle(future, error=exception.from_fault(answer.code, answer.message))
        else:
            settle(future, answer)

    def _request_again(self, message: Message) -> Future[Any]:
        """Send a request from the client's thread, without waiting."""
        number, answer = next(self._numbers), Future[Message]()
        self._requests[number] = (msgspec.structs.replace(message, request=number), answer)
        answer.add_done_callback(lambda _: self._requests.pop(number, None))
        self.send(self._requests[number][0])
        return answer

    def _connected(self) -> None:
        self._state = "greeting"
        environment = this_environment()
        self._link.send(
            messages.ClientHello(
                protocol=messages.PROTOCOL,
                peer=self.peer,
                nbfn=__version__,
                cloudpickle=environment.cloudpickle,
                python=environment.python,
                pid=os.getpid(),
                host=platform.node(),
                environment=environment if self._registers else None,
                name=own_name(),
                worker=os.environ.get("NBFN_WORKER", ""),
                origin=this_origin(),
            )
        )

    def _welcomed(self, welcome: messages.Welcome) -> None:
        known, self.epoch = self.epoch, welcome.epoch
        self._state, self._waiting_since = "ready", None
        self._finder.found(welcome.pid)
        logger.debug(
            "%s connected to the hub (pid %d, epoch %d)", self.peer, welcome.pid, welcome.epoch
        )
        if known:
            self._send_again()
        awaiting, self._awaiting_hub = self._awaiting_hub, []
        for future in awaiting:
            settle(future, None)

    def _send_again(self) -> None:
        """Send again what the hub may not have, after a reconnect."""
        last = [m for m in list(self._outbox) if isinstance(m, messages.Release | messages.Cancel)]
        self._outbox.clear()  # all but these is sent again below
        self._outbox.extend(last)
        self._outbox.extend(message for message, _ in list(self._requests.values()))
        self._notify_connected(up=True)
        for call in list(self._calls.values()):
            self._outbox.extend(_opening(call, resent=True))
        if self._watchers:
            self._outbox.append(messages.WatchOverview())
        self._outbox.extend(messages.FollowApp(0, app_id) for app_id in list(self._followed))

    def _disconnected(self) -> None:
        was, self._state = self._state, "down"
        self._last_look = 0.0
        if was == "ready":
            logger.debug("%s lost the hub", self.peer)
            self._notify_connected(up=False)
            for callback in self._lost:
                guarded(callback)
            self._losses += 1
            if self._losses >= MOST_LOSSES:
                self._losses = 0
                self._fail_all(
                    exception.ConnectionError(
                        f"The nbfn hub ended {MOST_LOSSES} times before it answered. See {self.places.hub_log}."
                    )
                )

    def _notify_connected(self, *, up: bool) -> None:
        for call in list(self._calls.values()):
            guarded(call.sink.connected, up)

    def _needs_hub(self) -> bool:
        return bool(self._awaiting_hub or self._requests) or any(
            c.waiting for c in list(self._calls.values())
        )

    def _find_hub(self, now: float) -> None:
        """If a hub is needed and not connected: look for it, start it, or fail after `connect_timeout`."""
        if self._state == "ready":
            return
        if not self._needs_hub():
            self._waiting_since = None
            return
        if self._waiting_since is None:
            self._waiting_since, self._last_look = now, 0.0
            if self._refused:
                self._reconnect_to(self._finder.endpoint)
        waited = now - self._waiting_since
        if waited > self.settings.connect_timeout:
            self._fail_all(self._no_hub(waited))
        elif now - self._last_look >= discovery.LOOK_EVERY:
            self._last_look = now
            self._look_for_hub(waited)

    def _look_for_hub(self, waited: float) -> None:
        if not self._finder.look():
            self._fail_all(self._no_hub(waited))
        elif self._state == "down" and self._finder.endpoint != self._endpoint:
            self._reconnect_to(self._finder.endpoint)

    def _reconnect_to(self, endpoint: str) -> None:
        self._link.close()
        self._endpoint, self._refused = endpoint, False
        self._link = Link(endpoint, codec.TO_CLIENT)

    def _no_hub(self, waited: float) -> exception.ConnectionError:
        why = f" {self._finder.reason}" if self._finder.reason else ""
        return exception.ConnectionError(
            f"No nbfn hub at {self._endpoint} (waited {waited:.0f} s).{why} {self._finder.hint}"
        )

    def _fail_all(self, error: exception.Error) -> None:
        """Fail all requests and calls."""
        self._waiting_since = None
        self._finder.again()
        awaiting, self._awaiting_hub = self._awaiting_hub, []
        waiting: list[Future[Any]] = [
            *awaiting,
            *(answer for _, answer in list(self._requests.values())),
        ]
        for future in waiting:
            settle(future, error=type(error)(*error.args))
        for call in list(self._calls.values()):
            call.fail(type(error)(*error.args))
        self._outbox.clear()

    def _flush(self) -> None:
        if self._state != "ready":
            return
        while self._outbox:
            item = self._outbox.popleft()
            for message in (item,) if isinstance(item, Message) else item():
                try:
                    self._link.send(message)
                except FrameTooLargeError as error:
                    self._not_sent(message, f"is too large to be sent: {error}")
                except (ValueError, TypeError, OverflowError, RecursionError) as error:
                    self._not_sent(message, f"cannot be sent: {codec.why_not_sent(error)}")

    def _not_sent(self, message: Message, why: str) -> None:
        """Fail the call or request of a message that cannot be sent."""
        call = self._calls.get(getattr(message, "call", ""))
        subject = f"The call of {call.function.name!r}" if call is not None else _subject(message)
        self._fail(message, exception.InvalidError(f"{subject} {why}"))


def _pass_to_call(call: ActiveCall, arrived: Message) -> None:
    """Handle a message about an active call."""
    if isinstance(arrived, messages.Emission):
        guarded(call_observer.show, call.sink, call.kind, arrived)
        return
    if isinstance(arrived, messages.Progress):
        guarded(call.sink.progress, arrived)
    call.receive(arrived)


def _ignore(_: object) -> None:
    """Take output that nobody follows any more."""


def _subject(message: Message) -> str:
    if isinstance(message, messages.Register):
        return f"The definition of {message.definition.name!r}"
    if isinstance(message, messages.PutSecret):
        return f"The secret {message.name!r}"
    return "This request"


def _opening(call: ActiveCall, *, resent: bool) -> Iterator[Message]:
    """Yield the messages that begin a call; the call fails if they cannot be made."""
    try:
        yield from call.opening(resent=resent)
    except Exception as error:
        logger.exception("Call %s could not be sent", call.id)
        call.fail(exception.InternalError(f"The call could not be sent: {error}"))


def _payloads(arrived: messages.Outputs | messages.Items) -> Sequence[messages.Payload | None]:
    if isinstance(arrived, messages.Items):
        return arrived.payloads
    return [output.payload for output in arrived.outputs]


# --- hubs that have forgotten Functions ----------------------------------------------------------


class RegistrationCache:
    """The registrations of one connection. Used on its thread.

    Args:
        request: Sends a request without waiting and returns its answer.
    """

    def __init__(self, request: Callable[[Message], Future[Any]]) -> None:
        self._send_request = request
        self._kept: dict[str, Message] = {}  # by Function

    def keep(self, function_id: str, register: Message) -> None:
        """Keep the message that registered a Function."""
        self._kept[function_id] = register

    def refused(self, call: ActiveCall, error: exception.Error, epoch: int) -> None:
        """Handle a refused call: register its Function again if the hub has forgotten it, otherwise fail the call."""
        register = self._kept.get(call.function.id)
        unknown = isinstance(error, exception.NotFoundError)
        if not unknown or register is None or call.reopened == epoch:
            call.fail(error)
            return
        call.reopened = epoch
        self._register(call, register)

    def _register(self, call: ActiveCall, register: Message) -> None:
        """Register the Function of a call again; of a variant, its base first."""
        base = register.function if isinstance(register, messages.BindVariant) else ""
        if (of_base := self._kept.get(base)) is not None:

            def then(info: FunctionInfo) -> None:
                bind = msgspec.structs.replace(register, function=info.id)
                self._request(call, bind, lambda variant: self._reopen(call, bind, variant))

            self._request(call, of_base, then)
        else:
            self._request(call, register, lambda info: self._reopen(call, register, info))

    def _request(
        self, call: ActiveCall, register: Message, then: Callable[[FunctionInfo], None]
    ) -> None:
        def arrived(done: Future[messages.Registered]) -> None:
            if isinstance(error := done.exception(), exception.Error):
                call.fail(error)
            else:
                then(done.result().info)

        self._send_request(register).add_done_callback(arrived)

    def _reopen(self, call: ActiveCall, register: Message, info: FunctionInfo) -> None:
        self.keep(info.id, register)
        before = call.function
        call.function = msgspec.structs.replace(info, name=before.name, method=before.method)
        call.version = info.version
        call.client.send(lambda: call.opening(resent=True))
