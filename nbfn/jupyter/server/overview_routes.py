"""The route of the overview."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from nbfn.jupyter.server.routes import Handler


class OverviewHandler(Handler):
    """The data of the sidebar; also answers when there is no hub."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the state of the connection, and the last overview if there is one."""
        await self.hub_client.overview()
        await self.answer(self.hub_client.mirror.reply())


ROUTES: list[tuple[str, type[Handler]]] = [(r"/nbfn/api/overview", OverviewHandler)]
