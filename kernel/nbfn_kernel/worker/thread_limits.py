"""Limits the threads of numeric libraries in a worker to its share of the processors."""

from __future__ import annotations

import os
import sys
from typing import Any

from nbfn.runtime import threads

#: Modules that bring a library whose threads can be limited after it was loaded.
_NATIVE = frozenset({"numpy", "scipy", "sklearn", "torch"})


def limit(count: int) -> None:
    """Have numeric libraries use that many threads, where the user has not said otherwise.

    Those that are loaded later read environment variables; those that are loaded already, by a
    ``sitecustomize`` for instance, have read them before.
    """
    threads.limit(count)
    if _NATIVE.isdisjoint(sys.modules):
        return
    from threadpoolctl import threadpool_limits  # not before something native is loaded

    openmp = int(os.environ["OMP_NUM_THREADS"])
    blas = int(os.environ.get("OPENBLAS_NUM_THREADS") or openmp)
    threadpool_limits(limits={"openmp": openmp, "blas": blas})
    if (torch := sys.modules.get("torch")) is not None:
        set_threads: Any = torch.set_num_threads
        set_threads(openmp)
