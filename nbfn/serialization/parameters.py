"""Decomposes constructs of `typing` that are pickled by value, such as ``TypeVar``, and rebuilds them."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable
from typing import Any

_NAMES = ("TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "TypeAliasType")


def _kinds() -> dict[type, str]:
    """Return the types in `typing` and, if it is imported, in `typing_extensions`, with their names."""
    homes = [typing, *filter(None, [sys.modules.get("typing_extensions")])]
    found = ((getattr(home, name, None), name) for home in homes for name in _NAMES)
    return {kind: name for kind, name in found if isinstance(kind, type)}


#: The types of these constructs, with their names.
KINDS = _kinds()


def update_kinds() -> None:
    """Add the types of `typing_extensions` if it has been imported since."""
    KINDS.update(_kinds())


def parameter_parts(thing: Any) -> tuple[str, str, tuple[Any, ...], dict[str, Any]]:
    """Return the parts of a construct: its kind, its name, further arguments and keyword arguments."""
    kind, name = KINDS[type(thing)], str(thing.__name__)
    if kind == "NewType":
        return kind, name, (thing.__supertype__,), {}
    if kind == "TypeAliasType":
        return kind, name, (thing.__value__,), {"type_params": thing.__type_params__}
    words: dict[str, Any] = {}
    for word in ("bound", "covariant", "contravariant", "infer_variance"):
        if value := getattr(thing, f"__{word}__", None):
            words[word] = value
    if getattr(thing, "has_default", bool)():
        words["default"] = thing.__default__
    return kind, name, tuple(getattr(thing, "__constraints__", ())), words


def make_parameter(home: str, module: str, qualname: str, made_of: tuple[Any, ...]) -> Any:
    """Rebuild a construct from its parts.

    Args:
        home: The module of its type.
        module: The module that defined it.
        qualname: Its qualified name in that module.
        made_of: Its `parameter_parts`.
    """
    kind, name, more, words = made_of
    # The construct takes its module from the globals of the frame that creates it.
    names = {"__name__": module, "how": _type(home, kind), "given": (name, *more), "words": words}
    thing = eval("how(*given, **words)", names)  # noqa: S307 - our own text
    if kind == "NewType":
        thing.__qualname__ = qualname
    return thing


def _type(home: str, kind: str) -> Callable[..., Any]:
    module: types.ModuleType = typing
    if not hasattr(typing, kind) or home != "typing":
        import typing_extensions as module
    return getattr(module, kind)  # type: ignore[no-any-return]
