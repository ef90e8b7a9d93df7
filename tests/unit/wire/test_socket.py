"""Links whose hub is away, or that are closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbfn.wire import frames
from nbfn.wire.socket import Link


def test_who_wakes_a_closed_link_hits_nobody_else(home: Path) -> None:
    link = Link(f"ipc://{home}/nobody.sock", frames.TO_CLIENT)
    link.close()
    reader, writer = os.pipe()  # would get the lowest number that is free
    link.wake()
    os.set_blocking(reader, False)
    os.close(writer)
    assert os.read(reader, 8) == b""
    os.close(reader)
    bell = link._wake
    del link
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(bell)
