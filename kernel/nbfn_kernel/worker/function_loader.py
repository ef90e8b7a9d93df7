"""Sets up the environment of a Function, loads its callable, and checks what the callable returns."""

from __future__ import annotations

import collections.abc
import contextlib
import importlib.metadata
import linecache
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbfn.exception import DeserializationError, InvalidError
from nbfn.protocol.messages import Bind, Definition, Environment
from nbfn.serialization.payload import Carrier

#: Values that no check for forgotten generators need look at.
PLAIN = frozenset({int, float, str, bytes, bool, type(None), list, dict, tuple})
_SUSPENDED = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


def enter(environment: Environment) -> None:
    """Make this process look like the one where the Function was defined: path and directory."""
    rest = [entry for entry in sys.path if entry not in environment.sys_path]
    sys.path[:] = [*environment.sys_path, *rest]
    with contextlib.suppress(OSError):
        os.chdir(environment.cwd)
    importlib.invalidate_caches()


def set_variables(bind: Bind) -> None:
    """Give this process the Function's environment variables, before any code of the user's."""
    os.environ.update(bind.variables)
    name = bind.environment_name
    os.environ.update(NBFN_ENVIRONMENT=name, MODAL_ENVIRONMENT=name)
    if "TZ" in bind.variables:
        time.tzset()


def load(carrier: Carrier, definition: Definition, names: dict[str, Any]) -> Callable[..., Any]:
    """Enter the Function's environment and rebuild its callable.

    Args:
        carrier: Of this process.
        definition: Of the Function.
        names: Take what was in `__main__` where it was defined.

    Raises:
        DeserializationError: If it cannot be rebuilt, or is not callable.
    """
    enter(definition.environment)
    _remember_source(definition)
    try:
        function = carrier.load_code(definition.payload, names)
    except DeserializationError as error:
        raise mismatched(definition, error) from error.__cause__
    if not callable(function):
        raise DeserializationError(
            f"{definition.name!r} is an object of type {type(function).__name__}, not a function."
        )
    return function  # type: ignore[no-any-return]


def mismatched(definition: Definition, error: DeserializationError) -> DeserializationError:
    """Say so when a definition was pickled under another Python or cloudpickle than this one's."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    cloudpickle = importlib.metadata.version("cloudpickle")
    was, made = definition.environment, []
    if was.python and was.python != python:
        made.append(f"Python {was.python} (here: {python})")
    if was.cloudpickle and was.cloudpickle.partition(".")[0] != cloudpickle.partition(".")[0]:
        made.append(f"cloudpickle {was.cloudpickle} (here: {cloudpickle})")
    if not made:
        return DeserializationError(f"{definition.name!r} cannot be loaded. {error}")
    return DeserializationError(
        f"{definition.name!r} was registered under {' and '.join(made)}, and cannot be rebuilt. "
        f"Deploy it again from this environment. {error}"
    )


def _remember_source(definition: Definition) -> None:
    """Let tracebacks show the lines of cells; their files exist in the notebook's memory only."""
    for name, text in {**definition.helpers, definition.filename: definition.source}.items():
        if name and text and not Path(name).exists():
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


def check_value(name: str, value: object) -> None:
    """Refuse a generator or coroutine that a plain function returned; let go of a figure.

    Raises:
        InvalidError: Says how to declare it.
    """
    if type(value).__module__.startswith("matplotlib."):
        _let_go(value)
    if isinstance(value, types.CoroutineType):
        value.close()
    if isinstance(value, _SUSPENDED):
        kind = type(value).__name__.replace("_", " ")
        hint = "Await it in an async def" if kind == "coroutine" else "Pass is_generator=True"
        raise InvalidError(
            f"{name!r} returned a {kind}, which cannot be sent. "
            f"{hint}, or return its values in a list."
        )


def _let_go(value: object) -> None:
    """Close a figure that is returned: who gets it shows it, or does not; here it is not shown as left open."""
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    figure = getattr(
        value, "figure", None
    )  # a figure's own is itself, an axes' the one it is part of
    if pyplot is not None and figure is not None:
        with contextlib.suppress(Exception):
            pyplot.close(figure)


def iterate(name: str, value: object) -> collections.abc.Iterator[Any]:
    """Return the iterator of what a generator Function returned.

    Raises:
        InvalidError: If it cannot be iterated over.
    """
    if isinstance(value, collections.abc.Iterable):
        return iter(value)
    raise InvalidError(
        f"{name!r} is a generator Function and returned {type(value).__name__}, "
        "which cannot be iterated over."
    )
