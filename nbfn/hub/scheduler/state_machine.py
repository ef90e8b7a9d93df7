"""The hub's state machine: ``process(event, now) -> effects``.

Rule 1: no module of this package reads a clock, owns a socket or starts a process; time is an argument.
Rule 2: payloads are opaque. Rule 3: after each event, the waiting inputs of all touched pools are dispatched;
after all events of a turn, `scale_pools` resizes these pools to their load.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbfn.declarations import pool_settings
from nbfn.exception import InvalidError
from nbfn.hub.scheduler import (
    apps,
    autoscaler,
    back_pressure,
    call_graph_query,
    calls,
    cancellation,
    clients,
    cron,
    dispatch,
    events,
    function_info,
    function_shutdown,
    output,
    pool_scaling,
    provisioning,
    results,
    save_failures,
    secret_store,
    spans,
    spawn_limits,
    web_endpoints,
    worker_lifecycle,
    worker_shutdown,
)
from nbfn.hub.scheduler.effects import Effect, SaveSettings, SaveVariant
from nbfn.hub.scheduler.events import Event, Received
from nbfn.hub.scheduler.hub_state import HubState, Limits
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Definition


def _worker_exited(t: HubState, event: events.WorkerExited) -> None:
    worker_lifecycle.worker_exited(t, event)
    clients.worker_gone(t, event.worker)


_EVENT_HANDLERS: dict[type[Event], Callable[[HubState, Any], None]] = {
    events.ClientJoined: apps.client_joined,
    events.ClientLost: apps.client_lost,
    events.AppsRestored: apps.apps_restored,
    events.DiskMeasured: spawn_limits.disk_measured,
    events.SaveFailed: save_failures.save_failed,
    events.CallRestored: calls.call_restored,
    events.FailuresLoaded: calls.failures_loaded,
    events.InputsNotSent: results.inputs_not_sent,
    events.WorkerJoined: worker_lifecycle.worker_joined,
    events.BindNotSent: worker_lifecycle.bind_not_sent,
    events.WorkerLost: worker_lifecycle.worker_lost,
    events.WorkerExited: _worker_exited,
    events.WorkerNotStarted: provisioning.worker_not_started,
    events.Tick: lambda t, event: None,
}

_MESSAGE_HANDLERS: dict[type[m.Message], Callable[[HubState, str, Any], None]] = {
    m.ClientLeaves: apps.client_left,
    m.Register: apps.function_put,
    m.Deploy: apps.app_deployed,
    m.Rollback: apps.app_rolled_back,
    m.RunApp: apps.app_run_requested,
    m.StopApp: apps.app_stopped,
    m.FindApp: apps.app_requested,
    m.SetTags: apps.app_tagged,
    m.FollowApp: apps.app_followed,
    m.StopFunction: function_shutdown.function_stopped,
    m.RemoveFunction: function_shutdown.function_removed,
    m.ChangeEnvironment: apps.environment_changed,
    m.StopWorker: worker_shutdown.worker_stop_requested,
    m.PutCall: calls.call_put,
    m.PutInputs: calls.inputs_put,
    m.Cancel: cancellation.call_cancelled,
    m.Release: clients.call_released,
    m.Watch: calls.call_watched,
    m.GetCallGraph: call_graph_query.requested,
    m.GetInput: calls.input_requested,
    m.RetryCall: calls.retry_requested,
    m.RetryTaken: calls.retry_taken,
    m.Detach: calls.call_detached,
    m.TakeItems: calls.items_requested,
    m.ResultsTaken: back_pressure.results_taken,
    m.FeedInput: calls.input_fed,
    m.Results: results.results_arrived,
    m.Returned: results.leases_returned,
    m.Yielded: results.items_arrived,
    m.WantFeed: results.feed_requested,
    m.Emitted: output.emission_arrived,
    m.Bound: worker_lifecycle.worker_bound,
    m.BindFailed: worker_lifecycle.bind_failed,
    m.Goodbye: worker_lifecycle.worker_left,
    m.PutSecret: secret_store.secret_put,
    m.DeleteSecret: secret_store.secret_deleted,
    m.ListSecrets: secret_store.secrets_requested,
}


#: Messages that may change which Functions are scheduled.
_PLANNING: frozenset[type[m.Message]] = frozenset({
    *(m.Register, m.Deploy, m.Rollback, m.RunApp, m.StopApp, m.RemoveFunction, m.ChangeEnvironment),
})  # fmt: skip


class StateMachine:
    """The state of the hub, and the only way to change it.

    Args:
        new_id: Creates ids with a prefix.
        epoch: A number that is larger for each later hub process (its start, in seconds).
        limits: The settings that the state machine uses.
    """

    def __init__(
        self, new_id: Callable[[str], str], *, epoch: int = 1, limits: Limits | None = None
    ) -> None:
        self.hub_state = HubState(new_id, epoch, limits or Limits())
        self._message_handlers = _MESSAGE_HANDLERS | {
            m.BindVariant: _variant_put,
            m.SetAutoscaler: _settings_put,
        }

    def handle(self, event: Event, now: float, wall: float = 0.0) -> list[Effect]:
        """Process a single event and resize pools; arguments and result are those of `process`."""
        return [*self.process(event, now, wall), *self.scale_pools()]

    def process(self, event: Event, now: float, wall: float = 0.0) -> list[Effect]:
        """Process one event, without resizing pools.

        Args:
            event: What happened.
            now: Seconds on a clock that never goes back.
            wall: Seconds since 1970; used for schedules and for times that users see.

        Returns:
            The effects to carry out, in order.
        """
        t = self.hub_state
        t.now, t.wall = now, wall
        if t.started_at is None:
            t.started_at = now
        if type(event) is Received:
            kind = type(event.message)
            self._message_handlers[kind](t, event.sender, event.message)
        else:
            kind = None
            _EVENT_HANDLERS[type(event)](t, event)
        if type(event) is not events.DiskMeasured:  # that comes ten times a second
            t.overview_changed = True
        t.run_timers()
        if kind in _PLANNING:
            cron.review(t)
        cron.run(t)
        if t.to_dispatch:
            dispatch.dispatch_touched(t)
        return t.take_effects()

    def scale_pools(self) -> list[Effect]:
        """Resize the touched pools, provision workers for them, and add what workers ran to the timeline.

        Returns:
            The effects to carry out, in order.
        """
        t = self.hub_state
        if t.to_record:  # after the results were sent, which somebody waits for
            for ran in t.to_record:
                spans.add_results(t, *ran)
            t.to_record.clear()
        while t.to_resize or t.supply_due:
            t.overview_changed = True
            while t.to_resize:
                if t.to_dispatch:
                    dispatch.dispatch_touched(t)
                pool, _ = t.to_resize.popitem()
                pool_scaling.resize(t, pool)
            if t.supply_due:
                provisioning.supply(t)
        return t.take_effects()

    def next_deadline(self) -> float | None:
        """Return when the next timer is due, or None."""
        return self.hub_state.next_timer()

    def next_schedule_due(self) -> float:
        """Return when the next schedule is due, in seconds since 1970."""
        return self.hub_state.next_schedule_due

    def plan(self, wall: float) -> None:
        """Plan the schedules of restored Functions."""
        self.hub_state.wall = wall
        cron.review(self.hub_state)

    def needed(self) -> bool:
        """Whether an embedded hub must keep running: for a client, a warm pool, a schedule, a URL, or calls.

        A client that only watches (JupyterLab's panel, which names no Python) does not count.
        """
        t = self.hub_state
        return (
            bool(t.calls)
            or cron.waits(t)
            or any(client.connected and client.executable for client in t.clients.values())
            or any(
                p.settings.min_containers and not (p.retired or p.staged) for p in t.pools.values()
            )
            or web_endpoints.deployed(t)
        )


def _no_variant_of(t: HubState, base: FunctionRecord | None, given: str) -> tuple[str, str]:
    """Return the code and the reason why there can be no variant of a Function; the reason is "" if there can."""
    if base is None:
        return "not_found", f"No function has the id {given!r}."
    if t.registry.apps[base.app_id].final:
        return "not_found", t.registry.refusal(base, 0)
    variant = f"{base.name!r} is already a variant; create variants of its base Function instead."
    return "invalid", variant if base.base else ""


def _variant_put(t: HubState, sender: str, message: m.BindVariant) -> None:
    """Return a variant of a Function; create it if necessary."""
    base = t.registry.functions.get(message.function)
    code, text = _no_variant_of(t, base, message.function)
    if base is None or text:
        t.send(sender, m.Failed(message.request, code, text))
        return
    record, created = t.registry.bind(base, message.variant, message.digest, message.shown)
    # For a class that is only staged, its newest version.
    version = record.latest if record.latest in record.versions else max(record.versions)
    settings = pool_scaling.settings_of(t, record, version)
    lacking = secret_store.missing(t, record.environment_name, record.versions[version])
    odd = _contradiction(record.versions[version])
    problem = lacking or odd or _problem(t, record, settings)
    if created and problem:
        t.registry.forget(record)
        code = "not_found" if lacking else "invalid"
        t.send(sender, m.Failed(message.request, code, problem))
        return
    if created:
        t.emit(SaveVariant(record))
        if record.live:
            pool_scaling.retire_older_versions(t, record)
        t.changed()
    info = function_info.of(t, record, version, created=created)
    t.send(sender, m.Registered(message.request, info), after_commit=created)


def _contradiction(definition: Definition) -> str:
    """Return why the options of a variant contradict each other, or ""; the decorators check the same for Functions."""
    name, retries = definition.name, definition.retries.max_retries > 0
    if retries and definition.at_most_once:
        return f"{name!r} runs an input at most once, so it cannot have retries."
    if retries and definition.is_generator:
        return f"{name!r} yields, so it cannot have retries: its items were already handed out."
    if definition.single_use and (definition.concurrency.max_inputs or 1) > 1:
        return f"{name!r} has a fresh worker for each input, so it cannot run several at once."
    return ""


def _settings_put(t: HubState, sender: str, message: m.SetAutoscaler) -> None:
    """Override pool settings, if they are valid together."""
    record = t.registry.functions.get(message.function)
    if record is None:
        text = f"No function has the id {message.function!r}."
        t.send(sender, m.Failed(message.request, "not_found", text))
        return
    if not record.live:
        text = t.registry.refusal(record, 0)
        t.send(sender, m.Failed(message.request, "not_found", text))
        return
    given = {
        name: getattr(message.settings, name)
        for name in pool_settings.NAMES
        if getattr(message.settings, name) is not None
    }
    before = dict(record.overrides)
    record.overrides.update(given)
    settings = pool_scaling.settings_of(t, record, record.latest)
    if problem := _problem(t, record, settings):
        record.overrides = before
        t.send(sender, m.Failed(message.request, "invalid", problem))
        return
    pool = pool_scaling.pool_of(t, record, record.latest)
    pool.settings = settings
    t.touch(pool)
    t.emit(SaveSettings(record.id, dict(record.overrides)))
    in_force = m.PoolSettings(**{name: getattr(settings, name) for name in pool_settings.NAMES})
    t.send(sender, m.AutoscalerSet(message.request, in_force), after_commit=True)
    t.changed()


def _problem(t: HubState, record: FunctionRecord, settings: autoscaler.Settings) -> str:
    """Return why a Function's pool cannot have these settings; "" if it can."""
    least = settings.min_containers
    try:
        for name in pool_settings.NAMES:
            pool_settings.check_pool_setting(name, getattr(settings, name))
        pool_settings.check_pool_bounds(least, settings.max_containers)
    except InvalidError as error:
        return f"The pool of {record.name!r} cannot have these settings: {error}"
    if least > t.limits.max_workers:
        return (
            f"min_containers ({least}) of {record.name!r} is over this machine's limit of "
            f"{t.limits.max_workers} workers (setting max_workers)."
        )
    return ""
