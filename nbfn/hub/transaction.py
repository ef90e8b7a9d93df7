"""A transaction: the saves of one event, and the effects after its commit or after a failed save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler.effects import Effect
from nbfn.hub.scheduler.events import SaveFailed
from nbfn.protocol import messages as m
from nbfn.types import InputStatus

#: Effects that read from the store.
LOADS = frozenset({fx.LoadCall, fx.LoadGraph, fx.LoadInput, fx.LoadInputs, fx.LoadFailures})


@dataclass(slots=True)
class Transaction:
    """The saves of one event, and the effects to carry out after the commit."""

    saves: list[Effect]
    on_commit: list[Effect]
    size: int = 0  # bytes of new inputs
    failed: list[SaveFailed] = field(default_factory=list)

    @property
    def calls(self) -> set[str]:
        """The calls that the saves belong to."""
        return {call for save in self.saves if (call := getattr(save, "call", ""))}


def is_new(save: Effect) -> bool:
    """Whether a save adds new work that was not accepted yet."""
    return isinstance(save, fx.SaveRetry) or (isinstance(save, fx.SaveCall) and bool(save.inputs))


def calls_read(load: Effect) -> set[str]:
    """Return the calls that a load reads."""
    if isinstance(load, fx.LoadInputs):
        return {leased.call for leased in load.run.inputs}
    return {getattr(load, "call", "")}


def only_reads(unit: Transaction) -> bool:
    """Whether a transaction only reads."""
    return all(type(save) in LOADS for save in unit.saves)


def split(save: Effect) -> Sequence[Effect]:
    """Split a save into parts that can fail independently."""
    if isinstance(save, fx.SaveOutcomes):
        return [fx.SaveOutcomes(save.call, [outcome]) for outcome in save.outcomes]
    return [save]


def not_stored(error: Exception) -> str:
    """Return the error text for a change that cannot be stored."""
    return (
        f"This cannot be stored ({type(error).__name__}: {error}). See logs/hub.log in NBFN_HOME."
    )


def with_failures(effect: Effect, failed: Sequence[SaveFailed]) -> Effect:
    """Return the effect to carry out when some saves of its event failed."""
    if not isinstance(effect, fx.Send):
        return effect
    message = effect.message
    calls = {fail.save.call: fail for fail in failed if isinstance(fail.save, fx.SaveCall)}
    if isinstance(message, m.Accepted) and (fail := calls.get(message.call)) is not None:
        return fx.Send(effect.to, m.CallRefused(message.call, fail.code, fail.reason))
    lost = {
        (fail.save.call, fail.save.outcomes[0].index): fail
        for fail in failed
        if isinstance(fail.save, fx.SaveOutcomes)
    }
    if isinstance(message, m.Outputs) and lost:
        outputs = [
            lost_outcome(fail.save, fail) if (fail := lost.get((message.call, o.index))) else o
            for o in message.outputs
        ]
        return fx.Send(effect.to, m.Outputs(message.call, tuple(outputs)), effect.after_commit)
    others = [fail for fail in failed if not isinstance(fail.save, fx.SaveOutcomes | fx.SaveCall)]
    if others and is_answer(effect):
        return refusal(effect, others[0].code, others[0].reason)
    return effect


def lost_outcome(save: fx.SaveOutcomes, failed: SaveFailed) -> m.Output:
    """Return the failure to store in place of an outcome that cannot be stored."""
    fault = m.Fault("data_loss", failed.reason)
    return m.Output(save.outcomes[0].index, int(InputStatus.INTERNAL_FAILURE), None, fault)


def is_answer(effect: Effect) -> bool:
    """Whether an effect answers a request."""
    return isinstance(effect, fx.Send) and hasattr(effect.message, "request")


def refusal(asked: Effect, code: str, text: str) -> fx.Send:
    """Return the message that fails the request which an effect answers."""
    if isinstance(asked, fx.Send):
        client, request = asked.to, getattr(asked.message, "request", 0)
    else:
        client, request = getattr(asked, "client", ""), getattr(asked, "request", 0)
    return fx.Send(client, m.Failed(request, code, text))
