"""cloudpickle's pickler, with two things kept that it lets go: where code was written, and caches.

cloudpickle 3.1.3 and later name the file of all code that travels by value ``<dynamic-code>``. Then no
traceback could show the user's own line. nbfn's names of cells are made of their text, so the pickle
is the same every time also with the name in it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import types
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pickle import PickleBuffer
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _inner

from nbfn.code import identity

#: cloudpickle's own version.
VERSION: str = cloudpickle.__version__

_Cached = functools._lru_cache_wrapper
#: What stands in a reduced code object for the file, where cloudpickle takes that away.
_NAMELESS = "<dynamic-code>"


@dataclass(frozen=True, slots=True)
class _Standing:
    instead: Mapping[int, Any]
    met: set[str]


_standing: ContextVar[_Standing | None] = ContextVar("_standing", default=None)


@contextlib.contextmanager
def standing_in(instead: Mapping[int, Any]) -> Iterator[set[str]]:
    """Pickle other things instead of some, as long as the block lasts.

    Args:
        instead: They, by the `id` of what they stand for.

    Yields:
        The names of the modules whose classes are met.
    """
    met: set[str] = set()
    token = _standing.set(_Standing(instead, met))
    try:
        yield met
    finally:
        _standing.reset(token)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles code with the name of its file, and classes so that the process they are of keeps its own.

    Examples:
        >>> import pickle
        >>> pickle.loads(dumps(compile("1", "here.py", "eval"))).co_filename
        'here.py'
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._standing = _standing.get()

    def reducer_override(self, thing: Any) -> Any:
        """See `pickle.Pickler.reducer_override`."""
        if (standing := self._standing) is not None:
            other = standing.instead.get(id(thing))
            if other is not None:
                return _itself, (other,)
        if type(thing) is types.CodeType:
            made, given = _inner._code_reduce(thing)
            return made, tuple(thing.co_filename if part == _NAMELESS else part for part in given)
        reduced = super().reducer_override(thing)
        if isinstance(thing, type):
            if standing is not None:
                standing.met.add(str(getattr(thing, "__module__", "")))
            if type(reduced) is tuple and len(reduced) == 6:  # it travels by value
                make, given, state, *_ = reduced
                return identity.arrive, (make, given), state, None, None, identity.fill
        return reduced


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
        standing = self._standing
        if standing is not None and id(thing) in standing.instead:
            return super().reducer_override(thing)
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


def _itself(thing: Any) -> Any:
    """Return what a pickle has in the place of another thing."""
    return thing


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Callable[..., Any]:
    """Put an empty cache on a function, in the worker."""
    return functools.lru_cache(maxsize, typed)(function)


def dumps(value: Any, buffer_callback: Callable[[PickleBuffer], Any] | None = None) -> bytes:
    """Pickle a value, with out-of-band buffers where a callback takes them."""
    stream = io.BytesIO()
    Pickler(stream, protocol=5, buffer_callback=buffer_callback).dump(value)
    return stream.getvalue()
