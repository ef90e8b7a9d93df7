"""Time, as the hub lives it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbfn.hub import __main__ as hub
from nbfn.hub import broker


def test_what_is_slept_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    real = [100.0]
    monkeypatch.setattr(broker.time, "monotonic", lambda: real[0])
    mine = broker.SuspendAwareClock()
    real[0] += 1.0
    assert mine.now() == 101.0
    real[0] += 30.0
    assert mine.now() == 101.0
    real[0] += 2.0
    assert mine.now() == 103.0


def test_each_hub_has_a_higher_epoch(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "hub.lock", os.O_CREAT | os.O_RDWR)
    first, second = hub._next_epoch(lock), hub._next_epoch(lock)
    assert second > first
    os.pwrite(lock, b"5000000000\n", 0)  # by a clock that was ahead
    assert hub._next_epoch(lock) == 5000000001
    for rubbish in (b"rubbish...", b"9999999999"):
        os.pwrite(lock, rubbish, 0)
        assert first <= hub._next_epoch(lock) < first + 60
    os.close(lock)
