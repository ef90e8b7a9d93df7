"""Sets up the environment of a Function, loads its callable, and checks its return values."""

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

from nbfn.exception import DataLossError, DeserializationError, InvalidError
from nbfn.protocol.messages import Bind, Definition, Environment
from nbfn.serialization.payload import Serializer

#: Types of return values that `check_value` accepts without a check.
PLAIN_TYPES = frozenset({int, float, str, bytes, bool, type(None), list, dict, tuple})
_SUSPENDED = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


def enter_environment(environment: Environment) -> None:
    """Set ``sys.path`` and the working directory to those of the process that defined the Function."""
    rest = [entry for entry in sys.path if entry not in environment.sys_path]
    sys.path[:] = [*environment.sys_path, *rest]
    with contextlib.suppress(OSError):
        os.chdir(environment.cwd)
    importlib.invalidate_caches()


def set_variables(bind: Bind) -> None:
    """Set the Function's environment variables; called before any user code runs."""
    os.environ.update(bind.variables)
    name = bind.environment_name
    os.environ.update(NBFN_ENVIRONMENT=name, MODAL_ENVIRONMENT=name)
    if "TZ" in bind.variables:
        time.tzset()


def load(
    serializer: Serializer, definition: Definition, names: dict[str, Any]
) -> Callable[..., Any]:
    """Enter the Function's environment and unpickle its callable.

    Args:
        serializer: Unpickles the code.
        definition: The definition of the Function.
        names: A namespace; the names that the Function uses of `__main__` are added to it.

    Returns:
        The function or class.

    Raises:
        DeserializationError: If the code cannot be unpickled, or is not callable.
        DataLossError: If a stored part of the code is missing or damaged.
    """
    enter_environment(definition.environment)
    _cache_source(definition)
    try:
        function = serializer.load_code(definition.payload, names)
    except DeserializationError as error:
        raise version_mismatch(definition, error) from error.__cause__
    except DataLossError as error:
        raise DataLossError(
            f"The code of {definition.name!r} is lost. Stop the hub (nbfn hub stop) and deploy it again. {error}"
        ) from error.__cause__
    if not callable(function):
        raise DeserializationError(
            f"{definition.name!r} is an object of type {type(function).__name__}, not a function."
        )
    return function  # type: ignore[no-any-return]


def version_mismatch(definition: Definition, error: DeserializationError) -> DeserializationError:
    """Return the error of a definition that cannot be loaded; it names differing versions of Python and cloudpickle."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    cloudpickle = importlib.metadata.version("cloudpickle")
    environment, differences = definition.environment, []
    if environment.python and environment.python != python:
        differences.append(f"Python {environment.python} (here: {python})")
    if (
        environment.cloudpickle
        and environment.cloudpickle.partition(".")[0] != cloudpickle.partition(".")[0]
    ):
        differences.append(f"cloudpickle {environment.cloudpickle} (here: {cloudpickle})")
    if not differences:
        return DeserializationError(f"{definition.name!r} cannot be loaded. {error}")
    return DeserializationError(
        f"{definition.name!r} was registered with {' and '.join(differences)} and cannot be loaded. "
        f"Deploy it again from this environment. {error}"
    )


def _cache_source(definition: Definition) -> None:
    """Add the source of cells, which have no files, to `linecache`, so that tracebacks show it."""
    for name, text in {**definition.helpers, definition.filename: definition.source}.items():
        if name and text and not Path(name).exists():
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


def check_value(name: str, value: object) -> None:
    """Check the return value of a plain function: refuse generators and coroutines, close figures.

    Raises:
        InvalidError: If it is a generator or a coroutine.
    """
    if type(value).__module__.startswith("matplotlib."):
        _close_figure(value)
    if isinstance(value, types.CoroutineType):
        value.close()
    if isinstance(value, _SUSPENDED):
        kind = type(value).__name__.replace("_", " ")
        hint = "Await it in an async def" if kind == "coroutine" else "Pass is_generator=True"
        raise InvalidError(
            f"{name!r} returned a {kind}, which cannot be sent. "
            f"{hint}, or return its values in a list."
        )


def _close_figure(value: object) -> None:
    """Close a returned figure, so that the worker does not display it: the caller decides whether to show it."""
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    figure = getattr(value, "figure", None)  # of a figure, itself; of axes, their figure
    if pyplot is not None and figure is not None:
        with contextlib.suppress(Exception):
            pyplot.close(figure)


def iterate(name: str, value: object) -> collections.abc.Iterator[Any]:
    """Return an iterator over the return value of a generator Function.

    Raises:
        InvalidError: If the value is not iterable.
    """
    if isinstance(value, collections.abc.Iterable):
        return iter(value)
    raise InvalidError(
        f"{name!r} is a generator Function and returned {type(value).__name__}, "
        "which is not iterable."
    )
