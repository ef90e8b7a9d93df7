"""Which notebook a deployed name belongs to: two that claim the same one are told."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from IPython.core.error import UsageError

from nbfn.client import Client
from nbfn.exception import NotFoundError
from nbfn.sync import run
from nbfn.whereabouts import this_notebook
from nbfn.wire import messages
from nbfn.wire.messages import FunctionInfo

from .snapshot import clock


def check(app: str, names: Iterable[str], environment_name: str | None) -> None:
    """Refuse names that another notebook has registered, as long as its file is there.

    A notebook knows itself by its path, so its own restart changes nothing; without a path (nbclient,
    a terminal) there is no owner and nothing to refuse.

    Raises:
        UsageError: Names the owner, how long ago it was, and what to do.
    """
    mine = this_notebook()
    if not mine:
        return
    for name in names:
        info = _known(app, name, environment_name or "")
        if info is not None and info.owner not in ("", mine) and Path(info.owner).exists():
            ago = clock(max(0.0, time.time() - info.made))
            raise UsageError(
                f"{app}/{name} belongs to {Path(info.owner).name}, which registered v{info.version} {ago} ago. "
                "Add --take-over to replace it, or choose another --app."
            )


def _known(app: str, name: str, environment_name: str) -> FunctionInfo | None:
    try:
        answer: messages.Registered = run(
            Client.attach().request(lambda n: messages.Lookup(n, app, name, environment_name))
        )
    except NotFoundError:
        return None
    return answer.info
