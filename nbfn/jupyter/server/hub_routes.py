"""The routes of the hub: its start, and its health."""

from __future__ import annotations

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from nbfn._version import __version__
from nbfn.jupyter.server import schema
from nbfn.jupyter.server.routes import Handler, soon


class StartHandler(Handler):
    """The embedded hub."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Start the hub if none runs."""
        await self.hub_client.client(start=True)
        await self.answer(schema.Empty())


class HealthHandler(Handler):
    """The health of the hub."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with sizes, lost workers, and warnings that say what to do."""
        client = await self.hub_client.client()
        found = msgspec.structs.asdict(await soon(client.health.aio()))
        found["server_version"] = __version__
        await self.answer(msgspec.convert(found, schema.Health, from_attributes=True))


ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/nbfn/api/hub/start", StartHandler),
    (r"/nbfn/api/hub/health", HealthHandler),
]
