"""The guide's tests of one file share a hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import a_home


@pytest.fixture(scope="module", autouse=True)
def hub_home() -> Iterator[Path]:
    """One home for the file."""
    with a_home() as base:
        yield base
