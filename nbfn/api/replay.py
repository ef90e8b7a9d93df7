"""`replayable`: loads an input that failed, with the code that it ran, into this process."""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbfn import exception
from nbfn.api.cls import Cls
from nbfn.client.calls import recent_failures
from nbfn.client.client import Client
from nbfn.declarations import lifecycle
from nbfn.protocol import messages
from nbfn.protocol.messages import Definition, Method, Payload

#: The function to call, and the enter hooks to call before it.
Ready = tuple[Callable[..., Any], Sequence[Callable[[], Any]]]


@dataclass(frozen=True, slots=True)
class Replay:
    """An input that can be run in this process.

    Attributes:
        name: The Function's name; of a method with its class's.
        version: The version of it that failed.
        make: Returns its code; for a method it makes the object as a worker would.
        args: The arguments; of a batched Function as a batch of one.
        kwargs: The keyword arguments, likewise.
        batched: Whether the body takes, and returns, lists.
    """

    name: str
    version: int
    make: Callable[[], Ready]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batched: bool = False


async def replayable(client: Client, call: str, index: int = 0) -> Replay:
    """Find an input that failed.

    Args:
        client: The connection to use.
        call: The call's id.
        index: The input.

    Raises:
        NotFoundError: If its arguments or its code are not stored any more.
        DeserializationError: If it cannot be unpickled in this process.
    """
    __tracebackhide__ = True
    found = await _input(client, call, index)
    answer: messages.DefinitionTold = await client.request(
        lambda number: messages.GetDefinition(number, found.function, found.version)
    )
    definition = answer.definition
    _show_lines(definition)
    raw = client.serializer.load(definition.payload)
    args, kwargs = client.serializer.load(found.payload)
    name, batching = definition.name, definition.batching
    make: Callable[[], Ready] = lambda: (raw, ())  # noqa: E731 - the other one is long
    if definition.kind == "cls":
        name = f"{name}.{found.method}"
        batching = _method(definition, found.method).batching
        make = functools.partial(_of_object, client, definition, raw, found)
    if batched := batching.max_batch_size is not None:
        args, kwargs = tuple([a] for a in args), {key: [a] for key, a in kwargs.items()}
    return Replay(name, found.version, make, args, kwargs, batched)


def _method(definition: Definition, name: str) -> Method:
    for method in definition.methods:
        if method.name == name:
            return method
    raise exception.NotFoundError(f"Class {definition.name!r} has no method {name!r}.")


def _of_object(client: Client, definition: Definition, cls: Any, found: _Found) -> Ready:
    """Make an object as the worker does, but do not run its enter hooks yet."""
    __tracebackhide__ = True
    given, load = definition.arguments, client.serializer.load
    thing = lifecycle.make_from_handle(
        cls,
        given.data if given is not None else None,
        lambda: load(given) if given is not None else ((), {}),
    )
    of_worker = functools.partial(
        Cls._method_of_worker, found.function, found.version, definition.name
    )
    lifecycle.set_method_factory(thing, of_worker)
    return lifecycle.remote_methods(cls)[found.method].raw.__get__(thing), lifecycle.enter_hooks(
        thing
    )


@dataclass(frozen=True, slots=True)
class _Found:
    function: str
    version: int
    method: str
    payload: Payload


async def _input(client: Client, call: str, index: int) -> _Found:
    __tracebackhide__ = True
    if (mine := recent_failures.find(call, index)) is not None:
        return _Found(mine.function.id, mine.version, mine.function.method, mine.payload)
    try:
        answer: messages.InputTold = await client.request(
            lambda number: messages.GetInput(number, call, index)
        )
    except exception.NotFoundError:
        raise exception.NotFoundError(
            f"The arguments of {call}[{index}] are gone, or it did not fail: of calls that are not spawned, "
            f"the process that made them keeps the latest {recent_failures.MOST} small inputs that failed."
        ) from None
    if answer.payload is None:
        raise exception.NotFoundError(
            f"The arguments of {call}[{index}] are not kept: only those of inputs that failed are."
        )
    return _Found(answer.function, answer.version, answer.method, answer.payload)


def _show_lines(definition: Definition) -> None:
    """Make tracebacks and the debugger show the lines that ran, even if the cell has changed."""
    for name, text in {**definition.helpers, definition.filename: definition.source}.items():
        if name and text and not linecache.getlines(name) and not Path(name).exists():
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
