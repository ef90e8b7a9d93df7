"""The routes that end a worker."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from nbfn.jupyter.server import schema
from nbfn.jupyter.server.routes import Handler, checked, soon


class DrainHandler(Handler):
    """Ends a worker after its inputs."""

    graceful = True

    @web.authenticated
    @authorized
    async def post(self, worker_id: str) -> None:
        """End the worker; a session only with ``end_session``."""
        worker = checked(worker_id, "wk")
        given = self.body(schema.EndRequest)
        client = await self.hub_client.client()
        ending = client.stop_worker.aio(
            worker, graceful=self.graceful, end_session=given.end_session
        )
        await soon(ending)
        await self.answer(schema.Empty())


class StopHandler(DrainHandler):
    """Ends a worker at once; its inputs run again elsewhere."""

    graceful = False


ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/nbfn/api/workers/([^/]+)/drain", DrainHandler),
    (r"/nbfn/api/workers/([^/]+)/stop", StopHandler),
]
