"""The logs on disk: lines, pages, bounds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbfn.hub import log_store
from nbfn.hub.log_store import LogStore
from nbfn.hub.scheduler.effects import WriteLog
from nbfn.protocol.messages import GetLogs, Logs

WEEK = 7 * 86400.0


class Opened:
    """A started log store, and a way to wait for its answers."""

    def __init__(self, path: Path, most: int = 2**30, retention: float = WEEK) -> None:
        self._woken = threading.Semaphore(0)
        self.store = LogStore(path, most, retention)
        self.store.start(self._woken.release)

    def write(self, text: str | bytes, call: str = "fc-1", source: str = "stdout") -> None:
        data = text if isinstance(text, bytes) else text.encode()
        self.store.write(WriteLog("ap-1", "fu-1", call, 0, "wk-1", source, data))

    def ask(self, *, ended: bool = True, **query: object) -> Logs:
        self.store.ask("cl-1", GetLogs(1, **query), ended=ended)  # type: ignore[arg-type]
        return self.answer()

    def answer(self) -> Logs:
        assert self._woken.acquire(timeout=10)
        ((client, answer),) = self.store.finished()
        assert client == "cl-1"
        return answer

    def lines(self, **query: object) -> list[str]:
        return [line.message for line in self.ask(**query).lines]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made = Opened(tmp_path / "logs.db")
    yield made
    made.store.close()


def test_pieces_become_lines_of_their_stream(opened: Opened) -> None:
    for piece in ("a", "b\nc", "d\n", "rest"):
        opened.write(piece)
        opened.write(piece.upper(), source="stderr")
    assert opened.lines(sources=("stdout",)) == ["ab\n", "cd\n", "rest"]
    assert opened.lines(sources=("stderr",)) == ["AB\n", "CD\n", "REST"]


def test_bytes_that_are_no_text_and_lines_without_end_are_taken(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_store, "LONGEST_LINE", 10)
    opened.write(b"\xff\n")
    opened.write("x" * 25)
    assert opened.lines() == ["�\n", "x" * 10, "x" * 10, "x" * 5]


def test_long_answers_come_in_pages(opened: Opened) -> None:
    opened.write("".join(f"{n}\n" for n in range(2500)))
    found, after = [], 0
    while True:
        answer = opened.ask(after=after)
        found += [line.message for line in answer.lines]
        after = answer.last
        if not answer.more:
            break
        assert not answer.ended
    assert found == [f"{n}\n" for n in range(2500)]
    assert opened.lines(tail=2) == ["2498\n", "2499\n"]


def test_numbers_without_sense_harm_nothing(opened: Opened) -> None:
    opened.write("line\n")
    nan = float("nan")
    opened.ask(ended=False, after=2**64 - 1, tail=-5, since=nan, until=-1.0, wait=nan)
    opened.ask(ended=False, after=-7, tail=2**64 - 1, wait=float("inf"))
    assert opened.lines() == ["line\n"]


def test_who_waits_is_answered_when_there_is_something(opened: Opened) -> None:
    opened.store.ask("cl-1", GetLogs(7, wait=60.0, call="fc-1"), ended=False)
    opened.write("for others\n", call="fc-2")
    opened.write("at last\n")
    answer = opened.answer()
    assert [line.message for line in answer.lines] == ["at last\n"]
    assert answer.request == 7


def test_who_waits_in_vain_is_answered_in_time(opened: Opened) -> None:
    answer = opened.ask(ended=False, wait=0.05)
    assert (answer.lines, answer.ended) == ((), False)


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    opened = Opened(tmp_path / "logs.db", most=20_000)
    for number in range(20):
        opened.write(f"{number:>9}\n" * 200, call=f"fc-{number}")
        opened.lines(tail=1)  # written, one after the other
    kept = sum(len(line) for line in opened.lines())
    assert 0 < kept <= 22_000
    assert opened.lines(tail=1) == [f"{19:>9}\n"]
    opened.store.close()


def test_of_one_call_not_too_much_is_kept_and_a_line_says_so(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_store, "MOST_OF_CALL", 100)
    for _ in range(10):
        opened.write("x" * 29 + "\n")
    opened.write("another\n", call="fc-2")
    lines = opened.lines()
    assert [line.startswith("xxx") for line in lines] == [True, True, True, False, False]
    assert "the rest is dropped" in lines[3]


def test_what_comes_too_fast_is_dropped_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_store, "MOST_WAITING", 50)
    store = LogStore(tmp_path / "logs.db", 2**30, WEEK)
    opened = Opened.__new__(Opened)
    opened.store, opened._woken = store, threading.Semaphore(0)
    for _ in range(4):
        opened.write("y" * 19 + "\n")  # nobody reads them yet
    store.start(opened._woken.release)
    lines = opened.lines()
    assert sum(line.startswith("yyy") for line in lines) == 2
    assert any("40 bytes of logs arrived too fast" in line for line in lines)
    store.close()


def test_lines_are_there_after_a_restart_until_they_are_too_old(tmp_path: Path) -> None:
    opened = Opened(tmp_path / "logs.db")
    opened.write("kept")
    opened.store.close()
    again = Opened(tmp_path / "logs.db")
    assert again.lines() == ["kept"]
    again.store.close()
    later = Opened(tmp_path / "logs.db", retention=-1.0)
    assert later.lines() == []
    later.store.close()


def test_a_broken_file_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "logs.db").write_bytes(b"not a database" * 1000)
    opened = Opened(tmp_path / "logs.db")
    opened.write("fresh\n")
    assert opened.lines() == ["fresh\n"]
    opened.store.close()
    assert (tmp_path / "logs.db").stat().st_mode & 0o077 == 0
