"""Extends cloudpickle's pickler so that it preserves file names of code, names of `__main__`, and cached functions.

cloudpickle 3.1.3 and later set the file name of all code that is pickled by value to ``<dynamic-code>``, so that
tracebacks cannot show the line of the user's code. In nbfn, the file name of a cell depends only on its text, so
pickles that contain it are reproducible.
"""

from __future__ import annotations

import contextlib
import copyreg
import functools
import io
import random
import sys
import types
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pickle import PickleBuffer
from typing import Any, ClassVar

import cloudpickle
from cloudpickle import cloudpickle as _inner

from nbfn import _unpickle
from nbfn.serialization import class_ids, class_pickling, namespace, parameters
from nbfn.serialization.wrappers import is_dispatcher, wrapped_parts

#: The version of cloudpickle.
VERSION: str = cloudpickle.__version__

_Cached = functools._lru_cache_wrapper
#: The file name with which cloudpickle replaces the original one in a reduced code object.
_NAMELESS = "<dynamic-code>"


def never(_thing: Any) -> bool:
    """Return False: the receiver captures no function."""
    return False


@dataclass(frozen=True, slots=True)
class _Replacing:
    instead: Mapping[int, Any]
    met: set[str]
    taken: Callable[[Any], bool]


_replacing: ContextVar[_Replacing | None] = ContextVar("_standing", default=None)


@contextlib.contextmanager
def replacing(
    instead: Mapping[int, Any], taken: Callable[[Any], bool] = never
) -> Iterator[set[str]]:
    """Pickle replacements for some objects while the block runs.

    Args:
        instead: The replacements, by the `id` of the original object.
        taken: Function that returns whether the receiver captures a function with its own code.

    Yields:
        A set to which the names of the modules of pickled classes are added.
    """
    met: set[str] = set()
    token = _replacing.set(_Replacing(instead, met, taken))
    try:
        yield met
    finally:
        _replacing.reset(token)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles code with its file name, and classes so that unpickling them in the same process returns the original.

    Examples:
        >>> import pickle
        >>> pickle.loads(dumps(compile("1", "here.py", "eval"))).co_filename
        'here.py'
    """

    _reducers: ClassVar[dict[type, Any]] = dict(_inner.Pickler._dispatch_table)
    dispatch_table: ClassVar[Any] = ChainMap(_reducers, copyreg.dispatch_table)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if update_table():
            self._reducers.update(TABLE)
        super().__init__(*args, **kwargs)
        self._standing = _replacing.get()

    def reducer_override(self, thing: Any) -> Any:
        """See `pickle.Pickler.reducer_override`."""
        if (standing := self._standing) is not None:
            other = standing.instead.get(id(thing))
            if other is not None:
                return _unpickle.same_object, (other,)
        if type(thing) is types.CodeType:
            made, given = _inner._code_reduce(thing)
            return made, tuple(thing.co_filename if part == _NAMELESS else part for part in given)
        if isinstance(thing, type):
            return self._reduced_class(thing)
        if is_dispatcher(thing):
            return reduce_single_dispatch(thing)
        reduced = super().reducer_override(thing)
        if type(reduced) is tuple and (name := namespace.main_name(thing)):
            return self._named_function(thing, name, reduced)
        return reduced

    def _reduced_class(self, kind: type) -> Any:
        if (standing := self._standing) is not None:
            standing.met.add(str(getattr(kind, "__module__", "")))
        self._settle(kind)
        reduced = super().reducer_override(kind)
        if type(reduced) is not tuple or len(reduced) != 6:
            return reduced
        make, given, state, *_ = reduced  # it is pickled by value
        given, state = class_pickling.complete_reduction(kind, given, state)
        name = namespace.main_name(kind)
        skeleton = (make, given, name)
        return _unpickle.class_skeleton, skeleton, state, None, None, _unpickle.set_class_state

    def _settle(self, kind: type) -> None:
        """Set an id that is the same in every process for a class that is an attribute of its module."""
        home = getattr(kind, "__module__", None)
        by_value = home == "__main__" or home in _inner._PICKLE_BY_VALUE_MODULES
        if by_value and class_ids.is_module_attribute(kind):
            class_ids.set_content_id(kind)

    def _named_function(self, function: Any, name: str, reduced: Any) -> Any:
        make, given, state, _, _, fill = reduced
        taken = self._standing is not None and self._standing.taken(function)
        how = _unpickle.main_function_or_own if taken else _unpickle.main_function
        set_state = _unpickle.set_function_state if taken else fill
        return how, (make, given, name), state, None, None, set_state


class FunctionPickler(Pickler):
    """Pickles equal functions to equal bytes, and functions with `functools.cache` by value.

    A pickle refers back to an object that it already contains, but not to an equal object. Which strings
    of code are the same object depends on whether it was compiled or read from a ``.pyc`` file, and the
    order of a set differs between processes. Therefore each part of code is pickled as a copy.

    Args:
        stream: The stream for the pickle.
        by_value: Function that returns whether a function is pickled by value.
    """

    def __init__(self, stream: io.BytesIO, by_value: Callable[[Any], bool]) -> None:
        super().__init__(stream, protocol=5)
        self._by_value = by_value
        self._copies: dict[str | bytes, str | bytes] = {}
        self._main: _Main | None = None

    def reducer_override(self, thing: Any) -> Any:
        """See `pickle.Pickler.reducer_override`."""
        standing = self._standing
        if standing is not None and id(thing) in standing.instead:
            return super().reducer_override(thing)
        if isinstance(thing, _Cached) and self._by_value(thing):
            return reduce_cached_function(thing)
        if type(thing) is types.CodeType:
            made, given = super().reducer_override(thing)
            return made, tuple(map(self._copy, given))
        return super().reducer_override(thing)

    def _settle(self, kind: type) -> None:
        if not _inner._should_pickle_by_reference(kind):
            class_ids.set_content_id(kind)

    def _function_getnewargs(self, function: types.FunctionType) -> Any:
        """Extend cloudpickle's method: functions of `__main__` share the globals of the worker's `__main__`."""
        code, names, *rest = super()._function_getnewargs(function)
        if namespace.is_main(function.__globals__):
            self._main = self._main or _Main(names)
            names = self._main
        return code, names, *rest

    def _copy(self, part: Any) -> Any:
        """Return a copy of a part of code that is shared only with equal parts of code."""
        kind = type(part)
        if kind is str or kind is bytes:
            return self._copies.setdefault(part, part[:1] + part[1:])
        if kind is tuple:
            return tuple(map(self._copy, part))
        if kind is frozenset:
            return _Ordered(sorted((self._copy(value) for value in part), key=repr))
        return part


class _Ordered:
    """Pickled as a frozenset whose values have a fixed order."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __reduce__(self) -> tuple[Any, ...]:
        return frozenset, (self._values,)


class _Main:
    """Pickled as the globals of the receiver's `__main__`."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.main_globals, (self._names,)


def _make_main_function(make: Callable[..., Any], given: tuple[Any, ...], name: str) -> Any:
    """Create a function and add it to `__main__` under this name."""
    function = make(*given)
    namespace.add_main_name(name, function)
    return function


def _find_or_make_main_function(make: Callable[..., Any], given: tuple[Any, ...], name: str) -> Any:
    """Return the function with this name and code that the receiver captures, or create the function."""
    return namespace.find_defined(name, given[0]) or _make_main_function(make, given, name)


def _set_function_state(function: types.FunctionType, state: Any) -> None:
    """Set the state of a function, unless the receiver captures it with its own code."""
    if not namespace.is_defined(function):
        _inner._function_setstate(function, state)


def dumps(value: Any, buffer_callback: Callable[[PickleBuffer], Any] | None = None) -> bytes:
    """Pickle a value.

    Args:
        value: The value.
        buffer_callback: Function that receives out-of-band buffers, see `pickle.Pickler`.
    """
    stream = io.BytesIO()
    Pickler(stream, protocol=5, buffer_callback=buffer_callback).dump(value)
    return stream.getvalue()


# --- reducers ------------------------------------------------------------------------------------


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


#: Names in pickles of nbfn 35f8363; see `nbfn._unpickle.MOVED`.
_cached, _itself = make_cached_function, _unpickle.same_object
