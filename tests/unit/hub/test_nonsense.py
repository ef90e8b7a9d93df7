"""Messages that decode and make no sense: a peer may say anything, the hub stays up (promises S9, S17)."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbfn.hub import speech
from nbfn.wire import messages as m
from tests.unit.hub.world import World

#: Not events of the state machine: the broker answers these itself.
_ASKED = {
    m.StopHub,
    m.WatchOverview,
    m.GetOverview,
    m.GetStats,
    m.Lookup,
    m.LookupEndpoint,
    m.LookupId,
    m.GetDefinition,
    m.GetApps,
    m.GetEnvironments,
    m.GetHistory,
    m.GetLogs,
    m.Attach,
    m.ConsoleOpened,
}


def _a_world() -> World:
    """Return a world in which a worker is at work; always the same one."""
    world = World()
    function = world.register("f")
    world.call("fc-1", function, 5)
    world.call("fc-2", function, 2, durable=True)
    world.up()
    return world


_WORKERS = sorted(_a_world().workers)
_words = st.sampled_from(
    ["", "fc-1", "fc-2", *_a_world().functions.values(), *_WORKERS, "../x", "\0"]
)
_numbers = st.sampled_from([-1, 0, 1, 2, 7, (1 << 30) + 1, (1 << 30) + 2, 2**62])


def _of(kind: Any) -> st.SearchStrategy[Any]:
    if kind is str:
        return _words
    if kind is int:
        return _numbers
    if kind is float:
        return st.sampled_from([-1.0, 0.0, 1e-9, 1.0, 1e18])
    return st.from_type(kind)


def _struct(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{f.name: _any(f.type) for f in msgspec.structs.fields(kind)})


def _any(kind: Any) -> st.SearchStrategy[Any]:
    made: list[st.SearchStrategy[Any]] = []
    described = msgspec.inspect.type_info(kind)
    for one in (
        described.types if isinstance(described, msgspec.inspect.UnionType) else (described,)
    ):
        match one:
            case msgspec.inspect.StructType():
                made.append(st.deferred(lambda one=one: _struct(one.cls)))
            case msgspec.inspect.VarTupleType() | msgspec.inspect.TupleType():
                made.append(_tuple(kind))
            case msgspec.inspect.NoneType():
                made.append(st.none())
            case msgspec.inspect.StrType():
                made.append(_of(str))
            case msgspec.inspect.IntType():
                made.append(_of(int))
            case msgspec.inspect.FloatType():
                made.append(_of(float))
            case msgspec.inspect.BoolType():
                made.append(st.booleans())
            case msgspec.inspect.BytesType():
                made.append(st.binary(max_size=8))
            case _:
                made.append(st.just({}))
    return st.one_of(made)


def _tuple(kind: Any) -> st.SearchStrategy[Any]:
    if typing.get_origin(kind) is not tuple:  # an optional one
        kind = next(one for one in typing.get_args(kind) if typing.get_origin(one) is tuple)
    inner = typing.get_args(kind)
    if len(inner) == 2 and inner[1] is Ellipsis:
        return st.lists(_any(inner[0]), max_size=3).map(tuple)
    return st.tuples(*[_any(one) for one in inner])


_anything = st.one_of([
    _struct(kind) for kind in (*m.FROM_CLIENT, *m.FROM_WORKER) if kind not in _ASKED
])  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    said=st.lists(
        st.tuples(st.sampled_from(["cl-1", "cl-1", "cl-2", "wk-new", *_WORKERS]), _anything),
        max_size=15,
    )
)
def test_any_words_in_any_order_leave_the_hub_up(said: list[tuple[str, m.Message]]) -> None:
    world = _a_world()
    for peer, message in said:
        for effect in world.state.handle(speech.heard(peer, message), world.now):
            if type(effect) in speech._SAID or type(effect) in speech._DIVIDED:
                list(speech.said(effect)[1])
        world.now += 0.3
    for _ in range(5):
        world.now += 20.0
        world.state.handle(speech.events.Tick(), world.now)
