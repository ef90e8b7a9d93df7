"""Where this process is: its Python and directory, and the notebook or script that it belongs to."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
from pathlib import Path

from nbfn.protocol import messages

#: Variables of the notebook that VS Code, and papermill on demand, put its path into.
_PATHS = ("__vsc_ipynb_file__", "PAPERMILL_INPUT_PATH")


@functools.cache
def _cloudpickle_version() -> str:
    return importlib.metadata.version("cloudpickle")


def this_environment() -> messages.Environment:
    """Return where this process's code can run."""
    try:
        cwd = str(Path.cwd())
    except OSError:  # it was deleted: workers stay where they are
        cwd = ""
    return messages.Environment(
        executable=sys.executable,
        sys_path=tuple(entry or cwd for entry in sys.path),
        cwd=cwd,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        cloudpickle=_cloudpickle_version(),
    )


def this_notebook() -> str:
    """Return the path of the notebook whose kernel this is, or ""; as Jupyter, VS Code or papermill tell it."""
    name = os.environ.get("JPY_SESSION_NAME", "")
    if name and not _is_inherited(name):
        return name
    main = sys.modules.get("__main__")
    return next((str(vars(main)[n]) for n in _PATHS if n in vars(main)), "") if main else ""


@functools.cache
def _is_inherited(name: str) -> bool:
    """Whether a kernel has the name from who started it: another notebook whose cell ran nbconvert, say."""
    import psutil  # only needed in kernels

    try:
        parent = psutil.Process(int(os.environ.get("JPY_PARENT_PID", "none")))
        return bool(parent.environ().get("JPY_SESSION_NAME") == name)
    except (ValueError, OSError, psutil.Error):
        return False


def own_name() -> str:
    """Return what people call this process: the notebook's or script's name."""
    if notebook := this_notebook():
        return Path(notebook).name
    return Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"


def this_origin() -> str:
    """Return what calls of this process are known by later: the notebook's path, or the script's name.

    Empty in a worker: what its code calls comes from where the call that it runs comes from.
    """
    if os.environ.get("NBFN_WORKER"):
        return ""
    return this_notebook() or own_name()
