"""Links that are closed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from nbfn.protocol import codec
from nbfn.protocol.transport import Link


@pytest.mark.parametrize("eventfd", [True, False])
def test_who_wakes_a_closed_link_hits_nobody_else(
    home: Path, eventfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not eventfd:
        monkeypatch.delattr(os, "eventfd")
    link = Link(f"ipc://{home}/nobody.sock", codec.TO_CLIENT)
    link.close()
    mine = home / "mine"
    with contextlib.ExitStack() as files:
        for _ in range(32):  # one would get the number of a descriptor that was closed
            files.enter_context(mine.open("wb"))
        link.wake()
    assert mine.read_bytes() == b""
    wakeup = link._wakeup.fileno()
    del link
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(wakeup)
