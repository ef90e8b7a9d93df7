"""The state of the state machine: all clients, calls, pools and workers (`models`), timers, and emitted effects.

It contains no scheduling decisions. The handlers that `state_machine` calls change it; `status` reads it.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from nbfn.hub.scheduler import autoscaler
from nbfn.hub.scheduler.app_records import AppRecord
from nbfn.hub.scheduler.call_graph import CallGraph
from nbfn.hub.scheduler.effects import Effect, Send
from nbfn.hub.scheduler.models import (
    Call,
    Claim,
    Client,
    Input,
    Pool,
    ScheduledFunction,
    Worker,
    at_once,
)
from nbfn.hub.scheduler.registry import Registry, SecretRecord
from nbfn.hub.scheduler.timeline import Timeline
from nbfn.protocol.messages import Definition, Message

#: Ended calls that the sidebar shows.
HISTORY = 50
#: Ids of ended durable calls that are kept, in case the `Accepted` message of one was lost.
MAX_ENDED_SPAWNS = 10_000
#: Seconds between two progress messages about the same call.
PROGRESS_INTERVAL = 0.1


class Limits:
    """The settings that the state machine uses, and the size of the machine."""

    def __init__(
        self,
        *,
        cores: int = 2,
        cpu: float | None = None,
        memory: int = 0,
        gpus: Sequence[str] = (),
        max_workers: int = 16,
        blank_workers: int = 2,
        client_grace: float = 30.0,
        lease: float = 10.0,
        kill_grace: float = 5.0,
        max_spawned: int = 1_000_000,
        disk_reserve: int = 0,
        threads: int = 0,
    ) -> None:
        self.cores = cores
        self.cpu = float(cores) if cpu is None else cpu
        self.memory = memory  # in bytes; 0: unknown, so not limited
        self.gpus = tuple(gpus)  # the name of each in CUDA_VISIBLE_DEVICES
        self.max_workers = max_workers
        self.blank_workers = blank_workers
        self.client_grace = client_grace
        self.lease = lease
        self.kill_grace = kill_grace
        self.max_spawned = max_spawned
        self.disk_reserve = disk_reserve  # in bytes
        self.threads = threads  # of numeric libraries in a worker; 0: its share of the cores


def threads_of(
    definition: Definition, settings: autoscaler.Settings, limits: Limits
) -> tuple[int, str]:
    """Return how many threads numeric libraries use in a worker, and the reason."""
    coroutines = definition.is_async or (
        bool(definition.methods) and all(method.is_async for method in definition.methods)
    )
    return autoscaler.threads(
        definition.resources,
        settings,
        limits.cores,
        at_once=1 if coroutines else at_once(definition),
        fixed=limits.threads,
    )


Callback = Callable[["HubState", Any], None]


class HubState:
    """The whole state of the hub, the current time, and the effects of the current event."""

    def __init__(self, new_id: Callable[[str], str], epoch: int, limits: Limits) -> None:
        self.new_id = new_id
        self.limits = limits
        self.now = 0.0
        self.wall = 0.0  # the time of day, which may jump
        self.wall_offset = 0.0  # the difference of the two when the hub started
        self.started_at: float | None = None
        self.effects: list[Effect] = []
        self.registry = Registry(new_id)
        self.secrets: dict[tuple[str, str], SecretRecord] = {}  # (environment, name)
        self.clients: dict[str, Client] = {}
        self.calls: dict[str, Call] = {}
        self.pools: dict[tuple[str, int], Pool] = {}
        self.workers: dict[str, Worker] = {}
        #: executable -> blank workers, longest waiting first
        self.blanks: dict[str, dict[str, Worker]] = {}
        self.starting: dict[str, dict[str, Worker]] = {}  # executable -> not yet joined
        #: Workers that were given up: their results are dropped.
        self.fenced: deque[str] = deque(maxlen=1000)
        #: Pools that lack workers, and pools that wait for resources, both as sets in the order of addition. They do
        #: not use `Pool.key`: a removed pool may have a successor with the same key.
        self.short: dict[Pool, None] = {}
        self.lacking: dict[Pool, None] = {}
        #: (call, index) of inputs with at_most_once that started under a previous hub.
        self.started_inputs: set[tuple[str, int]] = set()
        #: executable -> (failures in a row, not before)
        self.start_backoff: dict[str, tuple[int, float]] = {}
        self.history: deque[tuple[Call, float]] = deque(maxlen=HISTORY)
        #: Calls with too many unconsumed results: their inputs are not dispatched.
        self.held: dict[Call, None] = {}
        #: (call, index), and lease -> the claim of a worker on an input of the previous hub.
        self.claims: dict[tuple[str, int], Claim] = {}
        self.claimed: dict[int, Claim] = {}
        #: Resent or restored inputs that wait for a worker which may still run them.
        self.unclaimed: dict[Pool, set[Input]] = {}
        #: The latest durable calls that have ended; they do not run again if they are resent. The value: whether all
        #: inputs had arrived.
        self.ended_spawns: dict[str, bool] = {}
        self.schedules: dict[str, ScheduledFunction] = {}  # by Function
        self.next_schedule_due = math.inf
        self.last_wall = -math.inf  # the time of day when schedules were last checked
        self.call_graph = CallGraph()
        self.timeline = Timeline()
        #: Touched pools: since their last dispatch, and since their last resize.
        self.to_dispatch: dict[Pool, None] = {}
        self.to_resize: dict[Pool, None] = {}
        #: What workers ran since the end of the last turn, as arguments of `spans.add_results`.
        self.to_record: list[tuple[Any, ...]] = []
        #: number of a `RetryWanted` -> the client that made the map, and who asked: client and request.
        self.asked_retries: dict[int, tuple[str, str, int]] = {}
        self.durable_inputs = 0  # unfinished inputs of durable calls
        self.loaded_bytes = 0  # bytes of their payloads in memory
        #: The path of the database, and free bytes there.
        self.disk: tuple[str, float] = ("", math.inf)
        self.disk_trouble = ""  # why it cannot be written
        self.unsaved: set[tuple[str, int]] = set()  # versions of Functions whose save failed
        #: Apps that stop, and the answer to send after their workers' exit hooks.
        self.pending_stops: list[tuple[AppRecord, Send]] = []
        self.closing = False  # the hub stops: start no workers
        self.supply_due = False  # check whether workers must be started
        self.revision = 0
        #: Whether rows of the overview may have changed since they were last sent.
        self.overview_changed = False
        # Lease numbers are never reused, also not by a hub that restarts within the same second.
        self._last_lease = epoch << 30
        self._timers: list[tuple[float, int, Callback, Any]] = []
        self._timer_count = 0

    def wall_of(self, at: float) -> float:
        """Return a time of the hub's clock in seconds since 1970, the same each time."""
        return round(self.wall_offset + at, 3)

    def emit(self, effect: Effect) -> None:
        """Emit an effect."""
        self.effects.append(effect)

    def send(self, to: str, message: Message, *, after_commit: bool = False) -> None:
        """Send a message to a client or a worker; ``after_commit``: after the saves of this event."""
        self.effects.append(Send(to, message, after_commit))

    def take_effects(self) -> list[Effect]:
        """Return and clear the emitted effects."""
        effects, self.effects = self.effects, []
        return effects

    def touch(self, pool: Pool) -> None:
        """Dispatch the pool's inputs after this event, and resize the pool at the end of the turn."""
        self.to_dispatch[pool] = self.to_resize[pool] = None

    def new_lease(self) -> int:
        """Return an unused lease number."""
        self._last_lease += 1
        return self._last_lease

    def note_ended(self, spawn: str, *, whole: bool = True) -> None:
        """Record that a durable call has ended."""
        self.ended_spawns[spawn] = whole
        if len(self.ended_spawns) > MAX_ENDED_SPAWNS:
            del self.ended_spawns[next(iter(self.ended_spawns))]

    def forget_ended(self, call_id: str, client_id: str = "") -> None:
        """Remove a call that runs again from the calls that have ended."""
        ended = [entry for entry in self.history if entry[0].id != call_id]
        self.history.clear()
        self.history.extend(ended)
        if (client := self.clients.get(client_id)) is not None:
            others = [call for call in client.ended if call.id != call_id]
            client.ended.clear()
            client.ended.extend(others)

    def after(self, delay: float, callback: Callback, what: Any) -> None:
        """Call ``callback(self, what)`` once, ``delay`` seconds from now."""
        self._timer_count += 1
        heapq.heappush(self._timers, (self.now + delay, self._timer_count, callback, what))

    def next_timer(self) -> float | None:
        """Return when the next timer is due."""
        return self._timers[0][0] if self._timers else None

    def run_timers(self) -> None:
        """Run the timers that are due."""
        while self._timers and self._timers[0][0] <= self.now:
            _, _, callback, what = heapq.heappop(self._timers)
            callback(self, what)

    def changed(self) -> None:
        """Note that the overview changed."""
        self.revision += 1
