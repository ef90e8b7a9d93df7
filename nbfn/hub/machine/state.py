"""The hub's state machine: ``handle(event, now) -> effects``.

Rule 1: nothing here or below (`calls`, `leases`, `fleet`, `tables`, `registry`, `schedule`,
`scale`) reads a clock, owns a socket or starts a process; time is an argument. Rule 2: payloads are
opaque. Rule 3: after each event every pool that it touched is looked at once more: waiting inputs
go to workers with room, and the pool takes the size that its load asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbfn.hub.machine import (
    agenda,
    apps,
    calls,
    cancellation,
    capacity,
    clients,
    departures,
    endpoints,
    environments,
    events,
    fleet,
    grants,
    graph,
    leases,
    output,
    pressure,
    revival,
    sizing,
    supply,
    unsaved,
    vault,
)
from nbfn.hub.machine.definitions import DefinitionLike
from nbfn.hub.machine.effects import (
    Answer,
    Effect,
    Refuse,
    SaveSettings,
    SaveVariant,
)
from nbfn.hub.machine.events import Event
from nbfn.hub.machine.registry import FunctionRecord
from nbfn.hub.machine.tables import Limits, Tables


def _worker_exited(t: Tables, event: events.WorkerExited) -> None:
    fleet.worker_exited(t, event)
    clients.worker_gone(t, event.worker)


_HANDLERS: dict[type[Event], Callable[[Tables, Any], None]] = {
    events.ClientJoined: apps.client_joined,
    events.ClientLost: apps.client_lost,
    events.ClientLeft: apps.client_left,
    events.FunctionPut: apps.function_put,
    events.AppDeployed: apps.app_deployed,
    events.AppRolledBack: apps.app_rolled_back,
    events.AppBegun: apps.app_begun,
    events.AppStopped: apps.app_stopped,
    events.AppWanted: apps.app_wanted,
    events.AppTagged: apps.app_tagged,
    events.AppFollowed: apps.app_followed,
    events.AppsRestored: apps.apps_restored,
    events.EnvironmentChanged: environments.environment_changed,
    events.WorkerUnwanted: departures.worker_unwanted,
    events.CallPut: calls.call_put,
    events.DiskMeasured: capacity.disk_measured,
    events.SaveFailed: unsaved.save_failed,
    events.InputsPut: calls.inputs_put,
    events.CallCancelled: cancellation.call_cancelled,
    events.CallReleased: clients.call_released,
    events.CallWatched: calls.call_watched,
    events.CallRestored: calls.call_restored,
    events.GraphWanted: graph.wanted,
    events.InputWanted: calls.input_wanted,
    events.RetryWanted: revival.retry_wanted,
    events.FailuresLoaded: revival.failures_loaded,
    events.ItemsWanted: calls.items_wanted,
    events.ResultsTaken: pressure.results_taken,
    events.InputFed: calls.input_fed,
    events.ResultsArrived: leases.results_arrived,
    events.LeasesReturned: leases.leases_returned,
    events.InputsNotSent: leases.inputs_not_sent,
    events.ItemsArrived: leases.items_arrived,
    events.FeedAsked: leases.feed_asked,
    events.EmissionArrived: output.emission_arrived,
    events.WorkerJoined: fleet.worker_joined,
    events.WorkerBound: fleet.worker_bound,
    events.WorkerBroken: fleet.worker_broken,
    events.WorkerLost: fleet.worker_lost,
    events.WorkerLeft: fleet.worker_left,
    events.WorkerExited: _worker_exited,
    events.WorkerNotStarted: supply.worker_not_started,
    events.SecretPut: vault.secret_put,
    events.SecretDeleted: vault.secret_deleted,
    events.SecretsAsked: vault.secrets_asked,
    events.Tick: lambda t, event: None,
}


#: After these there may be other Functions that the hub calls by itself.
_PLANNING: frozenset[type[Event]] = frozenset({
    *(events.FunctionPut, events.AppDeployed, events.AppRolledBack, events.AppBegun),
    *(events.AppStopped, events.EnvironmentChanged),
})  # fmt: skip


class State:
    """All that the hub knows, and the one way to change it.

    Args:
        new_id: Makes ids from a prefix.
        epoch: A number that is larger for each later hub process (its start, in seconds).
        limits: The settings that matter here.
    """

    def __init__(
        self, new_id: Callable[[str], str], *, epoch: int = 1, limits: Limits | None = None
    ) -> None:
        self.tables = Tables(new_id, epoch, limits or Limits())
        self._handlers = _HANDLERS | {
            events.VariantPut: _variant_put,
            events.SettingsPut: _settings_put,
        }

    def handle(self, event: Event, now: float, wall: float = 0.0) -> list[Effect]:
        """Take one event.

        Args:
            event: What happened.
            now: Seconds on a clock that never goes back.
            wall: Seconds since 1970, as people's clocks have it; for what is said to people, and schedules.

        Returns:
            What must be done about it, in order.
        """
        t = self.tables
        t.now, t.wall = now, wall
        if t.born is None:
            t.born = now
        self._handlers[type(event)](t, event)
        t.run_timers()
        if type(event) in _PLANNING:
            agenda.review(t)
        agenda.run(t)
        while t.dirty or t.supply_due:
            while t.dirty:
                _, pool = t.dirty.popitem()
                grants.dispatch(t, pool)
                sizing.resize(t, pool)
            if t.supply_due:
                supply.supply(t)
        effects, t.effects = t.effects, []
        return effects

    def next_deadline(self) -> float | None:
        """Return when `Tick` is due next, or None."""
        return self.tables.next_timer()

    def next_appointment(self) -> float:
        """Return when `Tick` is due for a schedule's sake, in people's time."""
        return self.tables.next_appointment

    def plan(self, wall: float) -> None:
        """Take up the schedules of what was restored."""
        self.tables.wall = wall
        agenda.review(self.tables)

    def needed(self) -> bool:
        """Whether an embedded hub has a reason to stay: a client, a warm pool, a schedule, a URL, or work.

        A client that only looks on (JupyterLab's panel names no Python) is no reason.
        """
        t = self.tables
        return (
            bool(t.calls)
            or agenda.waits(t)
            or any(client.connected and client.executable for client in t.clients.values())
            or any(
                p.settings.min_containers and not (p.retired or p.staged) for p in t.pools.values()
            )
            or endpoints.deployed(t)
        )


def _variant_put(t: Tables, event: events.VariantPut) -> None:
    """Make a variant of a Function, or find it."""
    base = t.registry.functions.get(event.function)
    if base is None:
        message = f"No function has the id {event.function!r}."
        t.emit(Refuse(event.client, event.request, "not_found", message))
        return
    if t.registry.apps[base.app_id].final:
        t.emit(Refuse(event.client, event.request, "not_found", t.registry.refusal(base, 0)))
        return
    if base.base:
        message = f"{base.name!r} is a variant itself; make one of the Function it was made of."
        t.emit(Refuse(event.client, event.request, "invalid", message))
        return
    record, created = t.registry.bind(base, event.variant, event.digest, event.shown)
    # The newest of a class that is only staged.
    version = record.latest if record.latest in record.versions else max(record.versions)
    settings = sizing.settings_of(t, record, version)
    lacking = vault.missing(t, record.environment_name, record.versions[version])
    odd = _contradiction(record.versions[version])
    problem = lacking or odd or _problem(t, record, settings)
    if created and problem:
        t.registry.forget(record)
        code = "not_found" if lacking else "invalid"
        t.emit(Refuse(event.client, event.request, code, problem))
        return
    if created:
        t.emit(SaveVariant(record))
        if record.live:
            sizing.renew(t, record)
        t.changed()
    value = (record, version, created)
    t.emit(Answer(event.client, event.request, "registered", value, after_commit=created))


def _contradiction(definition: DefinitionLike) -> str:
    """Return the sentence about what a variant changes against what its Function is; one that is decorated so
    is refused where that happens.
    """
    name, retries = definition.name, definition.retries.max_retries > 0
    if retries and definition.at_most_once:
        return f"{name!r} runs an input at most once, so it cannot have retries."
    if retries and definition.is_generator:
        return f"{name!r} yields, so it cannot have retries: its items were already handed out."
    if definition.single_use and (definition.concurrency.max_inputs or 1) > 1:
        return f"{name!r} has a fresh worker for each input, so it cannot run several at once."
    return ""


def _settings_put(t: Tables, event: events.SettingsPut) -> None:
    """Override pool settings, if they make sense together."""
    record = t.registry.functions.get(event.function)
    if record is None:
        message = f"No function has the id {event.function!r}."
        t.emit(Refuse(event.client, event.request, "not_found", message))
        return
    if not record.live:
        text = t.registry.refusal(record, 0)
        t.emit(Refuse(event.client, event.request, "not_found", text))
        return
    names = ("min_containers", "max_containers", "buffer_containers", "scaledown_window")
    given = {name: getattr(event, name) for name in names if getattr(event, name) is not None}
    before = dict(record.overrides)
    record.overrides.update(given)
    settings = sizing.settings_of(t, record, record.latest)
    if problem := _problem(t, record, settings):
        record.overrides = before
        t.emit(Refuse(event.client, event.request, "invalid", problem))
        return
    pool = sizing.pool_of(t, record, record.latest)
    pool.settings = settings
    t.touch(pool)
    t.emit(SaveSettings(record.id, dict(record.overrides)))
    t.emit(Answer(event.client, event.request, "settings", settings, after_commit=True))
    t.changed()


def _problem(t: Tables, record: FunctionRecord, settings: Any) -> str:
    least, most = settings.min_containers, settings.max_containers
    name = record.name
    if least < 0 or settings.buffer_containers < 0:
        return f"{name!r} cannot keep {min(least, settings.buffer_containers)} workers; give 0 or more."
    if most < 1:
        return f"max_containers of {name!r} is {most}; it must be 1 or more."
    if least > most:
        return f"min_containers ({least}) of {name!r} is over its max_containers ({most})."
    if settings.scaledown_window <= 0:
        return f"scaledown_window of {name!r} must be > 0 seconds."
    if least > t.limits.max_workers:
        return (
            f"min_containers ({least}) of {name!r} is over this machine's limit of "
            f"{t.limits.max_workers} workers (setting max_workers)."
        )
    return ""
