"""Describes this process: its Python, its directory, and its notebook or script."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
from pathlib import Path

from nbfn.protocol import messages

#: Variables in which VS Code, and papermill if asked, put the path of the notebook.
_PATHS = ("__vsc_ipynb_file__", "PAPERMILL_INPUT_PATH")

#: Names the worker of a session of the remote kernel, in its processes.
_SESSION = "NBFN_SESSION_OF"


@functools.cache
def _cloudpickle_version() -> str:
    return importlib.metadata.version("cloudpickle")


def this_environment() -> messages.Environment:
    """Return the Python environment of this process, in which its code can run."""
    try:
        cwd = str(Path.cwd())
    except OSError:  # it was deleted: workers keep their own
        cwd = ""
    return messages.Environment(
        executable=sys.executable,
        sys_path=tuple(entry or cwd for entry in sys.path),
        cwd=cwd,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        cloudpickle=_cloudpickle_version(),
    )


def this_notebook() -> str:
    """Return the path of the notebook whose kernel this is, or "". Jupyter, VS Code or papermill set it."""
    name = os.environ.get("JPY_SESSION_NAME", "")
    if name and not _is_inherited(name):
        return name
    main = sys.modules.get("__main__")
    return next((str(vars(main)[n]) for n in _PATHS if n in vars(main)), "") if main else ""


@functools.cache
def _is_inherited(name: str) -> bool:
    """Return whether a kernel inherited the name, for example from a notebook whose cell ran nbconvert."""
    import psutil  # only needed in kernels

    try:
        parent = psutil.Process(int(os.environ.get("JPY_PARENT_PID", "none"))).environ()
        # The parent of a session is a worker, which may have the name from the notebook that started the hub.
        begins_session = parent.get(_SESSION) != os.environ.get(_SESSION)
        return bool(parent.get("JPY_SESSION_NAME") == name and not begins_session)
    except (ValueError, OSError, psutil.Error):
        return False


def own_name() -> str:
    """Return the name of the notebook or script."""
    if notebook := this_notebook():
        return Path(notebook).name
    return Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"


def this_origin() -> str:
    """Return the path of the notebook or the name of the script, by which its calls can be listed later.

    Empty in a worker: calls of its code have the origin of the call that it runs.
    """
    if os.environ.get("NBFN_WORKER"):
        return ""
    return this_notebook() or own_name()
