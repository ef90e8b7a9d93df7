"""Waking a thread by a descriptor: an eventfd, and the pipe that stands in for it elsewhere."""

from __future__ import annotations

import os
import select

import pytest

from nbfn.protocol.transport import Wakeup


@pytest.fixture(params=["eventfd", "pipe"])
def wakeup(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Wakeup:
    if request.param == "pipe":
        monkeypatch.delattr(os, "eventfd")
    return Wakeup()


def is_set(wakeup: Wakeup) -> bool:
    return bool(select.select([wakeup], [], [], 0)[0])


def test_it_is_readable_from_set_to_clear(wakeup: Wakeup) -> None:
    assert not is_set(wakeup)
    wakeup.set()
    wakeup.set()
    assert is_set(wakeup)
    wakeup.clear()
    assert not is_set(wakeup)
    wakeup.clear()  # does not block
    wakeup.set()
    assert is_set(wakeup)


def test_setting_it_any_number_of_times_does_not_block(wakeup: Wakeup) -> None:
    for _ in range(20_000):  # more than a pipe holds
        wakeup.set()
    assert is_set(wakeup)
    wakeup.clear()
    assert not is_set(wakeup)


def test_its_descriptors_are_not_inherited(wakeup: Wakeup) -> None:
    descriptors = {wakeup._readable, wakeup._writable}
    assert not any(os.get_inheritable(descriptor) for descriptor in descriptors)
