"""Retries failed inputs from a notebook, with the current versions of its Functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbfn.api.call import FunctionCall
from nbfn.api.cls import Cls
from nbfn.api.function import Function


def register_newest(names: Mapping[str, Any], name: str) -> None:
    """Register the current version of a Function or class of this notebook.

    Args:
        names: The notebook's namespace.
        name: The name of the Function or class; ignored if it is not in the namespace.
    """
    found = names.get(name)
    if isinstance(found, Function | Cls):
        found.hydrate()


def retry(handle: FunctionCall[Any], names: Mapping[str, Any]) -> int:
    """Retry the failed inputs of a spawned call.

    Args:
        handle: The call.
        names: The notebook's namespace.

    Returns:
        The number of inputs.

    Raises:
        Error: If there is no such call, or nothing to retry.
    """
    __tracebackhide__ = True
    register_newest(names, handle._call_info().name.partition(".")[0])
    return handle.retry()
