"""`replayable`: an input that failed, with the code that it ran, brought into this process."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbfn import exception, remembered
from nbfn.client import Client
from nbfn.wire import messages
from nbfn.wire.messages import Definition, Payload


@dataclass(frozen=True, slots=True)
class Replay:
    """One input, ready to be run here.

    Attributes:
        name: The Function's name.
        version: The version of it that failed.
        function: Its code.
        args: What it was called with.
        kwargs: See there.
    """

    name: str
    version: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


async def replayable(client: Client, call: str, index: int = 0) -> Replay:
    """Find an input that failed.

    Args:
        client: Of this process.
        call: The call's id.
        index: The input.

    Raises:
        NotFoundError: If its arguments, or the code, are not there any more.
        InvalidError: If it was a call of a method, whose object is on its worker.
        DeserializationError: If it cannot be rebuilt in this process.
    """
    __tracebackhide__ = True
    function, version, payload = await _input(client, call, index)
    told: messages.DefinitionTold = await client.request(
        lambda number: messages.GetDefinition(number, function, version)
    )
    definition = told.definition
    if definition.kind == "cls":
        raise exception.InvalidError(
            f"{call} called a method of {definition.name!r}, whose object was on its worker. "
            "Make one here and call the method on it with .local(...)."
        )
    _show_lines(definition)
    raw = client.carrier.load(definition.payload)
    args, kwargs = client.carrier.load(payload)
    return Replay(definition.name, version, raw, args, kwargs)


async def _input(client: Client, call: str, index: int) -> tuple[str, int, Payload]:
    __tracebackhide__ = True
    if (mine := remembered.find(call, index)) is not None:
        return mine.function.id, mine.version, mine.payload
    try:
        told: messages.InputTold = await client.request(
            lambda number: messages.GetInput(number, call, index)
        )
    except exception.NotFoundError:
        raise exception.NotFoundError(
            f"The arguments of {call}[{index}] are gone, or it did not fail: of calls that are not spawned, "
            f"the process that made them remembers the latest {remembered.MOST} small inputs that failed."
        ) from None
    if told.payload is None:
        raise exception.NotFoundError(
            f"The arguments of {call}[{index}] are not kept: only those of inputs that failed are."
        )
    return told.function, told.version, told.payload


def _show_lines(definition: Definition) -> None:
    """Let tracebacks and the debugger show the lines that ran, whatever the cell says now."""
    for name, text in {**definition.helpers, definition.filename: definition.source}.items():
        if name and text and not linecache.getlines(name) and not Path(name).exists():
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
