"""Whatever bytes arrive, decoding gives a message or says why not."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbfn.protocol import codec, messages
from nbfn.protocol.codec import BadFrame
from nbfn.protocol.messages import Message, NewInput, Payload, PutCall, Run

MiB = 2**20
DIRECTIONS = [
    (codec.TO_HUB, messages.FROM_CLIENT + messages.FROM_WORKER),
    (codec.TO_CLIENT, messages.TO_CLIENT),
    (codec.TO_WORKER, messages.TO_WORKER),
]


@pytest.mark.parametrize(("decoder", "kinds"), DIRECTIONS)
def test_every_message_arrives_as_it_was_sent(
    decoder: msgspec.msgpack.Decoder[Message], kinds: tuple[type[Message], ...]
) -> None:
    for kind in kinds:
        said = _smallest(kind)
        assert codec.decode(codec.encode(said), decoder) == said


def _smallest(kind: type[Message]) -> Message:
    """Return a message of this kind from the smallest values of its fields' types."""
    hints = msgspec.inspect.type_info(kind)
    assert isinstance(hints, msgspec.inspect.StructType)
    return kind(**{field.name: _value(field.type) for field in hints.fields})


def _value(hint: msgspec.inspect.Type) -> object:
    match hint:
        case msgspec.inspect.IntType():
            return min(7, hint.le or 7)
        case msgspec.inspect.FloatType():
            return 0.5
        case msgspec.inspect.StrType():
            known = ("é", "x", "cl-1", "wk-1", "http://x")
            return next(text for text in known if re.search(hint.pattern or "", text))
        case msgspec.inspect.LiteralType():
            return hint.values[0]
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


def _damaged(kind: type[Message], hint: msgspec.inspect.Type, position: int) -> list[object]:
    """Return the frame's list with a value out of range at a position, for each way to be so."""
    found: list[object] = []
    match hint:
        case msgspec.inspect.UnionType():
            return [bad for one in hint.types for bad in _damaged(kind, one, position)]
        case msgspec.inspect.IntType():
            found = [2**63, 2**64 - 1] if hint.le is not None else []
        case msgspec.inspect.FloatType():
            found = [float("nan"), float("inf"), 1e300] if hint.le is not None else []
        case msgspec.inspect.StrType():
            found = ["\0"] if hint.pattern is not None else []
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(_smallest(kind)))
    return [[*fields[:position], bad, *fields[position + 1 :]] for bad in found]


@pytest.mark.parametrize("kind", messages.FROM_CLIENT + messages.FROM_WORKER)
def test_numbers_out_of_range_are_refused_with_the_name_of_their_field(kind: type[Message]) -> None:
    for position, field in enumerate(msgspec.inspect.type_info(kind).fields, 1):  # type: ignore[attr-defined]
        numbers = (msgspec.inspect.IntType, msgspec.inspect.FloatType)
        if isinstance(field.type, numbers):
            assert field.type.le is not None, f"{kind.__name__}.{field.name} has no upper bound"
        for damaged in _damaged(kind, field.type, position):
            found = codec.decode(msgspec.msgpack.encode(damaged), codec.TO_HUB)
            assert isinstance(found, BadFrame), f"{kind.__name__}.{field.name}: {damaged}"
            assert found.reason.startswith(field.name)


def test_a_refused_frame_names_its_request_or_call_and_the_field() -> None:
    def refused(message: Message) -> BadFrame:
        found = codec.decode(msgspec.msgpack.encode(message), codec.TO_HUB)
        assert isinstance(found, BadFrame)
        return found

    many = messages.PoolSettings(min_containers=2**63)
    bad = refused(messages.SetAutoscaler(5, "fu-1", many))
    text = "min_containers is 9223372036854775808; it must be at most 1000000."
    assert bad == BadFrame(text, request=5)
    outside = Payload(b"", (messages.Segment("shm", "../../x", 1),))
    bad = refused(PutCall("fc-1", "fu-1", 1, "map", (NewInput(0, outside),)))
    text = "name has characters that are not allowed, or is too long."
    assert bad == BadFrame(text, call="fc-1")
    bad = refused(messages.Results(1, (messages.Result(1, 99, None, 0.0),)))
    assert bad == BadFrame("status is 99; it must be at most 6.")


@pytest.mark.parametrize("name", ["../../x", "..", ".", "", "a/b", "x\0", "x\n", "a" * 300])
def test_names_of_segments_stay_in_their_directory(name: str) -> None:
    payload = Payload(b"", (messages.Segment("shm", name, 1),))
    frame = msgspec.msgpack.encode(messages.Yielded(1, 0, (payload,)))
    assert isinstance(codec.decode(frame, codec.TO_HUB), BadFrame)


@pytest.mark.parametrize("peer", ["", "wk-1", "cl-", "cl-../x", "cl-1\n", "cl-" + "1" * 99])
def test_a_client_has_an_id_of_its_kind(peer: str) -> None:
    hello = messages.ClientHello(messages.PROTOCOL, peer, "0", "3", "3.11", 1, "here")
    assert isinstance(codec.decode(codec.encode(hello), codec.TO_HUB), BadFrame)


@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_a_value_not_an_exception(noise: bytes) -> None:
    for decoder, _ in DIRECTIONS:
        found = codec.decode(noise, decoder)
        assert isinstance(found, BadFrame | Message)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_damaged_messages_are_values_too(data: st.DataObject) -> None:
    frame = bytearray(
        codec.encode(PutCall("fc-1", "fu-1", 1, "map", (NewInput(0, Payload(b"x")),)))
    )
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(codec.decode(bytes(frame), codec.TO_HUB), BadFrame | Message)


def test_what_may_not_be_said_in_a_direction_does_not_decode() -> None:
    run = codec.encode(Run(()))
    assert isinstance(codec.decode(run, codec.TO_WORKER), Run)
    refused = codec.decode(run, codec.TO_HUB)
    assert isinstance(refused, BadFrame)
    assert "Run" in refused.reason


def test_a_nested_bomb_is_refused() -> None:
    assert isinstance(codec.decode(b"\x91" * 100_000, codec.TO_HUB), BadFrame)


def test_a_frame_over_the_limit_is_refused_on_both_sides() -> None:
    large = messages.Emitted(1, "stdout", b"x" * (codec.MAX_FRAME + 1))
    with pytest.raises(ValueError, match="over the limit"):
        codec.encode(large)
    assert isinstance(codec.decode(b"x" * (codec.MAX_FRAME + 1), codec.TO_HUB), BadFrame)


def test_hellos_can_be_read_across_versions() -> None:
    hello = messages.ClientHello(99, "cl-1", "9.9", "9", "3.99", 1, "host")
    fields = msgspec.msgpack.decode(codec.encode(hello))
    later = msgspec.msgpack.encode([*fields, "a field of a later protocol"])
    assert codec.decode(later, codec.TO_HUB) == hello
    earlier = msgspec.msgpack.encode(fields[:8])
    assert codec.decode(earlier, codec.TO_HUB) == hello


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_input_ids_differ_within_a_call(one: int, other: int) -> None:
    call = "fc-0123456789ABCDEFabcdef"
    same = messages.input_id(call, one) == messages.input_id(call, other)
    assert same == (one == other)
    assert len(messages.input_id(call, one)) == len(messages.new_id("in")) == 25


def test_a_message_over_the_limit_is_not_built() -> None:
    with pytest.raises(codec.FrameTooLargeError, match=r"17 MB is over the limit of 16 MB"):
        codec.encode(Run((), 0, bytes(17 * MiB)))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 3 * MiB), max_size=40))
def test_a_list_is_split_by_bytes_and_by_number(sizes: list[int]) -> None:
    parts = list(codec.split(sizes, sum, most=7, most_bytes=2 * MiB))
    assert [size for part in parts for size in part] == sizes
    assert all(0 < len(part) <= 7 for part in parts)
    assert all(sum(part) <= 2 * MiB or len(part) == 1 for part in parts)


def test_rows_of_an_answer_are_as_many_as_fit() -> None:
    rows = ["x" * 100_000] * 50
    assert 5 <= len(codec.fitting(iter(rows), MiB)) <= 10
    assert codec.fitting(rows, 10 * MiB) == tuple(rows)
