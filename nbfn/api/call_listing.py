"""`calls`: lists the calls of this notebook or script."""

from __future__ import annotations

from nbfn.client.client import Client, attached
from nbfn.client.process_info import this_origin
from nbfn.protocol.messages import CallRow, GetOverview
from nbfn.runtime.sync import Blocking


@Blocking
async def calls(*, all: bool = False, client: Client | None = None) -> list[CallRow]:  # noqa: A002 - as in a shell
    """Return the recent calls of this notebook, or of the script of this name, without the session of a notebook.

    Running ones come first, then ended ones, the latest first. Each has ``id``, ``function``, ``app``,
    ``kind``, ``ended``, ``state`` (queued, starting, running, detached, succeeded, failed, cancelled), ``age`` in
    seconds and ``origin``. Its ``total`` inputs are ``succeeded``, ``failed``, ``cancelled``, ``running``,
    ``waiting`` or ``not_run``.

    Args:
        all: Whether to return the calls of all processes.
        client: The connection to use; that of this process when not given.
    """
    __tracebackhide__ = True
    overview = await (await attached(client)).request(GetOverview)
    origin = this_origin()
    found = [row for row in overview.calls if row.kind != "session"]
    return [row for row in found if all or row.origin == origin]
