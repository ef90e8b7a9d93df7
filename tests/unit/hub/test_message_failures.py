"""Lists that are too large for one message are sent in parts."""

from __future__ import annotations

from nbfn.hub import message_failures
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from nbfn.protocol.messages import Payload
from nbfn.types import InputStatus

MiB = 2**20


def leased(*sizes: int, batch: int = 0) -> tuple[m.LeasedInput, ...]:
    """Return inputs of so many bytes."""
    return tuple(
        m.LeasedInput(lease, "fc-1", lease, 1, Payload(bytes(size)), batch=batch)
        for lease, size in enumerate(sizes, 1)
    )


def test_a_message_that_is_small_enough_is_sent_as_it_is() -> None:
    run = m.Run(leased(10, 10))
    outputs = m.Outputs("fc-1", (m.Output(0, 1, Payload(b"x")),) * 2)
    assert list(message_failures.split_run(run)) == [run]
    assert list(message_failures.split_outputs(outputs)) == [outputs]


def test_a_batch_that_is_split_goes_on_until_its_last_part() -> None:
    run = m.Run(leased(MiB, MiB, MiB, 3 * MiB, batch=7), 5, levels={"fc-1": b"info"})
    parts = list(message_failures.split_run(run))
    assert [[one.lease for one in part.inputs] for part in parts] == [[1, 2], [3], [4]]
    assert [part.goes_on for part in parts] == [True, True, False]
    assert {part.confirm for part in parts} == {5}
    assert all(part.levels == run.levels for part in parts)


def test_inputs_that_are_no_batch_are_split_without_a_word() -> None:
    parts = list(message_failures.split_run(m.Run(leased(*[MiB] * 4))))
    assert [part.goes_on for part in parts] == [False, False]


def test_outputs_are_split_by_what_they_weigh_and_how_many_they_are() -> None:
    large = m.Outputs("fc-1", tuple(m.Output(n, 1, Payload(bytes(MiB))) for n in range(3)))
    assert [len(part.outputs) for part in message_failures.split_outputs(large)] == [1, 1, 1]
    many = m.Outputs("fc-1", tuple(m.Output(n, 1, None) for n in range(codec.MOST_ENTRIES + 1)))
    parts = list(message_failures.split_outputs(many))
    assert [len(part.outputs) for part in parts] == [codec.MOST_ENTRIES, 1]


def test_a_failure_that_the_hub_tells_weighs_at_least_what_it_takes_up() -> None:
    fault = m.Fault("remote", "é" * 1000)
    output = m.Output(0, int(InputStatus.TERMINATED), fault=fault)
    assert len(codec.encode(m.Outputs("", (output,)))) <= output.weight
    assert m.outputs_weight([output, output]) == 2 * output.weight
