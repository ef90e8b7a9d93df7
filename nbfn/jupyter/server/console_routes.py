"""The route that opens a console on a worker."""

from __future__ import annotations

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from nbfn.exception import NotFoundError
from nbfn.jupyter.server.routes import ID, Handler
from nbfn.jupyter.server.schema import Console
from nbfn.jupyter.server.worker_consoles import WorkerConsoles


class ConsoleHandler(Handler):
    """Consoles of one worker."""

    @web.authenticated
    @authorized
    async def post(self, worker_id: str) -> None:
        """Open a console, and answer with the id of its kernel on this server."""
        client = await self.hub_client.client()
        overview = await client.overview.aio()
        pid = next((row.pid for row in overview.workers if row.id == worker_id), None)
        if pid is None or ID.fullmatch(worker_id) is None:
            raise NotFoundError(f"There is no worker {worker_id[:40]!r} now.")
        file = await client.attach_console.aio(worker_id)
        consoles: WorkerConsoles = self.settings["nbfn_worker_consoles"]
        kernel_id = consoles.open(worker_id, pid, file)
        await self.finish(msgspec.json.encode(Console(kernel_id=kernel_id, connection_file=file)))


ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/nbfn/api/workers/([^/]+)/console", ConsoleHandler),
]
