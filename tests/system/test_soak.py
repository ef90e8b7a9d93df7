"""Memory, descriptors and threads stay level under mixed load; ``make soak`` runs the same for half an hour."""

from __future__ import annotations

from pathlib import Path

from tests.soak import Growth, soak


def test_ten_seconds_of_mixed_load_leave_nothing_behind(home: Path) -> None:
    found = soak(home, 10)
    assert {growth.what for growth in found} >= {"client, MB", "hub, descriptors", "hub, threads"}
    # In so short a run the workers have not all started by its middle.
    steady = [growth for growth in found if growth.what.startswith(("client", "hub", "shared"))]
    assert [str(growth) for growth in steady if not growth.holds] == []


def test_growth_is_that_of_the_second_half() -> None:
    settles = [(float(n), min(n, 10) * 20.0) for n in range(40)]
    leaks = [(float(n), 100.0 + 2 * n) for n in range(40)]
    assert Growth.of(("hub", "MB"), settles).holds
    leak = Growth.of(("hub", "MB"), leaks)
    assert (round(leak.added), leak.holds) == (38, False)
