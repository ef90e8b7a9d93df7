"""``%fn replay``: runs a failed input in the notebook, under the debugger."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from IPython.core.error import StdinNotImplementedError, UsageError

from nbfn.api.replay import Replay
from nbfn.declarations import lifecycle
from nbfn.jupyter.views.calls.call_record import value_text


def run(replay: Replay) -> Any:
    """Run a failed input in this process.

    For a method, the enter hooks of its object run first, on the same event loop if both are async.

    Args:
        replay: The input.

    Returns:
        The result; for a generator, the list of its items.
    """
    __tracebackhide__ = True
    function, hooks = replay.make()
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        value = _apart(_entered(function, hooks, replay))
    else:
        for hook in hooks:
            lifecycle.call_hook(hook, lambda came: _apart(_awaited(came)))
        value = function(*replay.args, **replay.kwargs)
        if inspect.isasyncgen(value) or inspect.isawaitable(value):
            value = _apart(_items(value) if inspect.isasyncgen(value) else _awaited(value))
    value = list(value) if inspect.isgenerator(value) else value
    return value[0] if replay.batched else value


def run_with_hint(replay: Replay, which: str) -> Any:
    """Run a failed input in this process; if it fails here too, say how to open the debugger.

    Args:
        replay: The input.
        which: The call's id, with the index of the input.

    Returns:
        What `run` returns.
    """
    __tracebackhide__ = True
    try:
        return run(replay)
    except Exception:
        print(  # noqa: T201 - the cell's own output
            f"{replay.name} v{replay.version} failed here, too. %debug opens the debugger at the line that raised; "
            f"%fn replay {which} runs it again, under the debugger.",
            file=sys.stderr,
        )
        raise


async def _entered(
    function: Callable[..., Any], hooks: Sequence[Callable[[], Any]], replay: Replay
) -> Any:
    __tracebackhide__ = True
    for hook in hooks:
        if inspect.isawaitable(came := hook()):
            await came
    value = function(*replay.args, **replay.kwargs)
    return await (_items(value) if inspect.isasyncgen(value) else value)


async def _awaited(value: Any) -> Any:
    __tracebackhide__ = True
    return await value


async def _items(items: Any) -> list[Any]:
    __tracebackhide__ = True
    return [item async for item in items]


def _apart(coroutine: Any) -> Any:
    """Run a coroutine in a new thread, since this cell blocks the notebook's event loop."""
    __tracebackhide__ = True
    ended: list[Any] = []

    def work() -> None:
        try:
            ended.extend((asyncio.run(coroutine), None))
        except BaseException as error:  # noqa: BLE001 - raised again below
            ended.extend((None, error))

    thread = threading.Thread(target=work, name="nbfn-replay", daemon=True)
    thread.start()
    thread.join()
    value, error = ended
    if error is not None:
        raise error
    return value


def debug(shell: Any, replay: Replay) -> None:
    """Run a failed input in this process, and open the debugger where it fails.

    Args:
        shell: The IPython shell.
        replay: The input.

    Raises:
        UsageError: If the front end cannot send input to a debugger.
    """
    try:
        value = run(replay)
    except Exception:  # noqa: BLE001 - the user's error, which is displayed
        shell.showtraceback(running_compiled_code=True)
    else:
        print(f"{replay.name} v{replay.version} did not fail here; it returned {value_text(value)}")  # noqa: T201
        return
    if getattr(shell, "kernel", None) is None and not sys.stdin.isatty():
        raise UsageError("This front end cannot send input to a debugger. Use %fn replay --run ID.")
    try:
        shell.debugger(force=True)
    except StdinNotImplementedError:
        raise UsageError(
            "This front end cannot send input to a debugger. Use %fn replay --run ID."
        ) from None
