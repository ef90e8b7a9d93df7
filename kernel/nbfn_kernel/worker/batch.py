"""One call of the user's function: a single input, or the inputs of a batch.

The callers of a batched function give single values. The function gets a list for each parameter and returns a list
with a value for each caller.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Sequence
from typing import Any

from nbfn.exception import InvalidError
from nbfn.protocol.messages import Definition, LeasedInput
from nbfn.serialization.payload import Carrier
from nbfn_kernel.worker import input_result
from nbfn_kernel.worker.input_result import InputResult
from nbfn_kernel.worker.target import Target

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)


def batched(definition: Definition) -> bool:
    """Whether some inputs of a Function come in batches."""
    gathers = (definition.batching, *(method.batching for method in definition.methods))
    return any(batching.max_batch_size is not None for batching in gathers)


def take(todo: deque[LeasedInput]) -> list[LeasedInput]:
    """Take the next input from the queue, with the others of its batch; nothing when it is empty."""
    try:
        entries = [todo.popleft()]
        while entries[0].batch and todo and todo[0].batch == entries[0].batch:
            entries.append(todo.popleft())
    except IndexError:  # the hub took back what was there a moment ago
        return []
    return entries


class Batch:
    """One call of a target, with its inputs.

    Args:
        entries: Its inputs; several only of a batch.
        target: What they call.
        carrier: Of this process.

    Attributes:
        lease: What it is known by: the lease of its first input.
    """

    __slots__ = ("_bad", "_carrier", "_others", "entries", "lease", "target")

    def __init__(self, entries: Sequence[LeasedInput], target: Target, carrier: Carrier) -> None:
        self.entries = entries
        self.target = target
        self.lease = entries[0].lease
        self._carrier = carrier
        # Inputs of a batch that cannot be unpickled, by lease.
        self._bad: dict[int, InputResult] = {}
        self._others: set[int] = set()  # inputs of a batch that only others keep from being run

    def call(self) -> Any:
        """Unpickle the arguments and call the function; what it returns may have to be awaited."""
        if not self.entries[0].batch:
            args, kwargs = self._carrier.load(self.entries[0].payload)
            return self.target.function(*args, **kwargs)
        given = {}
        for entry in self.entries:
            try:
                given[entry.lease] = self._carrier.load(entry.payload)
            except Exception as error:  # noqa: BLE001 - unpickling runs user code
                self._bad[entry.lease] = self._failure(entry, error)
        if not given:
            return []
        try:
            args, kwargs = _gathered(self.target, list(given.values()))
        except InvalidError:
            self._others = {lease for lease, one in given.items() if _fits(self.target, one)}
            raise
        return self.target.function(*args, **kwargs)

    def returned(self, value: Any) -> list[InputResult]:
        """Return the answers of inputs whose function returned."""
        if not self.entries[0].batch:
            return [self._success(self.entries[0], value)]
        expected = len(self.entries) - len(self._bad)
        name = self.target.name
        if not isinstance(value, list):
            raise InvalidError(
                f"The batched function {name!r} must return a list with a value for each of its "
                f"{expected} inputs; it returned an object of type {type(value).__name__}."
            )
        if len(value) != expected:
            raise InvalidError(
                f"The batched function {name!r} got {expected} inputs and returned a list of "
                f"{len(value)}; it must return one value for each."
            )
        values = iter(value)
        return [self._bad.get(e.lease) or self._success(e, next(values)) for e in self.entries]

    def raised(self, error: BaseException) -> list[InputResult]:
        """Return the answers of inputs whose function raised."""
        return [self._bad.get(e.lease) or self._failure(e, error) for e in self.entries]

    def stopped(self, reason: str, limit: float, error: BaseException | None) -> list[InputResult]:
        """Return the answers of inputs that were told to stop."""
        if reason != "timeout":
            return [(input_result.TERMINATED, None, False)] * len(self.entries)
        trace = error.__traceback__ if error is not None else None
        return [
            input_result.late(
                *(self._for(e), self.target.name, limit, trace),
                logged_as=e.lease if e.unattended else 0,
            )
            for e in self.entries
        ]

    def _success(self, entry: LeasedInput, value: Any) -> InputResult:
        try:
            return input_result.success(self._for(entry), self.target.name, value)
        except Exception as error:  # noqa: BLE001 - pickling runs user code
            return self._failure(entry, error)

    def _failure(self, entry: LeasedInput, error: BaseException) -> InputResult:
        return input_result.failure(
            self._for(entry),
            error,
            self.target,
            logged_as=entry.lease if entry.unattended else 0,
            others=entry.lease in self._others,
        )

    def _for(self, entry: LeasedInput) -> Carrier:
        return self._carrier.durable if entry.durable else self._carrier


def _fits(target: Target, given: tuple[tuple[Any, ...], dict[str, Any]]) -> bool:
    """Return whether a batched function could be called with the arguments of this one input."""
    try:
        _gathered(target, [given])
    except InvalidError:
        return False
    return True


def _gathered(
    target: Target, given: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]
) -> tuple[list[list[Any]], dict[str, list[Any]]]:
    """Return a list for each parameter of a batched function, made of what each caller gave.

    Raises:
        InvalidError: If the callers' arguments do not fit the function, or each other.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target.function).parameters.items()
        if parameter.kind in _NAMED
    }
    by_position = [name for name, p in parameters.items() if p.kind in _POSITIONAL]
    lists: dict[str, list[Any]] = {}
    for args, kwargs in given:
        for name, value in _assigned(target.name, parameters, by_position, args, kwargs).items():
            lists.setdefault(name, []).append(value)
    for name in parameters:
        if len(lists.get(name, ())) != len(given):
            raise InvalidError(
                f"The inputs of one batch of {target.name!r} have differing arguments: {name!r} was given by "
                f"{len(lists.get(name, ()))} of {len(given)} callers."
            )
    kwargs_only = {name: lists[name] for name in parameters if name not in by_position}
    return [lists[name] for name in by_position], kwargs_only


def _assigned(
    function: str,
    parameters: dict[str, inspect.Parameter],
    by_position: list[str],
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> dict[str, Any]:
    if len(args) > len(by_position):
        raise InvalidError(
            f"The batched function {function!r} takes {len(by_position)} positional arguments; "
            f"a caller gave {len(args)}."
        )
    found = dict(zip(by_position, args, strict=False))
    for name, value in kwargs.items():
        if name not in parameters:
            raise InvalidError(
                f"The batched function {function!r} got an unexpected keyword argument {name!r}."
            )
        if name in found:
            raise InvalidError(
                f"The batched function {function!r} got multiple values for argument {name!r}."
            )
        found[name] = value
    return found
