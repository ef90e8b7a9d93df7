"""Decomposes the wrappers of `functools`, so that they are pickled without their caches and locks."""

from __future__ import annotations

import functools
import types
from typing import Any

#: The code of the wrapper that `functools.singledispatch` returns.
_DISPATCHER = functools.singledispatch(lambda _: None).__code__  # type: ignore[attr-defined]


def is_dispatcher(thing: Any) -> bool:
    """Return whether `functools.singledispatch` returned a function."""
    return isinstance(thing, types.FunctionType) and thing.__code__ is _DISPATCHER


def wrapped_parts(thing: Any) -> tuple[Any, ...] | None:
    """Return the arguments from which a reducer rebuilds a wrapper of `functools`; None for others."""
    if type(thing) is functools.cached_property:
        return thing.func, thing.attrname
    if type(thing) is functools._lru_cache_wrapper:
        return thing.__wrapped__, *thing.cache_parameters().values()
    if type(thing) is functools.singledispatchmethod:
        return thing.dispatcher, thing.func
    if is_dispatcher(thing):
        others = tuple(pair for pair in thing.registry.items() if pair[0] is not object)
        return thing.registry[object], others
    return None
