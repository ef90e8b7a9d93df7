"""Twenty seconds of chaos; NBFN_CHAOS_SECONDS and NBFN_CHAOS_SEED make it longer, or another."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.chaos.run import PEACE, SETTINGS, run

SECONDS = float(os.environ.get("NBFN_CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("NBFN_CHAOS_SEED", random.SystemRandom().randrange(10_000)))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + PEACE + 60)
def test_all_guarantees_hold_while_processes_are_killed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    print(f"seed {SEED}")
    report = run(home, tmp_path / "journal", SECONDS, SEED)
    print(report)
    assert not report.wrong, "\n".join([str(report), *report.wrong[:20]])
    assert report.inputs > 50
    assert report.faults
