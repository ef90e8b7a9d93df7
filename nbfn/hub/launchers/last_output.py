"""Reads what a worker had written when it died: what it kept in its memory, and the ends of its log files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from nbfn.hub.launchers import stderr_tail
from nbfn.protocol import worker_state
from nbfn.protocol.worker_state import CHANNELS, FINISHED, LEASE, PACKED, READ_OF_STDOUT, Piece
from nbfn.runtime.output_channels import LOG

#: Bytes that are read; what is older is passed over. Of a worker that ended well, only its last words are missing.
MOST, MOST_AFTER_GOOD_END = 1024 * 1024, 64 * 1024


class LastOutput(NamedTuple):
    """What a worker wrote last.

    Attributes:
        pieces: In order, as (number, lease, channel, text).
        stderr: The last lines that the input which ran wrote to stderr, or those of the worker.
    """

    pieces: list[tuple[int, int, str, str]]
    stderr: str


def read(memory: Any, logs: tuple[Path, Path]) -> LastOutput:
    """Return what a worker that has ended wrote last.

    Args:
        memory: What it shared; see `worker_state`.
        logs: Its log files: of stdout and of stderr.
    """
    found: list[tuple[int, int, str, str]] = []
    numbers = worker_state.numbers_of(memory)
    try:
        left = MOST_AFTER_GOOD_END if numbers[FINISHED] else MOST
        lease = numbers[LEASE]
        kept = worker_state.pieces(memory)
        for piece in reversed([*kept, *_rests(numbers, kept, logs)]):
            text = _text(piece, logs, left)
            left -= len(text)
            if text:
                found.append((piece.number, piece.lease, piece.channel, text))
    finally:
        numbers.release()
    found.reverse()
    return LastOutput(found, _stderr(found, lease))


def _rests(numbers: memoryview, kept: list[Piece], logs: tuple[Path, Path]) -> list[Piece]:
    """Return the parts of the log files that the worker has not seen, as if it had."""
    number, rests = kept[-1].number if kept else 0, []
    for place, log in enumerate(logs):
        first, size = numbers[READ_OF_STDOUT + place], _size(log)
        if size > first:
            rest = Piece(number + place + 1, numbers[LEASE], CHANNELS[place], b"", (first, size))
            rests.append(rest)
    return rests


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def _text(piece: Piece, logs: tuple[Path, Path], most: int) -> str:
    """Return the text of a piece, or the last bytes of it; of a crash only the lines about user code."""
    data = piece.text[max(0, len(piece.text) - most) :]
    if piece.channel in PACKED and len(data) < len(piece.text):
        return ""
    if piece.span is not None:
        first, end = piece.span
        first = max(first, end - most)
        try:
            descriptor = os.open(logs[CHANNELS.index(piece.channel)], os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            data = os.pread(descriptor, end - first, first)
        finally:
            os.close(descriptor)
    text = data.decode("utf-8", "replace")
    if piece.span is not None and stderr_tail.CRASH in text:
        return stderr_tail.without_own_frames(text)
    return text


def _stderr(found: list[tuple[int, int, str, str]], lease: int) -> str:
    began = next((n for n, piece in enumerate(found) if piece[1] == lease), 0) if lease else 0
    texts = []
    for _, _, channel, text in found[began:]:
        if channel in {"stderr", LOG}:
            texts.append(text.partition("\0")[0])  # what follows are the fields of a record
    return stderr_tail.last_lines("".join(texts))
