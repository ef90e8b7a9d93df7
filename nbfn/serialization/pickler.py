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
import types
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pickle import PickleBuffer
from typing import Any, ClassVar

import cloudpickle
from cloudpickle import cloudpickle as _inner

from nbfn import _unpickle
from nbfn.serialization import class_ids, class_pickling, namespace, reducers
from nbfn.serialization.wrappers import is_dispatcher

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
        if reducers.update_table():
            self._reducers.update(reducers.TABLE)
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
            return reducers.reduce_single_dispatch(thing)
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
            return reducers.reduce_cached_function(thing)
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


#: Names in pickles of nbfn 35f8363; see `nbfn._unpickle.MOVED`.
_cached, _itself = reducers.make_cached_function, _unpickle.same_object


def dumps(value: Any, buffer_callback: Callable[[PickleBuffer], Any] | None = None) -> bytes:
    """Pickle a value.

    Args:
        value: The value.
        buffer_callback: Function that receives out-of-band buffers, see `pickle.Pickler`.
    """
    stream = io.BytesIO()
    Pickler(stream, protocol=5, buffer_callback=buffer_callback).dump(value)
    return stream.getvalue()
