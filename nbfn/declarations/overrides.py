"""Applies the options of a variant to the definition of a Function, in the hub and in handles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def apply_overrides(changes: msgspec.Struct, before: S) -> S:
    """Return a definition, or an earlier variant, with the options of a variant.

    Fields that are None in the variant do not change. Nested structs (pool, resources, ...) are merged field by field;
    other fields are replaced. Batching applies to the batched methods of a class, or to all methods if none is batched.

    Args:
        changes: The variant. ``before`` must have all of its fields.
        before: The definition or the earlier variant.
    """
    given = {name: (getattr(before, name), value) for name, value in _fields_set(changes).items()}
    values = {name: _merge(was, value) for name, (was, value) in given.items()}
    methods: Sequence[Any] = getattr(before, "methods", None) or ()
    if "batching" in given and methods:
        values["methods"] = _with_batching(methods, given["batching"][1])
        del values["batching"]
    return msgspec.structs.replace(before, **values)


def _with_batching(methods: Sequence[Any], batching: Any) -> tuple[Any, ...]:
    chosen = {one.name for one in methods if one.batching.max_batch_size is not None}
    chosen = chosen or {one.name for one in methods}
    return tuple(
        msgspec.structs.replace(one, batching=_merge(one.batching, batching))
        if one.name in chosen
        else one
        for one in methods
    )


def _merge(before: Any, value: Any) -> Any:
    if isinstance(value, msgspec.Struct) and type(before) is type(value):
        return msgspec.structs.replace(before, **_fields_set(value))
    return value


def _fields_set(changes: msgspec.Struct) -> dict[str, Any]:
    values = {name: getattr(changes, name) for name in changes.__struct_fields__}
    return {name: value for name, value in values.items() if value is not None}
