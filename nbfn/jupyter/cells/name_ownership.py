"""Refuses to deploy a name that another notebook owns."""

from __future__ import annotations

import functools
import time
from pathlib import Path

from nbfn.client.client import Client
from nbfn.client.process_info import this_notebook
from nbfn.client.registration.app_scope import RegistrationGuard
from nbfn.exception import ConflictError, NotFoundError
from nbfn.protocol import messages
from nbfn.protocol.messages import Definition, FunctionInfo
from nbfn.runtime.time_span import format_span


def guard(app: str, environment_name: str) -> RegistrationGuard | None:
    """Return a check that refuses definitions whose name another notebook owns, while its file exists.

    The same code with the same options is accepted. The owner is the path of a notebook, so restarting
    its kernel changes nothing. Without a path (nbclient, a terminal) there is no owner.

    Args:
        app: The App that is deployed.
        environment_name: Its environment; the default one if empty.

    Returns:
        The check; None if this notebook has no path.
    """
    return functools.partial(_check, app, environment_name) if this_notebook() else None


async def _check(app: str, environment_name: str, client: Client, definition: Definition) -> None:
    __tracebackhide__ = True
    try:
        answer: messages.Registered = await client.request(
            lambda n: messages.Lookup(n, app, definition.name, environment_name)
        )
    except NotFoundError:
        return
    info = answer.info
    if info.owner in ("", this_notebook()) or not _is_there(info.owner):
        return
    if await _is_the_same(client, info, definition):
        return
    ago = format_span(max(0.0, time.time() - info.made))
    raise ConflictError(
        f"{app}/{definition.name} belongs to {Path(info.owner).name}, which registered v{info.version} {ago} ago. "
        "Add --take-over to replace it, or choose another --app."
    )


async def _is_the_same(client: Client, info: FunctionInfo, definition: Definition) -> bool:
    answer: messages.DefinitionTold = await client.request(
        lambda n: messages.GetDefinition(n, info.id, info.version)
    )
    return answer.definition.digest == definition.digest


def _is_there(notebook: str) -> bool:
    return Path(notebook).exists()
