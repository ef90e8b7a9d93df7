"""Runs a part of the guide with workers that are not forked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parent
PARTS = [
    "test_remote.py",
    "test_map.py",
    "test_spawn.py",
    "test_generators.py",
    "contract/test_class_lifecycle.py",
]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_part_of_the_guide_passes_with_workers_that_are_subprocesses() -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *(GUIDE / part for part in PARTS),
        ],
        cwd=GUIDE.parents[1],
        env=os.environ | {"NBFN_LAUNCHER": "subprocess"},
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-8000:]
