"""The programs run: they are not read as measurements here."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["spawn", "decisions", "notebook", "lab"])
def test_a_measurement_runs(name: str) -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout, done.stderr
    assert "budgets hold" in done.stdout
