"""Fixtures of the guide: the tests of one file share a hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import a_home


@pytest.fixture(scope="module", autouse=True)
def hub_home() -> Iterator[Path]:
    """Return the home directory that the tests of a file share."""
    with a_home() as base:
        yield base
