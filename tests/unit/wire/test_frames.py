"""Whatever bytes arrive, decoding gives a message or says why not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbfn.wire import frames, messages
from nbfn.wire.frames import BadFrame
from nbfn.wire.messages import Message, NewInput, Payload, PutCall, Run

MiB = 2**20
DIRECTIONS = [
    (frames.TO_HUB, messages.FROM_CLIENT + messages.FROM_WORKER),
    (frames.TO_CLIENT, messages.TO_CLIENT),
    (frames.TO_WORKER, messages.TO_WORKER),
]


@pytest.mark.parametrize(("decoder", "kinds"), DIRECTIONS)
def test_every_message_arrives_as_it_was_sent(
    decoder: msgspec.msgpack.Decoder[Message], kinds: tuple[type[Message], ...]
) -> None:
    for kind in kinds:
        said = _smallest(kind)
        assert frames.decode(frames.encode(said), decoder) == said


def _smallest(kind: type[Message]) -> Message:
    """Return a message of this kind from the smallest values of its fields' types."""
    hints = msgspec.inspect.type_info(kind)
    assert isinstance(hints, msgspec.inspect.StructType)
    return kind(**{field.name: _value(field.type) for field in hints.fields})


def _value(hint: msgspec.inspect.Type) -> object:
    match hint:
        case msgspec.inspect.IntType():
            return 7
        case msgspec.inspect.FloatType():
            return 0.5
        case msgspec.inspect.StrType():
            return "é"
        case msgspec.inspect.BytesType():
            return b"\x00"
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.UnionType():
            return _value(hint.types[0])
        case msgspec.inspect.VarTupleType():
            return (_value(hint.item_type),)
        case msgspec.inspect.TupleType():
            return tuple(_value(item) for item in hint.item_types)
        case msgspec.inspect.StructType():
            return hint.cls(**{field.name: _value(field.type) for field in hint.fields})
        case msgspec.inspect.DictType():
            return {}
    raise AssertionError(hint)


@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_a_value_not_an_exception(noise: bytes) -> None:
    for decoder, _ in DIRECTIONS:
        found = frames.decode(noise, decoder)
        assert isinstance(found, BadFrame | Message)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_damaged_messages_are_values_too(data: st.DataObject) -> None:
    frame = bytearray(
        frames.encode(PutCall("fc-1", "fu-1", 1, "map", (NewInput(0, Payload(b"x")),)))
    )
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(frames.decode(bytes(frame), frames.TO_HUB), BadFrame | Message)


def test_what_may_not_be_said_in_a_direction_does_not_decode() -> None:
    run = frames.encode(Run(()))
    assert isinstance(frames.decode(run, frames.TO_WORKER), Run)
    refused = frames.decode(run, frames.TO_HUB)
    assert isinstance(refused, BadFrame)
    assert "Run" in refused.reason


def test_a_nested_bomb_is_refused() -> None:
    assert isinstance(frames.decode(b"\x91" * 100_000, frames.TO_HUB), BadFrame)


def test_a_frame_over_the_limit_is_refused_on_both_sides() -> None:
    large = messages.Emitted(1, "stdout", b"x" * (frames.MAX_FRAME + 1))
    with pytest.raises(ValueError, match="over the limit"):
        frames.encode(large)
    assert isinstance(frames.decode(b"x" * (frames.MAX_FRAME + 1), frames.TO_HUB), BadFrame)


def test_hellos_can_be_read_across_versions() -> None:
    hello = messages.ClientHello(99, "cl-1", "9.9", "9", "3.99", 1, "host")
    fields = msgspec.msgpack.decode(frames.encode(hello))
    later = msgspec.msgpack.encode([*fields, "a field of a later protocol"])
    assert frames.decode(later, frames.TO_HUB) == hello
    earlier = msgspec.msgpack.encode(fields[:8])
    assert frames.decode(earlier, frames.TO_HUB) == hello


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_input_ids_differ_within_a_call(one: int, other: int) -> None:
    call = "fc-0123456789ABCDEFabcdef"
    same = messages.input_id(call, one) == messages.input_id(call, other)
    assert same == (one == other)
    assert len(messages.input_id(call, one)) == len(messages.new_id("in")) == 25


def test_a_message_over_the_limit_is_not_built() -> None:
    with pytest.raises(frames.FrameTooLargeError, match=r"17\.0 MiB is over the limit of 16 MiB"):
        frames.encode(Run((), 0, bytes(17 * MiB)))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 3 * MiB), max_size=40))
def test_a_list_is_split_by_bytes_and_by_number(sizes: list[int]) -> None:
    parts = list(frames.split(sizes, lambda size: size, most=7, most_bytes=2 * MiB))
    assert [size for part in parts for size in part] == sizes
    assert all(0 < len(part) <= 7 for part in parts)
    assert all(sum(part) <= 2 * MiB or len(part) == 1 for part in parts)


def test_rows_of_an_answer_are_as_many_as_fit() -> None:
    rows = ["x" * 100_000] * 50
    assert 5 <= len(frames.fitting(iter(rows), MiB)) <= 10
    assert frames.fitting(rows, 10 * MiB) == tuple(rows)
