"""Waiting until the hub has what was written."""

from __future__ import annotations

import threading
import time

import pytest

from nbfn.protocol.messages import Sync
from nbfn.protocol.worker_state import WorkerState
from nbfn_kernel.worker import outbox as module
from nbfn_kernel.worker.log_files import LogFiles
from nbfn_kernel.worker.outbox import Outbox, Text
from tests.conftest import wait_until


@pytest.fixture
def outbox() -> Outbox:
    return Outbox(lambda: None, WorkerState(), LogFiles(()))  # type: ignore[arg-type]


def test_what_was_written_is_sent_before_the_question_whether_it_arrived(outbox: Outbox) -> None:
    outbox.write(1, "stdout", "half a line")
    waiting = threading.Thread(target=outbox.sync, args=(1,))
    waiting.start()
    wait_until(lambda: len(outbox.entries) == 2)
    text, sync = outbox.entries
    assert isinstance(text, Text)
    assert text.text == "half a line"
    assert isinstance(sync, Sync)
    assert outbox.urgent
    assert waiting.is_alive()
    outbox.acknowledge(sync.number)
    waiting.join(0.9 * module.SYNC_TIMEOUT)
    assert not waiting.is_alive()


def test_nothing_is_asked_when_nothing_new_was_written(outbox: Outbox) -> None:
    outbox.sync(1)
    assert not outbox.entries
    outbox.write(1, "stdout", "line\n")
    outbox.acknowledge(1)
    outbox.entries.clear()
    outbox.sync(1)
    assert not outbox.entries


def test_two_threads_wait_for_the_same(outbox: Outbox) -> None:
    outbox.write(1, "stdout", "line\n")
    threads = [threading.Thread(target=outbox.sync, args=(1,)) for _ in range(2)]
    for one in threads:
        one.start()
    wait_until(lambda: sum(isinstance(entry, Sync) for entry in outbox.entries) == 2)
    outbox.acknowledge(1)
    for one in threads:
        one.join(0.9 * module.SYNC_TIMEOUT)
    assert not any(one.is_alive() for one in threads)


def test_a_hub_that_does_not_answer_is_not_waited_for_for_ever(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SYNC_TIMEOUT", 0.05)
    outbox.write(1, "stdout", "line\n")
    began = time.monotonic()
    outbox.sync(1)
    assert 0.04 < time.monotonic() - began < 5.0
