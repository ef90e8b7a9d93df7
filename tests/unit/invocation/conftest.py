"""Calls whose observer keeps what it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nbfn.connection import observe
from nbfn.connection.observe import CallView
from tests.unit.invocation.recording_connection import RecordingSink


class _Observer:
    def call_started(self, call: CallView) -> RecordingSink:
        return RecordingSink()


@pytest.fixture
def observer() -> Iterator[None]:
    """Have each call tell a `RecordingSink`."""
    before = observe._observer
    observe.set_observer(_Observer())
    yield
    observe.set_observer(before)
