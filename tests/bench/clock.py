"""Timing in turns: each round runs every contender once, so the machine's noise hits all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping

Action = Callable[[], object]


def once(action: Action) -> float:
    """Return the seconds that one run takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def in_turns(
    contenders: Mapping[str, Action], *, rounds: int, each: int = 1
) -> dict[str, list[float]]:
    """Return for each contender the seconds of its runs.

    Args:
        contenders: What to run, by name. Run once beforehand, untimed.
        rounds: Times that all take their turn.
        each: Runs in a row within a turn.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for action in contenders.values():
        action()
    for _ in range(rounds):
        for name, action in contenders.items():
            gc.collect()
            found[name].extend(once(action) for _ in range(each))
    return found


def medians(found: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the median of each contender."""
    return {name: statistics.median(values) for name, values in found.items()}


def wait_until(condition: Callable[[], object], within: float = 30.0) -> None:
    """Return when a condition holds."""
    ends = time.monotonic() + within
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"not so within {within:g} s")
        time.sleep(0.005)
