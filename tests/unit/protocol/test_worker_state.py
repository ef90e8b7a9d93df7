"""What a worker keeps in memory that outlives it is read as it was written, whatever was overwritten."""

from __future__ import annotations

import mmap
import os
import signal

from hypothesis import given
from hypothesis import strategies as st

from nbfn.protocol import worker_state
from nbfn.protocol.worker_state import HALF, READ_OF_STDERR, Piece, WorkerState


def memory() -> mmap.mmap:
    return mmap.mmap(-1, worker_state.SIZE)


def test_texts_and_spans_come_back_in_order() -> None:
    shared = memory()
    state = WorkerState(shared)
    numbers = [
        state.add_text(7, 0, b"out"),
        state.add_span(7, 1, 0, 10),
        state.add_text(8, 1, b"err"),
    ]
    assert numbers == [1, 2, 3]
    assert worker_state.pieces(shared) == [
        Piece(1, 7, "stdout", b"out"),
        Piece(2, 7, "stderr", b"", (0, 10)),
        Piece(3, 8, "stderr", b"err"),
    ]
    assert state.numbers[READ_OF_STDERR] == 10


def test_a_worker_that_wrote_nothing_left_nothing() -> None:
    assert worker_state.pieces(memory()) == []


@given(st.lists(st.integers(0, HALF + 100), max_size=12), st.integers(1, 200))
def test_the_newest_pieces_are_there_and_at_least_half_of_the_memory(
    sizes: list[int], small: int
) -> None:
    shared = memory()
    state = WorkerState(shared)
    written = []
    for size in [*sizes, *[small] * 5]:
        text = bytes([65 + len(written) % 26]) * size
        written.append((state.add_text(1, 0, text), text[-(HALF - 21) :]))
    found = [(piece.number, piece.text) for piece in worker_state.pieces(shared)]
    assert found == written[len(written) - len(found) :]
    kept = sum(len(text) + 21 for _, text in found)
    assert len(found) == len(written) or kept + len(written[-len(found) - 1][1]) + 21 > HALF


def test_a_killed_process_leaves_what_it_had_written() -> None:
    shared = memory()
    child = os.fork()
    if not child:
        state = WorkerState(shared)
        for number in range(100_000):
            state.add_text(5, 1, b"%d\n" % number)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    found = [piece.text for piece in worker_state.pieces(shared)]
    assert len(found) > 5000
    assert found == [b"%d\n" % number for number in range(100_000 - len(found), 100_000)]
