"""Adds the parts of a class that cloudpickle omits when it pickles the class by value.

cloudpickle omits slots, the names of nested classes, the aliases of an enum and the attributes of its members. When it
unpickles a class, it creates an empty class first, for which a metaclass or an ``__init_subclass__`` may raise.
"""

from __future__ import annotations

import abc
import enum
import threading
import types
import typing
from collections.abc import Callable
from typing import Any

from cloudpickle import cloudpickle as _inner

#: Attributes that `enum` sets on each member.
_OF_MEMBERS = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)


def complete_reduction(
    kind: type, given: tuple[Any, ...], state: tuple[dict[str, Any], dict[str, Any]]
) -> tuple[tuple[Any, ...], tuple[dict[str, Any], dict[str, Any]]]:
    """Return the complete arguments and state for cloudpickle's reduction of a class.

    Args:
        kind: The class.
        given: The arguments with which cloudpickle creates the empty class.
        state: The attributes of the class, and other state of cloudpickle.
    """
    attributes, more = state
    attributes.pop("__slotnames__", None)  # a cache of `copyreg`
    if issubclass(kind, enum.Enum):
        return _complete_enum(kind, given, (attributes, more))
    names = dict(given[3])
    if typing.NamedTuple in given[2]:  # it requires annotations, which are set later
        names["__orig_bases__"] = given[2]
        given = (*given[:2], kind.__bases__, *given[3:])
    if kind.__qualname__ != kind.__name__:
        names["__qualname__"] = kind.__qualname__
    if "__slots__" in vars(kind):
        names["__slots__"] = vars(kind)["__slots__"]
        attributes.pop("__slots__", None)
        attributes = {  # compare objects: names that begin with two underscores are mangled
            name: value
            for name, value in attributes.items()
            if not (isinstance(value, _SLOTS) and value.__objclass__ is kind)
        }
    return (*given[:3], names, *given[4:]), (attributes, more)


def _complete_enum(
    kind: type[enum.Enum], given: tuple[Any, ...], state: tuple[dict[str, Any], dict[str, Any]]
) -> tuple[tuple[Any, ...], tuple[dict[str, Any], dict[str, Any]]]:
    attributes, more = state
    members = kind.__members__
    for name in members:
        attributes.pop(name, None)
    values = {name: member.value for name, member in members.items()}
    own = {
        name: {key: value for key, value in vars(member).items() if key not in _OF_MEMBERS}
        for name, member in members.items()
    }
    if own := {name: held for name, held in own.items() if held}:
        more = more | {"members": own}
    return (*given[:3], values, *given[4:]), (attributes, more)


def make_skeleton(how: Callable[..., type], given: tuple[Any, ...]) -> type:
    """Create the empty class; bypass its metaclass and the hooks of its bases if they raise.

    Args:
        how: Function that creates the class.
        given: Its arguments.
    """
    try:
        return how(*given)
    except Exception:
        if how is not _inner._make_skeleton_class:
            raise
        return _make_without_hooks(*given)


_hooks_lock = threading.RLock()


def _make_without_hooks(
    meta: type, name: str, bases: tuple[Any, ...], names: dict[str, Any], key: str, _: Any
) -> type:
    """Create an empty class as `type` does, without calling its metaclass or the hooks of its bases.

    They were called when the class was defined, and its attributes contain their results.
    """
    bases = types.resolve_bases(bases)
    hooks = {
        base: vars(base)["__init_subclass__"]
        for parent in bases
        for base in parent.__mro__[:-1]
        if "__init_subclass__" in vars(base)
    }
    new = abc.ABCMeta.__new__ if issubclass(meta, abc.ABCMeta) else type.__new__
    with _hooks_lock:
        for base in hooks:
            type.__setattr__(base, "__init_subclass__", classmethod(lambda _: None))
        try:
            kind: type = new(meta, name, bases, dict(names))
        finally:
            for base, hook in hooks.items():
                type.__setattr__(base, "__init_subclass__", hook)
    return _inner._lookup_class_or_track(key, kind)  # type: ignore[no-any-return]


def set_state(kind: type, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Set the attributes of a class that `make_skeleton` created."""
    _inner._class_setstate(kind, state)
    members: dict[str, Any] = getattr(kind, "__members__", {})
    for name, own in state[1].get("members", {}).items():
        vars(members[name]).update(own)
