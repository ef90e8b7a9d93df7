"""Running failed inputs again from a notebook: with what its names mean today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbfn.api.call import FunctionCall
from nbfn.api.cls import Cls
from nbfn.api.function import Function


def register_newest(names: Mapping[str, Any], name: str) -> None:
    """Have the hub know today's version of a Function or class, where it is one of this notebook."""
    found = names.get(name)
    if isinstance(found, Function | Cls):
        found.hydrate()


def retry(handle: FunctionCall[Any], names: Mapping[str, Any]) -> int:
    """Have the failed inputs of a spawned call run again; return how many these are.

    Raises:
        Error: If there is no such call, or nothing to run again.
    """
    __tracebackhide__ = True
    register_newest(names, handle._call_info().name.partition(".")[0])
    return handle.retry()
