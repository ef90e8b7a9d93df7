"""Defines reducers for objects that cloudpickle cannot pickle, or does not pickle correctly."""

from __future__ import annotations

import functools
import random
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from cloudpickle import cloudpickle as _inner

from nbfn import _unpickle
from nbfn.serialization import class_ids, namespace, parameters
from nbfn.serialization.wrappers import wrapped_parts


def is_importable(thing: Any, name: str) -> bool:
    """Return whether other processes can import an object by this name.

    Args:
        thing: The object.
        name: Its qualified name.
    """
    found = _inner._lookup_module_and_qualname(thing, name=name)
    return found is not None and not _inner._is_registered_pickle_by_value(found[0])


# --- type parameters -----------------------------------------------------------------------------


def _reduce_type_parameter(thing: Any) -> Any:
    name = getattr(thing, "__qualname__", thing.__name__)
    if is_importable(thing, name):
        return name
    made_of = parameters.parameter_parts(thing)
    given = (type(thing).__module__, str(thing.__module__), name, made_of)
    if made_of[0] == "TypeAliasType":  # it has no weak references, so its name identifies it
        return _unpickle.type_alias, given
    class_ids.set_content_id(thing)
    return _unpickle.type_parameter, (_inner._get_or_create_tracker_id(thing), *given)


def make_type_alias(home: str, module: str, name: str, made_of: tuple[Any, ...]) -> Any:
    """Return the type alias with this name in this process if it is equal, or create one."""
    mine = namespace.lookup(module, name)
    if type(mine) in parameters.KINDS and parameters.parameter_parts(mine) == made_of:
        return mine
    return parameters.make_parameter(home, module, name, made_of)


def make_type_parameter(key: str, *given: Any) -> Any:
    """Return the type parameter with this id in this process, or create one."""
    return _inner._lookup_class_or_track(key, parameters.make_parameter(*given))


# --- functools -----------------------------------------------------------------------------------


def _reduce_cached_property(thing: functools.cached_property[Any]) -> Any:
    return _unpickle.cached_property, wrapped_parts(thing)


def make_cached_property(function: Callable[[Any], Any], name: str | None) -> Any:
    """Create a cached property. On Python 3.11 it has a lock, which cannot be pickled."""
    made = functools.cached_property(function)
    made.attrname = name
    return made


def reduce_cached_function(thing: Any) -> Any:
    """Reduce a function with `functools.lru_cache`, without the contents of its cache."""
    return _unpickle.cached_function, wrapped_parts(thing)


def make_cached_function(
    function: Callable[..., Any], maxsize: int | None, typed: bool
) -> Callable[..., Any]:
    """Wrap a function with an empty cache."""
    return functools.lru_cache(maxsize, typed)(function)


def _reduce_cache(thing: Any) -> Any:
    name = getattr(thing, "__qualname__", "")
    return name if is_importable(thing, name) else reduce_cached_function(thing)


def reduce_single_dispatch(function: Any) -> Any:
    """Reduce a function of `functools.singledispatch`, without its caches and locks."""
    return _unpickle.single_dispatch, wrapped_parts(function)


def make_single_dispatch(
    function: Callable[..., Any], others: Iterable[tuple[type, Callable[..., Any]]]
) -> Any:
    """Create a single-dispatch function.

    Args:
        function: The implementation for any object.
        others: The types, with their implementations.
    """
    made = functools.singledispatch(function)
    for kind, other in others:
        made.register(kind, other)
    return made


def _reduce_single_dispatch_method(thing: functools.singledispatchmethod[Any]) -> Any:
    return _unpickle.single_dispatch_method, wrapped_parts(thing)


def make_single_dispatch_method(dispatcher: Any, function: Callable[..., Any]) -> Any:
    """Create a single-dispatch method. From Python 3.13 on it has a cache, which is not pickled."""
    made = functools.singledispatchmethod(function)
    made.dispatcher = dispatcher
    return made


# --- the global random generators of modules -----------------------------------------------------


def _reduce_random(thing: random.Random) -> Any:
    if thing is random._inst:
        return getattr, (
            random,
            "_inst",
        )  # by name, like `random.random`: each worker has its own state
    return thing.__reduce_ex__(4)


def _reduce_random_state(thing: Any) -> Any:
    module = sys.modules["numpy.random.mtrand"]
    if thing is module._rand:
        return getattr, (module, "_rand")
    return thing.__reduce_ex__(4)


# --- references ----------------------------------------------------------------------------------


def _reduce_weak_dictionary(thing: Any) -> Any:
    return type(thing), (dict(thing),)


#: The reducers, by the type of the objects that they reduce.
TABLE: dict[type, Callable[[Any], Any]] = {
    functools.cached_property: _reduce_cached_property,
    functools._lru_cache_wrapper: _reduce_cache,
    functools.singledispatchmethod: _reduce_single_dispatch_method,
    random.Random: _reduce_random,
    random.SystemRandom: lambda thing: (type(thing), ()),  # it has no state
    weakref.WeakKeyDictionary: _reduce_weak_dictionary,
    weakref.WeakValueDictionary: _reduce_weak_dictionary,
}
_module_count = 0


def update_table() -> bool:
    """Add reducers for types of modules that were imported since the last call.

    Returns:
        Whether any module was imported since.
    """
    global _module_count
    if len(sys.modules) == _module_count:
        return False
    _module_count = len(sys.modules)
    parameters.update_kinds()
    TABLE.update(dict.fromkeys(parameters.KINDS, _reduce_type_parameter))
    if (mtrand := sys.modules.get("numpy.random.mtrand")) is not None:
        TABLE.setdefault(mtrand.RandomState, _reduce_random_state)
    return True
