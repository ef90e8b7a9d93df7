"""One fake hub for each test module, and a fresh worker for each test that names one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nbfn.protocol import messages
from tests.unit.kernel.fake_hub import FakeHub, fake_hub


@pytest.fixture(scope="module")
def module_hub() -> Iterator[FakeHub]:
    with pytest.MonkeyPatch.context() as monkeypatch, fake_hub(monkeypatch) as hub:
        yield hub


@pytest.fixture
def hub(module_hub: FakeHub) -> FakeHub:
    module_hub.begin_test()
    return module_hub


@pytest.fixture
def worker(hub: FakeHub) -> str:
    """Give the id of a blank worker that has said hello."""
    name = messages.new_id("wk")
    hub.start(name)
    return name
