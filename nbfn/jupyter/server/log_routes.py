"""The route of the logs."""

from __future__ import annotations

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from nbfn.jupyter.server import schema
from nbfn.jupyter.server.hub_client import PATIENCE
from nbfn.jupyter.server.routes import Handler, checked, parse_query, soon
from nbfn.protocol.messages import GetLogs


class LogsHandler(Handler):
    """Lines of the logs."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the lines that match, or wait for one."""
        query = parse_query(self, schema.LogsQuery)
        for name, prefix in (("app", "ap"), ("function", "fu"), ("call", "fc"), ("worker", "wk")):
            if given := getattr(query, name):
                checked(given, prefix)
        wanted = GetLogs(
            request=0,
            app=query.app,
            function=query.function,
            call=query.call,
            worker=query.worker,
            since=query.since,
            until=query.until,
            sources=tuple(source for source in query.sources.split(",") if source),
            search=query.search,
            tail=query.tail,
            after=query.after,
            wait=query.wait,
        )
        client = await self.hub_client.client()
        found = await soon(client.log_lines.aio(wanted), PATIENCE + query.wait)
        await self.answer(msgspec.convert(found, schema.LogsPage, from_attributes=True))


ROUTES: list[tuple[str, type[Handler]]] = [(r"/nbfn/api/logs", LogsHandler)]
