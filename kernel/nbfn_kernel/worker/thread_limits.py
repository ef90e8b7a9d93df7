"""Limits the threads of numeric libraries in a worker to its share of the cores."""

from __future__ import annotations

import os
import sys
from typing import Any

from nbfn.runtime import threads

#: Modules with a native library whose threads can be limited after it is loaded.
_NATIVE = frozenset({"numpy", "scipy", "sklearn", "torch"})


def limit(count: int) -> None:
    """Limit numeric libraries to ``count`` threads, unless the user has set another number.

    Libraries that are loaded later read environment variables. Libraries that are loaded already, for example by a
    ``sitecustomize``, are limited by threadpoolctl.
    """
    threads.limit(count)
    if _NATIVE.isdisjoint(sys.modules):
        return
    from threadpoolctl import threadpool_limits  # imported only where a native library is loaded

    openmp = int(os.environ["OMP_NUM_THREADS"])
    blas = int(os.environ.get("OPENBLAS_NUM_THREADS") or openmp)
    threadpool_limits(limits={"openmp": openmp, "blas": blas})
    if (torch := sys.modules.get("torch")) is not None:
        set_threads: Any = torch.set_num_threads
        set_threads(openmp)
