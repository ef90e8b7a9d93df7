"""Between the wire's messages and the state machine's events and effects: one table each way, no
decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from nbfn.hub.scheduler import effects, web_endpoints
from nbfn.hub.scheduler.app_records import Deployment
from nbfn.hub.scheduler.effects import Effect, Outcome
from nbfn.hub.scheduler.payloads import weights
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Message

#: Inputs in one message to a worker.
MOST_INPUTS = 1024

replace = msgspec.structs.replace


def said(effect: Effect) -> tuple[str, Iterable[Message]]:
    """Return to whom an effect speaks, and the messages: several where one would be too large."""
    if (divide := _DIVIDED.get(type(effect))) is not None:
        return divide(effect)
    to, message = _SAID[type(effect)](effect)
    return to, (message,)


def outputs(call: str, outcomes: Sequence[Outcome]) -> Iterator[m.Outputs]:
    """Yield the messages that carry outcomes."""
    for part in codec.split(outcomes, effects.total_weight):
        yield _outputs(call, part)


def _outputs(call: str, outcomes: Sequence[Outcome]) -> m.Outputs:
    return m.Outputs(call, tuple(_output(o) for o in outcomes))


def _output(o: Outcome) -> m.Output:
    fault = m.Fault(*o.fault) if o.fault is not None else None
    return m.Output(
        *(o.index, o.status, o.payload, fault, o.duration, o.worker, o.attempt, o.attempts)
    )


def _run(x: effects.RunInputs) -> tuple[str, Iterable[Message]]:
    if x.weight <= codec.MOST_BYTES and len(x.grants) <= MOST_INPUTS:
        return x.worker, (m.Run(_leased(x.grants), x.confirm, levels=x.levels),)
    return x.worker, _runs(x)


def _runs(x: effects.RunInputs) -> Iterator[m.Run]:
    """Yield the messages for inputs that are too large for one; the last part of a batch ends it."""
    left = len(x.grants)
    for part in codec.split(x.grants, _weigh, most=MOST_INPUTS):
        left -= len(part)
        goes_on = left > 0 and part[-1].batch > 0 and part[-1].batch == x.grants[-left].batch
        yield m.Run(_leased(part), x.confirm, goes_on, x.levels)


def _weigh(grants: Sequence[effects.Grant]) -> int:
    return sum(weights([grant.payload for grant in grants]))


def _leased(grants: Sequence[effects.Grant]) -> tuple[m.LeasedInput, ...]:
    return tuple(
        m.LeasedInput(
            *(g.lease, g.call, g.index, g.attempt, g.payload),
            *(g.durable, g.method, g.batch, g.unattended),
        )
        for g in grants
    )


def _deliver(x: effects.Deliver) -> tuple[str, Iterable[Message]]:
    if x.weight <= codec.MOST_BYTES and len(x.outcomes) <= codec.MOST_ENTRIES:
        return x.client, (_outputs(x.call, x.outcomes),)
    return x.client, outputs(x.call, x.outcomes)


def info(record: FunctionRecord, version: int, *, created: bool) -> m.FunctionInfo:
    """Return what a client learns of a Function."""
    definition: Any = record.versions[version]
    labels = web_endpoints.labels_of(record, definition)
    return m.FunctionInfo(
        id=record.id,
        app_id=record.app_id,
        app=record.app,
        name=record.name,
        version=version,
        deployed=record.deployed,
        is_generator=definition.is_generator,
        is_async=definition.is_async,
        signature=definition.signature,
        doc=definition.doc,
        environment=definition.environment,
        timeout=definition.timeout,
        pool=definition.pool,
        created=created,
        kind=definition.kind,
        methods=tuple(
            replace(method, endpoint=_labelled(method.endpoint, labels.get(method.name, "")))
            for method in definition.methods
        ),
        parameters=definition.parameters,
        endpoint=_labelled(definition.endpoint, labels.get("", "")),
        batching=definition.batching,
        environment_name=record.environment_name,
        takes_arguments=definition.takes_arguments,
        owner=definition.owner,
        made=definition.made,
    )


def _labelled(endpoint: m.Endpoint | None, label: str) -> m.Endpoint | None:
    return None if endpoint is None else replace(endpoint, label=label)


def deployment(made: Deployment) -> m.DeploymentRow:
    """Return what people are told of a deployment."""
    return m.DeploymentRow(
        made.version, made.at, made.client, made.by, made.commit, made.tag, made.functions
    )


def _answer(x: effects.Answer) -> tuple[str, Message]:
    if x.what == "registered":
        record, version, created = x.value
        return x.client, m.Registered(x.request, info(record, version, created=created))
    if x.what == "settings":
        s = x.value
        pool = m.PoolSettings(
            s.min_containers, s.max_containers, s.buffer_containers, s.scaledown_window
        )
        return x.client, m.AutoscalerSet(x.request, pool)
    if x.what == "secrets":
        rows = (
            m.SecretRow(r.name, r.environment_name, r.created, tuple(sorted(r.values)))
            for r in x.value
        )
        return x.client, m.Secrets(x.request, codec.fitting(rows))
    if x.what == "retried":
        return x.client, m.CallRetried(x.request, x.value)
    return x.client, m.Done(x.request)


def _bind(x: effects.BindWorker) -> tuple[str, Message]:
    # The worker gets each variable once, resolved; not where it came from.
    full: Any = x.definition
    definition = replace(full, env={}, secrets=())
    variables = dict(x.variables)
    return x.worker, m.Bind(
        x.function, x.version, definition, variables, x.environment_name, x.threads
    )


def _progress(x: effects.TellProgress) -> tuple[str, Message]:
    return x.client, m.Progress(
        x.call,
        x.queued,
        x.running,
        x.retrying,
        x.workers,
        x.starting,
        x.waiting_for,
        x.newest,
        x.done,
        x.failed,
        x.total,
        x.place,
        x.worker,
        x.attempt,
    )


def _items(x: effects.DeliverItems) -> tuple[str, Message]:
    # As many as came in one message.
    return x.client, m.Items(x.call, x.index, x.start, tuple(x.payloads))


def _emission(x: effects.DeliverEmission) -> tuple[str, Message]:
    return x.client, m.Emission(x.call, x.index, x.attempt, x.channel, x.data, x.worker)


_SAID: dict[type[Effect], Callable[[Any], tuple[str, Message]]] = {
    effects.DrainWorker: lambda x: (x.worker, m.Drain()),
    effects.RefuseWorker: lambda x: (x.worker, m.Refused("conflict", x.reason)),
    effects.BindWorker: _bind,
    effects.ConfirmResults: lambda x: (x.worker, m.Confirm(x.upto)),
    effects.CancelLease: lambda x: (x.worker, m.CancelInput(x.lease)),
    effects.RecallLeases: lambda x: (x.worker, m.Recall()),
    effects.WantItems: lambda x: (x.worker, m.ItemsTaken(x.lease, x.upto)),
    effects.FeedLease: lambda x: (x.worker, m.Fed(x.lease, x.data)),
    effects.AskFeed: lambda x: (x.client, m.FeedWanted(x.call, x.index, x.attempt, x.upto)),
    effects.DeliverItems: _items,
    effects.DeliverEmission: _emission,
    effects.DeliverAppOutput: lambda x: (
        x.client,
        m.AppOutput(x.app, x.function, x.call, x.index, x.channel, x.data),
    ),
    effects.Accept: lambda x: (x.client, m.Accepted(x.call, x.upto, x.closed)),
    effects.RefuseCall: lambda x: (x.client, m.CallRefused(x.call, x.code, x.message)),
    effects.GrantWindow: lambda x: (x.client, m.Window(x.call, x.size)),
    effects.TellProgress: _progress,
    effects.Answer: _answer,
    effects.Refuse: lambda x: (x.client, m.Failed(x.request, x.code, x.message)),
}

#: Effects that may be too much for one message.
_DIVIDED: dict[type[Effect], Callable[[Any], tuple[str, Iterable[Message]]]] = {
    effects.RunInputs: _run,
    effects.Deliver: _deliver,
}
