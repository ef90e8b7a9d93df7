"""Calls the user's function once, for a single input or for the inputs of a batch.

Callers of a batched function pass single values. The function gets a list for each parameter and returns a list
with one value for each caller.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Sequence
from typing import Any

from nbfn.exception import InvalidError
from nbfn.protocol.messages import Definition, LeasedInput
from nbfn.serialization.payload import Serializer
from nbfn_kernel.worker import input_result
from nbfn_kernel.worker.input_result import InputResult
from nbfn_kernel.worker.target import Target

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)


def is_batched(definition: Definition) -> bool:
    """Return whether a Function, or a method of it, is batched."""
    settings = (definition.batching, *(method.batching for method in definition.methods))
    return any(batching.max_batch_size is not None for batching in settings)


def next_batch(todo: deque[LeasedInput]) -> list[LeasedInput]:
    """Remove the next input and the rest of its batch from the queue; return an empty list if the queue is empty."""
    try:
        entries = [todo.popleft()]
        while entries[0].batch and todo and todo[0].batch == entries[0].batch:
            entries.append(todo.popleft())
    except IndexError:  # the hub has recalled the inputs meanwhile
        return []
    return entries


class Batch:
    """One call of a target, with its inputs.

    Args:
        entries: The inputs; more than one only for a batched function.
        target: The function or method that they call.
        serializer: Unpickles arguments and pickles results.

    Attributes:
        lease: The lease of the first input, which identifies the batch.
    """

    __slots__ = ("_failed_by_others", "_load_failures", "_serializer", "entries", "lease", "target")

    def __init__(
        self, entries: Sequence[LeasedInput], target: Target, serializer: Serializer
    ) -> None:
        self.entries = entries
        self.target = target
        self.lease = entries[0].lease
        self._serializer = serializer
        # Results of inputs that cannot be unpickled, by lease.
        self._load_failures: dict[int, InputResult] = {}
        self._failed_by_others: set[int] = (
            set()
        )  # leases of inputs that fail because of other inputs of the batch

    def call(self) -> Any:
        """Unpickle the arguments and call the function; return what it returns, which may be awaitable."""
        if not self.entries[0].batch:
            args, kwargs = self._serializer.load(self.entries[0].payload)
            return self.target.function(*args, **kwargs)
        arguments = {}
        for entry in self.entries:
            try:
                arguments[entry.lease] = self._serializer.load(entry.payload)
            except Exception as error:  # noqa: BLE001 - unpickling runs user code
                self._load_failures[entry.lease] = self._failure(entry, error)
        if not arguments:
            return []
        try:
            args, kwargs = _collect_arguments(self.target, list(arguments.values()))
        except InvalidError:
            self._failed_by_others = {
                lease for lease, one in arguments.items() if _fits(self.target, one)
            }
            raise
        return self.target.function(*args, **kwargs)

    def success_results(self, value: Any) -> list[InputResult]:
        """Return the results of the inputs after the function has returned a value.

        Raises:
            InvalidError: If a batched function returned no list, or a list of the wrong length.
        """
        if not self.entries[0].batch:
            return [self._success(self.entries[0], value)]
        expected = len(self.entries) - len(self._load_failures)
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
        return [
            self._load_failures.get(e.lease) or self._success(e, next(values)) for e in self.entries
        ]

    def failure_results(self, error: BaseException) -> list[InputResult]:
        """Return the results of the inputs after the function has raised an exception."""
        return [self._load_failures.get(e.lease) or self._failure(e, error) for e in self.entries]

    def stop_results(
        self, reason: str, limit: float, error: BaseException | None
    ) -> list[InputResult]:
        """Return the results of inputs that were cancelled or timed out, or that a shutdown interrupted."""
        if reason != "timeout":
            return [(input_result.TERMINATED, None, False)] * len(self.entries)
        trace = error.__traceback__ if error is not None else None
        return [
            input_result.timed_out(
                *(self._carrier_for(e), self.target.name, limit, trace),
                logged_as=e.lease if e.unattended else 0,
            )
            for e in self.entries
        ]

    def _success(self, entry: LeasedInput, value: Any) -> InputResult:
        try:
            return input_result.success(self._carrier_for(entry), self.target.name, value)
        except Exception as error:  # noqa: BLE001 - pickling runs user code
            return self._failure(entry, error)

    def _failure(self, entry: LeasedInput, error: BaseException) -> InputResult:
        return input_result.failure(
            self._carrier_for(entry),
            error,
            self.target,
            logged_as=entry.lease if entry.unattended else 0,
            of_other_inputs=entry.lease in self._failed_by_others,
        )

    def _carrier_for(self, entry: LeasedInput) -> Serializer:
        return self._serializer.durable if entry.durable else self._serializer


def _fits(target: Target, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> bool:
    """Return whether the arguments of one input fit a batched function."""
    try:
        _collect_arguments(target, [arguments])
    except InvalidError:
        return False
    return True


def _check_count(function: str, name: str, count: int, callers: int) -> None:
    if count != callers:
        raise InvalidError(
            f"The inputs of one batch of {function!r} have different arguments: {name!r} was passed by "
            f"{count} of {callers} callers."
        )


def _collect_arguments(
    target: Target, arguments: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]
) -> tuple[list[list[Any]], dict[str, list[Any]]]:
    """Collect the callers' arguments into one list for each parameter of a batched function.

    Raises:
        InvalidError: If the arguments do not fit the function, or differ in which parameters they set.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target.function).parameters.items()
        if parameter.kind in _NAMED
    }
    by_position = [name for name, p in parameters.items() if p.kind in _POSITIONAL]
    lists: dict[str, list[Any]] = {}
    for args, kwargs in arguments:
        for name, value in _bind_arguments(
            target.name, parameters, by_position, args, kwargs
        ).items():
            lists.setdefault(name, []).append(value)
    for name in parameters:
        _check_count(target.name, name, len(lists.get(name, ())), len(arguments))
    kwargs_only = {name: lists[name] for name in parameters if name not in by_position}
    return [lists[name] for name in by_position], kwargs_only


def _bind_arguments(
    function: str,
    parameters: dict[str, inspect.Parameter],
    by_position: list[str],
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> dict[str, Any]:
    if len(args) > len(by_position):
        plural = "" if len(by_position) == 1 else "s"
        raise InvalidError(
            f"The batched function {function!r} takes {len(by_position)} positional argument{plural}; "
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
