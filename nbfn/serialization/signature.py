"""Formats signatures of functions and classes for cards and lists."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from nbfn.declarations.parameters import ConstructorShape

#: The most characters of the text of a default value in a signature.
LONGEST_DEFAULT = 60


class _Large:
    """Replaces a default value that is too long for a signature."""

    def __repr__(self) -> str:
        return "…"


def signature_of(raw: Callable[..., Any]) -> str:
    """Return the signature of a function as text; long default values are shown as ``…``."""
    try:
        found = inspect.signature(raw)
        shown = [
            p.replace(default=_Large()) if _is_long(p.default) else p
            for p in found.parameters.values()
        ]
        return str(found.replace(parameters=shown))
    except (ValueError, TypeError):
        return "(...)"


def class_signature(raw: type, shape: ConstructorShape) -> str:
    """Return the signature of a class as text: that of its `nbfn.parameter`s, or else of its constructor.

    Args:
        raw: The class.
        shape: The arguments that create objects of the class.
    """
    if not shape.has_parameters:
        return signature_of(raw)
    shown = [
        f"{one.name}: {one.type}" + ("" if one.default is None else f" = {_default(one.default)}")
        for one in shape.parameters
    ]
    return f"(*, {', '.join(shown)})" if shown else "()"


def _default(encoded: bytes) -> str:
    value = msgspec.msgpack.decode(encoded)
    return "…" if _is_long(value) else repr(value)


def _is_long(default: Any) -> bool:
    if default is inspect.Parameter.empty:
        return False
    try:
        text = repr(default)
    except Exception:  # noqa: BLE001 - a __repr__ of user code may raise anything
        return True
    return len(text) > LONGEST_DEFAULT or "\n" in text
