"""Assigns ids to classes that are pickled by value: a hash of the content, so that equal classes have equal pickles.

cloudpickle assigns a random id to each class when it first pickles it. With random ids, running a cell again, or in
another process, would create a new version of a Function although nothing changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import types
import typing
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cloudpickle import cloudpickle as _inner

from nbfn.runtime.traceback_filter import users_level
from nbfn.serialization import class_pickling, namespace, parameters
from nbfn.serialization.user_modules import is_by_value
from nbfn.serialization.wrappers import wrapped_parts

#: Attributes of a class that are not part of its content: its position in the source, and caches.
_IGNORED = frozenset({
    "__dict__", "__weakref__", "_abc_impl", "__static_attributes__", "__firstlineno__", "__slotnames__",
    "__doc__",
    # pydantic computes these from the other attributes; they contain addresses.
    "__pydantic_core_schema__", "__pydantic_decorators__", "__pydantic_serializer__", "__pydantic_validator__",
})  # fmt: skip
#: Objects already described, by `id`; a reference is kept so that the id is not reused.
_Described = dict[int, tuple[int, object]]
_PLAIN = (int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented))


class NoDescription(Exception):
    """Raised for an object that cannot be described in the same way in every process."""


def set_content_id(thing: Any, home: type | None = None) -> None:
    """Set the id of a class or type parameter to a hash of its content.

    Nothing changes if it already has an id, or if its content cannot be described.

    Args:
        thing: The class, or a construct of `typing` such as a ``TypeVar`` or a ``NewType``.
        home: The class of this process that unpickled objects have; ``thing`` if not given.
    """
    by_class, by_id = _inner._DYNAMIC_CLASS_TRACKER_BY_CLASS, _inner._DYNAMIC_CLASS_TRACKER_BY_ID
    if thing in by_class:
        if home is not None:
            by_id[by_class[thing]] = home
        return
    with contextlib.suppress(NoDescription, RecursionError):
        name = content_digest(thing)
        with _inner._DYNAMIC_CLASS_TRACKER_LOCK:
            by_class[thing] = name
            # Unpickled objects get this class, not one that an earlier run of the cell defined.
            by_id[name] = home or thing


#: Classes that were created by unpickling; unpickling sets attributes of these classes only.
_unpickled: weakref.WeakSet[type] = weakref.WeakSet()
#: The ids of classes that a warning was issued for.
_warned: set[str] = set()


def is_module_attribute(kind: type) -> bool:
    """Return whether the module of a class has the class under its qualified name."""
    return namespace.lookup(kind.__module__, kind.__qualname__) is kind


def load_class(make: Callable[..., type], given: tuple[Any, ...], name: str = "") -> type:
    """Find the class that is being unpickled in this process, or create it.

    Args:
        make: Function that creates the class.
        given: The arguments of ``make``; the last but one is cloudpickle's id of the class.
        name: Its name in the `__main__` of the process that pickled it; "" if it has none there.

    Returns:
        The class.
    """
    known: type | None = _inner._DYNAMIC_CLASS_TRACKER_BY_ID.get(given[-2])
    kind = known if namespace.is_worker() else _find_class(known, given, name)
    if kind is None:
        kind = class_pickling.make_skeleton(make, given)
        _unpickled.add(kind)
    if name:
        namespace.add_main_name(name, kind)
    return kind


def _find_class(known: type | None, given: tuple[Any, ...], name: str) -> type | None:
    """Return the class of this process that has the same content as the unpickled one, else ``known``."""
    module, qualname = _qualified_name(given)
    mine = namespace.lookup(module, qualname)
    if not isinstance(mine, type) or mine is known:
        return known
    set_content_id(mine)
    if _inner._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(mine) == given[-2]:
        _inner._DYNAMIC_CLASS_TRACKER_BY_ID[given[-2]] = mine
        return mine
    if name and given[-2] not in _warned:
        _warned.add(given[-2])
        warnings.warn(
            f"A value holds objects of the class {qualname!r} as it was when the value was made. {qualname!r} is "
            f"another class here now: isinstance(value, {qualname}) is False for them. Make the value again, or run "
            "the class's definition as it was.",
            UserWarning,
            stacklevel=users_level(),
        )
    return known


def _qualified_name(given: tuple[Any, ...]) -> tuple[str, str]:
    """Return the module and the qualified name of the class that is created from these arguments."""
    if isinstance(given[3], dict) and len(given) == 6:
        return str(given[3].get("__module__", "")), str(given[3].get("__qualname__", given[1]))
    return str(given[4]), str(given[2])  # an enum


def set_class_state(kind: type, state: Any) -> None:
    """Set the attributes of a class that was created by unpickling; other classes do not change."""
    if kind in _unpickled:
        class_pickling.set_state(kind, state)


def content_digest(kind: Any) -> str:
    """Return a hash of the content of a class or type parameter that is the same in every process.

    Args:
        kind: The class or type parameter.

    Returns:
        32 hexadecimal characters.

    Raises:
        NoDescription: If a part of it cannot be described.
    """
    found = hashlib.sha256()
    for part in _describe(kind, {}):
        found.update(part)
        found.update(b"\0")
    return found.hexdigest()[:32]


def _describe(thing: Any, seen: _Described) -> Iterator[bytes]:
    if isinstance(thing, _PLAIN):
        yield f"{type(thing).__name__} {thing!r}".encode("utf-8", "surrogatepass")
        return
    if id(thing) in seen:
        yield f"again {seen[id(thing)][0]}".encode()
        return
    seen[id(thing)] = len(seen), thing
    yield type(thing).__qualname__.encode()
    yield from _describe_content(thing, seen)


def _describe_content(thing: Any, seen: _Described) -> Iterator[bytes]:
    if (parts := wrapped_parts(thing)) is not None:
        yield from _describe_all(parts, seen)
        return
    match thing:
        case types.CodeType():
            yield from _describe_all(_code_parts(thing), seen)
        case types.FunctionType():
            yield from _describe_all(_function_parts(thing), seen)
        case type():
            yield from _describe_class(thing, seen)
        case _ if type(thing) in parameters.KINDS:
            yield from _describe_all((thing.__module__, *parameters.parameter_parts(thing)), seen)
        case typing.ForwardRef():
            yield thing.__forward_arg__.encode()
        case _ if typing.get_origin(thing) is not None:  # ``list[int]``, ``Optional[P]``
            yield from _describe_all((typing.get_origin(thing), *typing.get_args(thing)), seen)
        case staticmethod() | classmethod():
            yield from _describe(thing.__func__, seen)
        case property():
            yield from _describe_all((thing.fget, thing.fset, thing.fdel, thing.__doc__), seen)
        case types.ModuleType():
            yield thing.__name__.encode()
        case _:
            yield from _describe_value(thing, seen)


def _describe_value(thing: Any, seen: _Described) -> Iterator[bytes]:
    match thing:
        case tuple() | list():
            yield from _describe_all(thing, seen)
        case dict() | types.MappingProxyType():
            yield from _describe_all((part for pair in thing.items() for part in pair), seen)
        case set() | frozenset():
            yield from sorted(b"\1".join(_describe(part, dict(seen))) for part in thing)
        case _:
            yield from _describe_object(thing, seen)


def _describe_all(parts: Iterable[Any], seen: _Described) -> Iterator[bytes]:
    for part in parts:
        yield from _describe(part, seen)
    yield b"end"


def _code_parts(code: types.CodeType) -> Iterable[Any]:
    return (
        *(code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars),
        *(code.co_cellvars, code.co_name, code.co_flags),
        *(code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount),
    )


def _function_parts(function: types.FunctionType) -> Iterable[Any]:
    cells = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not filled yet
            cells.append(cell.cell_contents)
    return (
        *(function.__module__, function.__qualname__, function.__code__, function.__defaults__),
        *(function.__kwdefaults__, function.__doc__, function.__dict__, cells),
    )


def _describe_class(kind: type, seen: _Described) -> Iterator[bytes]:
    yield f"{kind.__module__} {kind.__qualname__}".encode()
    if _inner._should_pickle_by_reference(kind) and not is_by_value(kind):
        return  # its module and name identify it
    for base in kind.__bases__:
        yield from _describe(base, seen)
    for name, value in sorted(vars(kind).items()):
        if name not in _IGNORED and not isinstance(value, types.MemberDescriptorType):
            yield name.encode()
            yield from _describe(value, seen)


def _attributes_of(thing: Any) -> dict[str, Any]:
    slots = [name for base in type(thing).__mro__ for name in getattr(base, "__slots__", ())]
    held = dict(getattr(thing, "__dict__", {}))
    return held | {name: getattr(thing, name) for name in slots if hasattr(thing, name)}


def _describe_object(thing: Any, seen: _Described) -> Iterator[bytes]:
    kind = type(thing)
    own = set().union(*map(vars, kind.__mro__[:-1]))
    if own & {"__reduce__", "__reduce_ex__"}:
        yield from _describe_reducible(thing, seen)
        return
    held = _attributes_of(thing)
    if not held:
        yield _pickle(thing)
        return
    yield from _describe(kind, seen)
    yield from _describe_all((part for pair in sorted(held.items()) for part in pair), seen)


def _describe_reducible(thing: Any, seen: _Described) -> Iterator[bytes]:
    """Describe an object with a ``__reduce__`` by its pickle, or else by the result of ``__reduce__``."""
    with contextlib.suppress(NoDescription):
        yield _pickle(thing)
        return
    try:  # it may contain a function or class that has no importable name, such as a local one
        reduced = thing.__reduce_ex__(5)
    except Exception as error:
        raise NoDescription from error
    yield from _describe(reduced, seen)


def _pickle(thing: Any) -> bytes:
    try:
        return pickle.dumps(thing, protocol=5)
    except Exception as error:
        raise NoDescription from error
