"""cloudpickle's pickler, with two things kept that it lets go: where code was written, and caches.

cloudpickle 3.1.3 and later name the file of all code that travels by value ``<dynamic-code>``. Then no
traceback could show the user's own line. nbfn's names of cells are made of their text, so the pickle
is the same every time also with the name in it.
"""

from __future__ import annotations

import functools
import io
import types
from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _inner

from nbfn import identity

#: cloudpickle's own version.
VERSION: str = cloudpickle.__version__

_Cached = functools._lru_cache_wrapper
#: What stands in a reduced code object for the file, where cloudpickle takes that away.
_NAMELESS = "<dynamic-code>"


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles code with the name of its file.

    Examples:
        >>> import pickle
        >>> pickle.loads(dumps(compile("1", "here.py", "eval"))).co_filename
        'here.py'
    """

    def reducer_override(self, thing: Any) -> Any:
        """See `pickle.Pickler.reducer_override`."""
        if type(thing) is types.CodeType:
            made, given = _inner._code_reduce(thing)
            return made, tuple(thing.co_filename if part == _NAMELESS else part for part in given)
        return super().reducer_override(thing)


class FunctionPickler(Pickler):
    """Gives the same bytes for the same function, and takes along what `functools.cache` was put on.

    A pickle says of an object that came before that it did, and of equal ones nothing. Which strings
    of code are one object depends on whether it was compiled or read from a ``.pyc`` file, and the
    order of a set on the process: so each part of code is written as a copy of its own.

    Args:
        stream: Takes the bytes.
        by_value: Says whether a function of the user's travels by value.
    """

    def __init__(self, stream: io.BytesIO, by_value: Callable[[Any], bool]) -> None:
        super().__init__(stream, protocol=5)
        self._by_value = by_value
        self._copies: dict[str | bytes, str | bytes] = {}

    def reducer_override(self, thing: Any) -> Any:
        """See `pickle.Pickler.reducer_override`."""
        if isinstance(thing, _Cached) and self._by_value(thing):
            return _cached, (thing.__wrapped__, *thing.cache_parameters().values())
        if type(thing) is types.CodeType:
            made, given = super().reducer_override(thing)
            return made, tuple(map(self._copy, given))
        if isinstance(thing, type) and not _inner._should_pickle_by_reference(thing):
            identity.settle(thing)
        return super().reducer_override(thing)

    def _copy(self, part: Any) -> Any:
        """Return a part of code as an object that is shared with equal parts of code and nothing else."""
        kind = type(part)
        if kind is str or kind is bytes:
            return self._copies.setdefault(part, part[:1] + part[1:])
        if kind is tuple:
            return tuple(map(self._copy, part))
        if kind is frozenset:
            return _Ordered(sorted((self._copy(value) for value in part), key=repr))
        return part


class _Ordered:
    """Stands for a frozenset, whose values come in one order."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __reduce__(self) -> tuple[Any, ...]:
        return frozenset, (self._values,)


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Callable[..., Any]:
    """Put an empty cache on a function, in the worker."""
    return functools.lru_cache(maxsize, typed)(function)


def dumps(value: Any, buffer_callback: Callable[[PickleBuffer], Any] | None = None) -> bytes:
    """Pickle a value, with out-of-band buffers where a callback takes them."""
    stream = io.BytesIO()
    Pickler(stream, protocol=5, buffer_callback=buffer_callback).dump(value)
    return stream.getvalue()
