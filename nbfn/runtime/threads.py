"""Environment variables that say how many threads numeric libraries use: the user's, and those a worker sets."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

#: Of libraries that use ``OMP_NUM_THREADS`` where theirs is not set.
_LIKE_OPENMP = (
    "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS",
)  # fmt: skip
#: ``LOKY_MAX_CPU_COUNT`` is what joblib and scikit-learn take for the number of processors.
VARIABLES = (
    "OMP_NUM_THREADS", *_LIKE_OPENMP, "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS", "LOKY_MAX_CPU_COUNT",
)  # fmt: skip
#: Names the variables that a worker set itself, in it and in the processes that it starts.
_OWN = "NBFN_THREAD_VARIABLES"


def chosen() -> dict[str, str]:
    """Return the variables that the user has set in this process."""
    own = _own(os.environ)
    return {name: os.environ[name] for name in VARIABLES if name in os.environ and name not in own}


def limit(count: int) -> None:
    """Set the variables that the user has not set, for libraries that are loaded from now on."""
    given = chosen()
    passed_over = set(given)
    if "OMP_NUM_THREADS" in given:
        passed_over.update(_LIKE_OPENMP)
    if passed_over & {"NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS"}:
        passed_over.update(_LIKE_OPENMP[3:])  # numexpr refuses a number above its maximum
    names = [name for name in VARIABLES if name not in passed_over]
    os.environ.update(dict.fromkeys(names, str(count)))
    os.environ[_OWN] = ",".join(names)


def without_limits(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables that its worker has set."""
    own = _own(environ)
    return {name: value for name, value in environ.items() if name != _OWN and name not in own}


def _own(environ: MutableMapping[str, str]) -> list[str]:
    return environ.get(_OWN, "").split(",")
