"""The hub's event loop: connects sockets, worker processes and the store with the state machine.
It makes no scheduling decisions.

Each turn waits for input, passes every event to `StateMachine.process` and carries out the effects
immediately. Then `StateMachine.scale_pools` resizes the pools that changed. Saves go to the store's
writer thread, together with the effects that must not be visible before the commit. All other effects
are carried out at once, so a call that is not durable never waits for the disk.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from nbfn.exception import ServiceError
from nbfn.hub import message_failures
from nbfn.hub.callback_sender import CallbackSender
from nbfn.hub.gateway_process import GatewayProcess, has_endpoint
from nbfn.hub.health import health
from nbfn.hub.history_queries import HistoryQueries
from nbfn.hub.log_store import LogStore
from nbfn.hub.overview_feed import OverviewFeed
from nbfn.hub.overview_rows import OverviewRows
from nbfn.hub.queries import ConsoleRequests, Queries
from nbfn.hub.query_results import QueryResult, StoredHistory, StoredInputRows
from nbfn.hub.scheduler import effects, events, sessions, status, web_endpoints
from nbfn.hub.scheduler.effects import Effect, Send, StoreEffect
from nbfn.hub.scheduler.events import Event, Received
from nbfn.hub.scheduler.state_machine import StateMachine
from nbfn.hub.scheduler.worker_shutdown import EXIT_GRACE
from nbfn.hub.shared_memory_gc import SharedMemoryGC
from nbfn.hub.store import Store
from nbfn.hub.timeline_answer import TimelineQueries
from nbfn.hub.worker_processes import WorkerProcesses
from nbfn.hub.writer import StoreResult
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from nbfn.protocol.codec import BadFrame, FrameTooLargeError
from nbfn.protocol.messages import Message
from nbfn.protocol.transport import Router
from nbfn.serialization.payload import Serializer

_log = logging.getLogger("nbfn.hub")

#: Invalid messages after which the hub ignores a connection.
MAX_VIOLATIONS = 3
#: Seconds between checks whether an embedded hub is still needed.
IDLE_CHECK = 1.0
#: Seconds between two polls of a launcher that reports nothing; it has kill timers of its own.
LAUNCHER_INTERVAL = 0.5
#: Seconds between two measurements of the free disk space.
DISK_INTERVAL = 0.1
#: Seconds between two updates of the sockets of web endpoints.
WEB_INTERVAL = 1.0
#: Seconds an embedded hub waits for its first client; the process that started it may use another hub or have ended.
NO_CLIENT_EXIT = 30.0
#: Seconds that workers have to exit when the hub is stopped.
STOP_GRACE = 5.0


@dataclass(slots=True)
class Peer:
    """The role and id of the peer of a connection."""

    role: str  # client or worker
    id: str


@dataclass(frozen=True, slots=True)
class _OnConnection(Effect):
    """A message for a worker, valid only for the connection that the worker had when the message was created."""

    send: Send
    connection: bytes | None


#: Seconds between two calls that mean a suspension; the hub calls `now` at least once a second.
ASLEEP = 3.0


class SuspendAwareClock:
    """A monotonic clock that does not advance during a suspension."""

    def __init__(self) -> None:
        self._slept = 0.0
        self._last = time.monotonic()

    def now(self) -> float:
        """Return the seconds without suspensions."""
        now = time.monotonic() - self._slept
        if now - self._last > ASLEEP:
            self._slept += now - self._last
            return self._last
        self._last = now
        return now


class Broker:
    """One hub process.

    Args:
        state: The state machine, with the restored state.
        router: The socket.
        store: The database, not started yet.
        processes: The worker processes.
        serializer: Frees shared memory.
        shared_memory_gc: Frees segments whose owner is gone.
        web: The gateway process, which serves web endpoints.
        log_store: Stores the output of inputs, not started yet.
        callbacks: Posts to the callback URLs of calls that end.
        about: The hub's row in the overview; ``uptime`` is filled in.
        idle_exit: Seconds without clients or work after which the hub ends; None for never.
    """

    def __init__(
        self,
        state: StateMachine,
        router: Router,
        store: Store,
        processes: WorkerProcesses,
        serializer: Serializer,
        shared_memory_gc: SharedMemoryGC,
        web: GatewayProcess,
        log_store: LogStore,
        callbacks: CallbackSender,
        about: m.HubRow,
        idle_exit: float | None,
    ) -> None:
        self._state = state
        self._router = router
        self._store = store
        self._processes = processes
        self._serializer = serializer
        self._about = about
        self._callbacks = callbacks
        self._idle_exit = idle_exit
        self._shared_memory_gc = shared_memory_gc
        self._web = web
        self._log_store = log_store
        self._now = SuspendAwareClock().now
        self._last_needed = self._idle_checked = self._now()
        self._timeline = TimelineQueries(state.hub_state, about.epoch, self._now, router.wake)
        started = self._now()
        state.hub_state.wall_offset = time.time() - started
        rows = OverviewRows(state.hub_state, web, about, started)
        self._queries = Queries(state.hub_state, web, self._now, rows)
        self._peers: dict[bytes, Peer] = {}
        self._routes: dict[str, bytes] = {}  # peer id -> connection
        self._consoles = ConsoleRequests(self._send, self._routes)
        self._violations: dict[bytes, int] = {}
        self._had_client = False
        self._launcher_polled_at = 0.0
        self._disk_checked_at = -DISK_INTERVAL
        self._web_checked_at, self._web_revision = 0.0, -1
        self._feed = OverviewFeed(state.hub_state, rows, self._send)
        self._history = HistoryQueries(state.hub_state, rows)
        self._rows = rows
        #: The saves of each event, and the effects to carry out after their commit.
        self._unsaved: list[tuple[list[Effect], list[Effect]]] = []
        self.ending = False
        self._failed = ""
        #: Events caused by messages that were too large to be sent.
        self._consequences: deque[Event] = deque()
        self._actions = self._action_table()
        self._preparations = self._preparation_table()
        self._handlers = self._handler_table()

    def restore(self, found: Sequence[events.CallRestored]) -> None:
        """Restore the Apps and durable calls of the previous hub."""
        self._handle(events.AppsRestored())
        for call in found:
            self._handle(call)
        self._scale_pools()
        for problem in set(
            self._web.listen_for(web_endpoints.labels(self._state.hub_state)).values()
        ):
            _log.error("a web endpoint does not answer: %s", problem)

    # --- the loop ---

    def run(self) -> None:
        """Serve until stopped."""
        self._store.start(self._router.wake)
        self._log_store.start(self._router.wake)
        self._router.watch(*self._processes.sources())
        while not self.ending:
            self._turn(self._router.wait(self._timeout()))
        self._web.close()
        if self._failed:  # workers keep running, for the next hub
            raise ServiceError(self._failed)
        self._stop_workers()
        self._callbacks.close()

    def end(self) -> None:
        """End the hub; safe in signal handlers."""
        self.ending = True
        self._router.wake()

    def fail(self, reason: str) -> None:
        """End the hub with an error; safe in any thread."""
        self._failed = reason
        self.end()

    def _timeout(self) -> float:
        deadline = self._state.next_deadline()
        left = IDLE_CHECK if deadline is None else deadline - self._now()
        left = min(left, self._state.next_schedule_due() - time.time())
        if (due := self._feed.due_in(self._now())) is not None:
            left = min(left, due)
        return min(max(left, 0.0), IDLE_CHECK)

    def _turn(self, launcher_ready: bool) -> None:
        now = self._now()
        if now - self._disk_checked_at >= DISK_INTERVAL:
            self._disk_checked_at = now
            self._handle(self._store.room())
        lost = self._router.lost()
        # Including the last messages of lost connections.
        for connection, message in self._router.receive():
            self._receive(connection, message)
        for connection in lost:
            self._connection_lost(connection)
        if launcher_ready or now - self._launcher_polled_at >= LAUNCHER_INTERVAL:
            self._launcher_polled_at = now
            self._handle_launcher_events()
        for result in self._store.finished():
            self._handle_store_result(result)
        for client, answer in self._log_store.finished():
            self._send(client, answer)
        for client, found in self._timeline.finished():
            self._send(client, found)
        self._tick(now)
        self._scale_pools()
        unsaved, self._unsaved = self._unsaved, []
        for saves, on_commit in unsaved:
            self._store.submit(saves, on_commit)
        self._feed.update(now)
        self._maintain_gateway(now)
        if self._idle_exit is not None and now - self._idle_checked >= IDLE_CHECK:
            self._check_idle(now, self._idle_exit)

    def _handle_launcher_events(self) -> None:
        """Handle the launcher's events about worker processes."""
        for event in self._processes.events():
            self._handle(event)
            if isinstance(event, events.WorkerExited):
                self._shared_memory_gc.worker_ended(event.worker)

    def _handle_store_result(self, result: StoreResult) -> None:
        """Handle a read of the store, or carry out an effect after its commit."""
        if isinstance(result, events.FailuresLoaded | events.SaveFailed):
            self._handle(result)
        elif isinstance(result, effects.LoadInputs):
            self._send_loaded_inputs(result)
        elif isinstance(result, QueryResult):
            self._send_query_result(result)
        else:
            self._perform(result)

    def _tick(self, now: float) -> None:
        """Run the timers and schedules that are due."""
        deadline = self._state.next_deadline()
        if (deadline is not None and deadline <= now) or (
            self._state.next_schedule_due() <= time.time()
        ):
            self._handle(events.Tick())

    def _maintain_gateway(self, now: float) -> None:
        """Restart the gateway if it died, and close the ports of endpoints that no longer exist."""
        self._web.check()
        hub_state = self._state.hub_state
        due = now - self._web_checked_at >= WEB_INTERVAL and not self.ending
        if due and (hub_state.revision != self._web_revision or self._web.closing):
            self._web_checked_at, self._web_revision = now, hub_state.revision
            self._web.listen_for(web_endpoints.labels(hub_state))

    def _send_query_result(self, found: QueryResult) -> None:
        """Answer a client's query with data from the store."""
        try:
            for answer in self._answers(found):
                self._send(found.client, answer)
        except Exception:  # noqa: BLE001 - logged: for example a row that another program wrote
            _log.exception("stored data cannot be sent to a client")
            text = "What is stored of this call is not valid (see logs/hub.log in NBFN_HOME)."
            self._send(found.client, m.Failed(found.request, "data_loss", text))

    def _answers(self, found: QueryResult) -> Iterable[Message]:
        self._state.hub_state.now = self._now()
        if isinstance(found, StoredHistory):
            return [self._history.calls(found)]
        if isinstance(found, StoredInputRows):
            return [self._history.inputs(found)]
        return self._queries.from_disk(found)

    def _check_idle(self, now: float, limit: float) -> None:
        self._idle_checked = now
        if not self._had_client:
            limit = min(limit, NO_CLIENT_EXIT)
        if self._state.needed() or self._callbacks.waiting:
            self._last_needed = now
        elif now - self._last_needed >= limit:
            _log.info("no client or work for %.0f s; ending", limit)
            self.ending = True

    def _handle(self, event: Event) -> None:
        """Process an event in the state machine, and carry out its effects.

        Raises:
            Exception: The first of those that effects raised.
        """
        self._perform_all(self._state.process(event, self._now(), time.time()))

    def _handle_consequences(self) -> None:
        while self._consequences:
            self._handle(self._consequences.popleft())

    def _scale_pools(self) -> None:
        """Resize the pools that events have changed; an error here is logged, and fails no message."""
        self._handle_consequences()
        try:
            while todo := self._state.scale_pools():
                self._perform_all(todo)
                self._handle_consequences()
        except Exception:  # noqa: BLE001 - logged
            _log.exception("pools could not be resized")

    def _perform_all(self, todo: Sequence[Effect]) -> None:
        """Carry out effects; defer those that must follow a commit.

        Raises:
            Exception: The first of those that effects raised.
        """
        failed: Exception | None = None
        saves: list[Effect] = []
        on_commit: list[Effect] = []
        for effect in todo:
            try:
                if isinstance(effect, StoreEffect):
                    saves.append(self._pin_connection(effect))
                elif effect.after_commit:
                    on_commit.append(self._pin_connection(effect))
                else:
                    self._perform(effect)
            except Exception as error:  # noqa: BLE001 - raised below, after the others were carried out
                failed = failed or error
        if saves or on_commit:
            self._unsaved.append((saves, on_commit))
        if failed is not None:
            raise failed

    def _stop_workers(self) -> None:
        """Stop the workers, and handle the messages that they send before they exit."""
        hub_state = self._state.hub_state
        hub_state.closing = True
        hooks = any(pool.definition.exit_hooks for pool in hub_state.pools.values() if pool.workers)
        grace = EXIT_GRACE if hooks else STOP_GRACE
        self._processes.stop_all(grace)
        until = time.monotonic() + grace + 1.0
        # Handles clients that disconnected together with the stop.
        self._turn(self._router.wait(0.05))
        while self._processes.alive() and time.monotonic() < until:
            self._turn(self._router.wait(0.05))
        clients = self._state.hub_state.clients.values()
        # One is the client that asked for the stop.
        if sum(client.connected or bool(client.calls) for client in clients) <= 1:
            self._shared_memory_gc.sweep(self._state.hub_state.clients)

    # --- received messages ---

    def _connection_lost(self, connection: bytes) -> None:
        self._violations.pop(connection, None)
        peer = self._peers.pop(connection, None)
        if peer is None or self._routes.get(peer.id) != connection:
            return  # sent no hello, or reconnected
        del self._routes[peer.id]
        self._consoles.lost(peer.id)
        self._feed.remove(peer.id)
        self._handle(
            events.ClientLost(peer.id) if peer.role == "client" else events.WorkerLost(peer.id)
        )

    def _receive(self, connection: bytes, message: Message | BadFrame) -> None:
        """Handle a message; an error in it affects only its sender."""
        if self._violations and self._violations.get(connection, 0) >= MAX_VIOLATIONS:
            return
        try:
            self._handle_message(connection, message)
        except Exception:  # noqa: BLE001 - logged
            _log.exception("%s could not be handled", type(message).__name__)
            self._handle(events.Tick())  # carries out the effects that the failed handler emitted
            self._refuse(connection, message_failures.of_failure(message))

    def _handle_message(self, connection: bytes, message: Message | BadFrame) -> None:
        peer = self._peers.get(connection)
        kind = type(message)
        if kind in _HELLOS:
            self._handle_hello(connection, message)  # type: ignore[arg-type]
        elif peer is not None and kind in _ROLES[peer.role]:
            handler = self._handlers.get(kind)
            if handler is None:
                self._handle(Received(peer.id, message))  # type: ignore[arg-type]
            else:
                handler(peer.id, message)
        elif (
            isinstance(message, BadFrame)
            and peer is not None
            and peer.role == "client"
            and (answer := message_failures.of_frame(message))
        ):
            _log.warning("refused a message of %s: %s", peer.id, message.reason)
            self._refuse(connection, answer)
        else:
            self._report_violation(connection, message)

    def _handler_table(self) -> dict[type, Callable[[str, Any], None]]:
        """Return the handlers of messages that the broker handles, alone or before the state machine."""
        return {
            **dict.fromkeys(self._queries.message_types, self._answer_query),
            m.Attach: self._consoles.attach,
            m.ConsoleOpened: self._consoles.handle_opened,
            m.StopHub: self._stop_hub,
            m.WatchOverview: self._watch_overview,
            m.GetCalls: self._query_calls,
            m.GetInputs: self._query_inputs,
            m.GetHealth: self._query_health,
            m.GetLogs: self._query_logs,
            m.GetTimeline: self._timeline.ask,
            m.Register: self._register,
            m.Results: self._receive_results,
            m.Yielded: self._receive_yielded,
            m.BindFailed: self._log_bind_failed,
        }

    def _answer_query(self, peer_id: str, message: Message) -> None:
        self._scale_pools()  # the answer shows the effects of all earlier messages
        self._send(peer_id, self._queries.answer(message))

    def _watch_overview(self, peer_id: str, _: m.WatchOverview) -> None:
        self._scale_pools()
        self._feed.add(peer_id, self._now())

    def _stop_hub(self, peer_id: str, message: m.StopHub) -> None:
        problem = sessions.refusal(self._state.hub_state.calls.values())
        if problem and not message.end_session:
            self._send(peer_id, m.Failed(message.request, "conflict", problem))
            return
        self._send(peer_id, m.Done(message.request))
        self.ending = True

    def _register(self, peer_id: str, message: m.Register) -> None:
        if lacking := self._open_ports(peer_id, message):
            self._send(peer_id, m.Failed(message.request, "execution", lacking))
        else:
            self._handle(Received(peer_id, message))

    def _receive_results(self, peer_id: str, message: m.Results) -> None:
        payloads = [result.payload for result in message.results]
        if large := [payload for payload in payloads if payload and payload.segments]:
            self._shared_memory_gc.received(peer_id, large)
        self._handle(Received(peer_id, message))

    def _receive_yielded(self, peer_id: str, message: m.Yielded) -> None:
        self._shared_memory_gc.received(peer_id, message.payloads)
        self._handle(Received(peer_id, message))

    def _log_bind_failed(self, peer_id: str, message: m.BindFailed) -> None:
        _log.warning("%s could not load its function:\n%s", peer_id, message.text)
        self._handle(Received(peer_id, message))

    def _report_violation(self, connection: bytes, message: Message | BadFrame) -> None:
        """Refuse a message that this peer may not send; after `MAX_VIOLATIONS` ignore the connection."""
        violations = self._violations[connection] = self._violations.get(connection, 0) + 1
        what = (
            message.reason
            if isinstance(message, BadFrame)
            else f"{type(message).__name__} is not a message that this peer may send."
        )
        # A late message on a connection that is already lost is harmless.
        known = connection in self._peers or isinstance(message, BadFrame)
        _log.log(logging.WARNING if known else logging.DEBUG, "refused a message: %s", what)
        self._router.send(connection, m.Refused("invalid", what))
        if violations >= MAX_VIOLATIONS:
            self._ignore(connection)

    def _ignore(self, connection: bytes) -> None:
        """Ignore a connection from now on, and treat its peer as lost."""
        peer = self._peers.get(connection)
        _log.warning("further messages of %s are ignored", "a peer" if peer is None else peer.id)
        self._connection_lost(connection)
        self._violations[connection] = MAX_VIOLATIONS

    def _refuse(self, connection: bytes, answer: Message | None) -> None:
        """Fail the request or call of a message. A worker is ignored instead, and its inputs run elsewhere."""
        peer = self._peers.get(connection)
        if peer is None or peer.role == "worker":
            self._router.send(
                connection, m.Refused("invalid", "The hub could not handle a message of this peer.")
            )
            self._ignore(connection)
        elif answer is not None:
            if isinstance(answer, m.CallRefused):
                self._handle(Received(peer.id, m.Cancel(0, answer.call)))
            self._router.send(connection, answer)

    def _handle_hello(self, connection: bytes, hello: m.ClientHello | m.WorkerHello) -> None:
        if hello.protocol != m.PROTOCOL:
            todo = (
                "Upgrade nbfn at the hub and end it with 'nbfn hub stop'; the next call starts another."
                if hello.protocol > m.PROTOCOL
                else "Upgrade nbfn here and start this kernel or program again."
            )
            both = f"Protocol {hello.protocol} here, {m.PROTOCOL} at the hub (nbfn {self._about.version})"
            self._router.send(connection, m.Refused("version", f"{both}. {todo}"))
            return
        role = "client" if isinstance(hello, m.ClientHello) else "worker"
        before = self._peers.get(connection)
        if before is not None and before.id != hello.peer:
            self._report_violation(connection, hello)
            return
        self._peers[connection] = Peer(role, hello.peer)
        self._routes[hello.peer] = connection
        about = self._about
        self._router.send(connection, m.Welcome(m.PROTOCOL, about.epoch, about.version, about.pid))
        if role == "worker":
            self._shared_memory_gc.worker_joined(hello.peer)
        self._handle(events.joined(hello))
        self._had_client = self._had_client or role == "client"
        if isinstance(hello, m.ClientHello) and hello.environment is not None:
            self._processes.ready(hello.environment.executable)

    # --- queries ---

    def _query_calls(self, client: str, message: m.GetCalls) -> None:
        self._perform_all([self._history.load(client, message)])

    def _query_inputs(self, client: str, message: m.GetInputs) -> None:
        self._perform_all([self._history.load_inputs(client, message)])

    def _query_health(self, client: str, message: m.GetHealth) -> None:
        hub_state = self._state.hub_state
        hub_state.now = self._now()
        free = self._store.room().free
        self._send(client, health(message.request, hub_state, self._rows.hub(), free))

    def _query_logs(self, client: str, message: m.GetLogs) -> None:
        hub_state = self._state.hub_state
        record = hub_state.registry.functions.get(message.function)
        app = hub_state.registry.apps.get(record.app_id if record is not None else message.app)
        if record is not None and record.base:
            message = msgspec.structs.replace(message, function=record.base)
        if message.call:
            ended = message.call not in hub_state.calls
        else:
            ended = app is not None and status.state_of(hub_state, app) == "stopped"
        self._log_store.ask(client, message, ended=ended)

    def _open_ports(self, client: str, message: m.Register) -> str:
        """Open the ports of the endpoints of a definition; return why that failed, or ""."""
        if not has_endpoint(message.definition):
            return ""
        labels = web_endpoints.wanted(message)
        refused = self._web.listen_for([*web_endpoints.labels(self._state.hub_state), *labels])
        return next((refused[label] for label in labels if label in refused), "")

    # --- effects ---

    def _send(self, peer_id: str, message: Message) -> None:
        """Send a message to a peer, if it is connected; split it if it is too large for one frame."""
        connection = self._routes.get(peer_id)
        if connection is None:
            return
        prepare = self._preparations.get(type(message))
        for part in (message,) if prepare is None else prepare(message):
            try:
                self._router.send(connection, part)
            except FrameTooLargeError as error:
                self._handle_oversized(peer_id, connection, part, error)

    def _handle_oversized(
        self, peer_id: str, connection: bytes, message: Message, error: FrameTooLargeError
    ) -> None:
        _log.error("%s for %s was not sent: %s", type(message).__name__, peer_id, error)
        if (other := message_failures.replacement(message, error)) is not None:
            self._router.send(connection, other)
        if (event := message_failures.consequence(peer_id, message, error)) is not None:
            self._consequences.append(event)  # handled after the effects of the current event

    def _pin_connection(self, effect: Effect) -> Effect:
        """Bind inputs that wait for the disk to the connection on which they were leased.

        A worker that reconnected has reported that it lacks them, so they were leased again.
        """
        if isinstance(effect, Send) and isinstance(effect.message, m.Run):
            return _OnConnection(effect, self._routes.get(effect.to))
        if isinstance(effect, effects.LoadInputs):
            return dataclasses.replace(effect, connection=self._routes.get(effect.worker))
        return effect

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            self._send(effect.to, effect.message)
        else:
            self._actions[type(effect)](effect)

    def _action_table(self) -> dict[type[Effect], Callable[..., None]]:
        return {
            _OnConnection: self._send_on_connection,
            effects.StartWorker: self._processes.start,
            effects.StopWorker: self._processes.stop,
            effects.Discard: lambda effect: self._serializer.discard(effect.payload),
            effects.DiscardClient: self._forget_client,
            effects.PostCallback: self._callbacks.submit,
            effects.WriteLog: self._write_log,
        }

    def _preparation_table(self) -> dict[type[Message], Callable[[Any], Iterable[Message]]]:
        """Return the functions that complete or split messages before they are sent."""
        return {
            m.Outputs: message_failures.split_outputs,
            m.Run: message_failures.split_run,
            m.Registered: self._with_urls,
            m.AppFound: self._with_ports,
            m.Secrets: lambda message: (
                m.Secrets(message.request, codec.fitting(message.secrets)),
            ),
        }

    def _with_urls(self, message: m.Registered) -> Iterable[Message]:
        return (m.Registered(message.request, self._web.complete(message.info)),)

    def _with_ports(self, message: m.AppFound) -> Iterable[Message]:
        """Open the ports of endpoints before a client receives an App: deployments and rollbacks change them."""
        self._web.listen_for(web_endpoints.labels(self._state.hub_state))
        return (message,)

    def _send_loaded_inputs(self, result: effects.LoadInputs) -> None:
        """Send inputs that were read from the disk to the worker, on the connection on which they were leased."""
        self._send_on_connection(_OnConnection(Send(result.worker, result.run), result.connection))
        if result.missing:
            text = "The arguments of this input are not on the hub's disk, or cannot be read."
            fault = m.Fault("data_loss", text)
            self._handle(events.InputsNotSent(result.worker, result.missing, fault))

    def _send_on_connection(self, what: _OnConnection) -> None:
        if self._routes.get(what.send.to) == what.connection:
            self._perform(what.send)

    def _write_log(self, effect: effects.WriteLog) -> None:
        if effect.source == "system":
            _log.warning("%s %s", effect.call or effect.worker, effect.data.decode().rstrip())
        self._log_store.write(effect)

    def _forget_client(self, effect: effects.DiscardClient) -> None:
        self._shared_memory_gc.client_gone(effect.client)
        hub_state = self._state.hub_state
        if not hub_state.clients:
            self._shared_memory_gc.sweep(hub_state.workers)


_HELLOS = frozenset({m.ClientHello, m.WorkerHello})
_ROLES = {"client": frozenset(m.FROM_CLIENT), "worker": frozenset(m.FROM_WORKER)}
