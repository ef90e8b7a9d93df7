"""Strategies for messages of any kind, with values in the range of their fields, or with any values."""

from __future__ import annotations

import math
import re
import typing
from typing import Any

import msgspec
from hypothesis import strategies as st

from nbfn.protocol import messages as m
from tests.unit.hub.simulator import PYTHON

#: The ids of the simulator that the messages come to are among them: numbers are given in order there.
_IDS = [f"{kind}-{number:022d}" for kind in ("fu", "wk") for number in range(3)]
_TEXTS = ["", "fc-1", "fc-2", *_IDS, "wk-new", "cl-1", "fc-1:0", PYTHON, "../x", "\0", "é"]
_EPOCH = 1 << 30  # leases are counted from here
_NUMBERS = [-1, 0, 1, 2, 3, 5, 7, *range(_EPOCH + 1, _EPOCH + 8)]
_NUMBERS += [10**6, 2**53, 2**62, 2**63, 2**64 - 1]
_REALS = [-1.0, 0.0, 1e-9, 1.0, 1e9, 1e12, 1e308, math.inf, -math.inf, math.nan]


_BOUNDED = (msgspec.inspect.StrType, msgspec.inspect.IntType, msgspec.inspect.FloatType)


def _in_range(values: list[Any], ge: Any, le: Any) -> st.SearchStrategy[Any]:
    least, most = (-math.inf if ge is None else ge), (math.inf if le is None else le)
    return st.sampled_from([value for value in values if least <= value <= most])


def message(*kinds: type[m.Message], wild: bool = False) -> st.SearchStrategy[m.Message]:
    """Return a strategy for messages of some kinds; ``wild`` ones have values out of range, too."""
    return st.one_of([_struct(kind, wild) for kind in kinds])


def _struct(kind: type[msgspec.Struct], wild: bool) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{f.name: _any(f.type, wild) for f in msgspec.structs.fields(kind)})


def _any(kind: Any, wild: bool) -> st.SearchStrategy[Any]:
    made: list[st.SearchStrategy[Any]] = []
    described = msgspec.inspect.type_info(kind)
    for one in (
        described.types if isinstance(described, msgspec.inspect.UnionType) else (described,)
    ):
        if wild and isinstance(one, _BOUNDED):
            made.append(st.sampled_from([*_TEXTS, *_NUMBERS, *_REALS]))
        match one:
            case msgspec.inspect.StructType():
                made.append(st.deferred(lambda one=one: _struct(one.cls, wild)))
            case msgspec.inspect.VarTupleType() | msgspec.inspect.TupleType():
                made.append(_tuple(kind, wild))
            case msgspec.inspect.NoneType():
                made.append(st.none())
            case msgspec.inspect.StrType():
                allowed = [text for text in _TEXTS if re.search(one.pattern or "", text)]
                made.append(st.sampled_from(allowed))
            case msgspec.inspect.IntType():
                made.append(_in_range(_NUMBERS, one.ge, one.le))
            case msgspec.inspect.FloatType():
                made.append(_in_range(_REALS, one.ge, one.le))
            case msgspec.inspect.BoolType():
                made.append(st.booleans())
            case msgspec.inspect.BytesType():
                made.append(st.binary(max_size=8))
            case msgspec.inspect.LiteralType():
                made.append(st.sampled_from(one.values))
            case _:
                made.append(st.just({}))
    return st.one_of(made)


def _tuple(kind: Any, wild: bool) -> st.SearchStrategy[Any]:
    if typing.get_origin(kind) is not tuple:  # an optional one
        kind = next(one for one in typing.get_args(kind) if typing.get_origin(one) is tuple)
    inner = typing.get_args(kind)
    if len(inner) == 2 and inner[1] is Ellipsis:
        return st.lists(_any(inner[0], wild), max_size=3).map(tuple)
    return st.tuples(*[_any(one, wild) for one in inner])
