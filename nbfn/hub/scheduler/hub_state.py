"""What the state machine knows: the tables of all its `models`, timers, and the effects of the turn.

The tables hold; they do not decide. `calls`, `results` and `worker_lifecycle` change them, `state_machine` calls those,
`status` reads.
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
from nbfn.hub.scheduler.effects import Effect, OverviewChanged, Send
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
from nbfn.protocol.messages import Definition, Message

#: Finished calls kept for the sidebar.
HISTORY = 50
#: Ids of ended durable calls that are known, in case the word that one was accepted was lost.
MAX_ENDED_SPAWNS = 10_000
#: Seconds between two words to a watcher about the same thing.
PROGRESS_INTERVAL = 0.1


class Limits:
    """The numbers of `nbfn.config.Settings` that the state machine uses, and the size of the
    machine.
    """

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
        self.memory = memory  # in bytes; 0: not known, so not counted
        self.gpus = tuple(gpus)  # what each is called in CUDA_VISIBLE_DEVICES
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
    """Return how many threads numeric libraries use in a worker, and why."""
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
    """Everything the hub knows, the current time, and the effects of this turn."""

    def __init__(self, new_id: Callable[[str], str], epoch: int, limits: Limits) -> None:
        self.new_id = new_id
        self.limits = limits
        self.now = 0.0
        self.wall = 0.0  # people's time: never to be counted on, it can jump
        self.started_at: float | None = None
        self.effects: list[Effect] = []
        self.registry = Registry(new_id)
        self.secrets: dict[tuple[str, str], SecretRecord] = {}  # (environment, name)
        self.clients: dict[str, Client] = {}
        self.calls: dict[str, Call] = {}
        self.pools: dict[tuple[str, int], Pool] = {}
        self.workers: dict[str, Worker] = {}
        self.blanks: dict[
            str, dict[str, Worker]
        ] = {}  # executable -> blank workers, longest waiting first
        self.starting: dict[str, dict[str, Worker]] = {}  # executable -> not yet joined
        self.fenced: deque[str] = deque(maxlen=1000)  # given up: their word no longer counts
        # Sets in the order in which pools were added; a pool that was dropped may have a successor with its key.
        self.short: dict[Pool, None] = {}  # pools that want workers
        self.lacking: dict[Pool, None] = {}  # pools that wait for memory, say
        #: (call, index) of inputs with at_most_once that began under a hub before this one.
        self.started_inputs: set[tuple[str, int]] = set()
        self.start_backoff: dict[
            str, tuple[int, float]
        ] = {}  # executable -> (failures in a row, not before)
        self.history: deque[tuple[Call, float]] = deque(maxlen=HISTORY)
        #: Calls whose results are not taken: they have no more inputs run.
        self.held: dict[Call, None] = {}
        #: (call, index), and lease -> what a worker had under the hub before this one.
        self.claims: dict[tuple[str, int], Claim] = {}
        self.claimed: dict[int, Claim] = {}
        #: Inputs told by a client or the disk that wait for a worker which may still be at them.
        self.unclaimed: dict[Pool, set[Input]] = {}
        #: Durable calls that have ended, the latest `SPAWNS_KEPT`: told again, they do not run again.
        #: The value: whether it was told to its end, not given up before.
        self.ended_spawns: dict[str, bool] = {}
        self.schedules: dict[str, ScheduledFunction] = {}  # by Function
        self.next_schedule_due = math.inf
        self.last_wall = -math.inf  # people's time when the agenda was looked at
        self.call_graph = CallGraph()
        #: Pools that were touched: since waiting inputs were given to their workers, and since they were resized.
        self.to_dispatch: dict[Pool, None] = {}
        self.to_resize: dict[Pool, None] = {}
        self.durable_inputs = 0  # inputs of durable calls that have no outcome
        self.loaded_bytes = 0  # bytes of those that are in memory
        self.disk: tuple[str, float] = ("", math.inf)  # where these are, and bytes free there
        self.disk_trouble = ""  # why nothing can be written there
        self.unsaved: set[tuple[str, int]] = set()  # versions of Functions that are not on disk
        #: Apps that end, and what is answered when their workers' exit hooks have run.
        self.pending_stops: list[tuple[AppRecord, Send]] = []
        self.closing = False  # the hub ends: no more workers
        self.supply_due = False  # somebody should look whether workers must be started
        self.revision = 0
        self._changed_sent_at = -1.0
        self._changed_due = False
        # Never the same number again, also after a restart within the same second: leases
        # fence across epochs.
        self._last_lease = epoch << 30
        self._timers: list[tuple[float, int, Callback, Any]] = []
        self._timer_count = 0

    def emit(self, effect: Effect) -> None:
        """Add an effect to this turn."""
        self.effects.append(effect)

    def send(self, to: str, message: Message, *, after_commit: bool = False) -> None:
        """Send a message to a client or a worker; ``after_commit``: once what this turn saves is on disk."""
        self.effects.append(Send(to, message, after_commit))

    def take_effects(self) -> list[Effect]:
        """Return the effects since the last time."""
        effects, self.effects = self.effects, []
        return effects

    def touch(self, pool: Pool) -> None:
        """Have the pool's queue looked at after this event, and its size before this turn ends."""
        self.to_dispatch[pool] = self.to_resize[pool] = None

    def new_lease(self) -> int:
        """Return a lease number that was never used."""
        self._last_lease += 1
        return self._last_lease

    def note_ended(self, spawn: str, *, whole: bool = True) -> None:
        """Remember that a durable call has ended."""
        self.ended_spawns[spawn] = whole
        if len(self.ended_spawns) > MAX_ENDED_SPAWNS:
            del self.ended_spawns[next(iter(self.ended_spawns))]

    def after(self, delay: float, callback: Callback, what: Any) -> None:
        """Call ``callback(tables, what)`` once, ``delay`` seconds from now."""
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
        """Note that the overview changed; watchers hear of it at most every `TELL_EVERY`
        seconds.
        """
        self.revision += 1
        if self._changed_due:
            return
        if self.now - self._changed_sent_at >= PROGRESS_INTERVAL:
            self._send_changed(None)
        else:
            self._changed_due = True
            self.after(PROGRESS_INTERVAL, HubState._send_changed, None)

    def _send_changed(self, _: None) -> None:
        self._changed_due = False
        self._changed_sent_at = self.now
        self.emit(OverviewChanged(self.revision))
