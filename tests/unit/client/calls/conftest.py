"""Calls whose observer keeps what it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nbfn.client import call_observer
from nbfn.client.call_observer import CallObserver, CallView
from tests.unit.client.calls.recording_connection import RecordingSink


class _Observer(CallObserver):
    def call_started(self, call: CallView) -> RecordingSink:
        return RecordingSink()


@pytest.fixture
def observer() -> Iterator[None]:
    """Have each call tell a `RecordingSink`."""
    before = call_observer.observer
    call_observer.set_observer(_Observer())
    yield
    call_observer.set_observer(before)
