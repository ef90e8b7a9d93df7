"""The parts of ``modal.experimental`` that nbfn has."""

from __future__ import annotations

from nbfn import context

__all__ = ["stop_fetching_inputs"]


def stop_fetching_inputs() -> None:
    """Have this worker finish what it runs, take no further input, and exit.

    Called in user code, say after an error that leaves a GPU unusable; the next input gets another worker.

    Raises:
        ExecutionError: Outside of a worker.
    """
    context.stop_fetching()
