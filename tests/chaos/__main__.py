"""``python -m tests.chaos --seconds 600 --seed 7``: a longer run, or many."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import SETTINGS, run
from tests.conftest import a_home


def main() -> int:
    """Run with one seed after the other; return 1 when something was not as promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of killing, in all")
    parser.add_argument("--seed", type=int, default=None, help="of the first run")
    parser.add_argument("--each", type=float, default=60.0, help="seconds of killing in one run")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10_000) if given.seed is None else given.seed
    os.environ.update(SETTINGS)
    until, bad = time.monotonic() + given.seconds, 0
    while (left := until - time.monotonic()) > 0:
        bad += _bad(seed, min(left, given.each))
        seed += 1
    return 1 if bad else 0


def _bad(seed: int, seconds: float) -> bool:
    wrong = False
    try:
        with a_home() as home, tempfile.TemporaryDirectory() as scratch:
            report = run(home, Path(scratch) / "journal", seconds, seed)
            print(report, *report.wrong[:20], sep="\n  ", flush=True)
            if wrong := bool(report.wrong):
                print((home / "logs" / "hub.log").read_text()[-6000:], flush=True)
    except AssertionError as left_behind:
        print(f"seed {seed}: {left_behind}", flush=True)
        wrong = True
    return wrong


if __name__ == "__main__":
    sys.exit(main())
