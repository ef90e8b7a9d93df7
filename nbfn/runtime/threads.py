"""Sets the environment variables that limit the threads of numeric libraries in a worker.

Variables that the user has set are not changed.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

#: Variables of libraries that fall back to ``OMP_NUM_THREADS``.
_LIKE_OPENMP = (
    "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS",
)  # fmt: skip
#: joblib and scikit-learn use ``LOKY_MAX_CPU_COUNT`` as the number of processors.
VARIABLES = (
    "OMP_NUM_THREADS", *_LIKE_OPENMP, "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS", "LOKY_MAX_CPU_COUNT",
)  # fmt: skip
#: The variable that lists the variables that a worker has set itself. Child processes inherit it.
_OWN = "NBFN_THREAD_VARIABLES"


def chosen() -> dict[str, str]:
    """Return the variables that the user has set in this process."""
    own = _own(os.environ)
    return {name: os.environ[name] for name in VARIABLES if name in os.environ and name not in own}


def limit(count: int) -> None:
    """Limit the threads of numeric libraries that are loaded later; variables of the user stay unchanged.

    Args:
        count: The number of threads.
    """
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
    """Return a copy of an environment without the variables that `limit` has set."""
    own = _own(environ)
    return {name: value for name, value in environ.items() if name != _OWN and name not in own}


def _own(environ: MutableMapping[str, str]) -> list[str]:
    return environ.get(_OWN, "").split(",")
