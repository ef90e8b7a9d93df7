"""The Jupyter Server extension: creates the client of the hub, the routes and the events.

It has no traits; its settings are those of `nbfn.config`.
"""

from __future__ import annotations

from jupyter_server.extension.application import ExtensionApp

from nbfn.jupyter.server import (
    call_routes,
    console_routes,
    function_routes,
    hub_routes,
    log_routes,
    overview_routes,
    settings_routes,
    worker_routes,
)
from nbfn.jupyter.server.events import Events
from nbfn.jupyter.server.hub_client import HubClient
from nbfn.jupyter.server.overview_mirror import OverviewMirror
from nbfn.jupyter.server.pre_save_hook import PreSaveHook
from nbfn.jupyter.server.timeline import TIMELINE_ROUTES
from nbfn.jupyter.server.worker_consoles import WorkerConsoles


class NbfnApp(ExtensionApp):
    """Serves the data of the nbfn sidebar under ``/nbfn/api/``."""

    name = "nbfn"
    extension_url = "/lab"
    load_other_extensions = True

    def initialize_settings(self) -> None:
        """Create the client that all routes share; it looks for a hub once the server runs."""
        server = self.serverapp
        assert server is not None
        assert server.event_logger is not None
        events = Events(server.event_logger)
        self.hub_client = HubClient(OverviewMirror(events.changed))
        self.settings["nbfn_hub_client"] = self.hub_client
        self.worker_consoles = WorkerConsoles(server.kernel_manager)
        self.settings["nbfn_worker_consoles"] = self.worker_consoles
        # The page compares it with the paths of notebooks that the hub knows.
        page_config = self.settings.setdefault("page_config_data", {})
        page_config["nbfnRootDir"] = server.root_dir
        PreSaveHook(self.hub_client.mirror.reply).install(server.contents_manager)

    def initialize_handlers(self) -> None:
        """Add the routes."""
        self.handlers += [*overview_routes.ROUTES, *function_routes.ROUTES, *call_routes.ROUTES]
        self.handlers += [*worker_routes.ROUTES, *console_routes.ROUTES, *log_routes.ROUTES]
        self.handlers += [*hub_routes.ROUTES, *TIMELINE_ROUTES, *settings_routes.ROUTES]

    async def _start_jupyter_server_extension(self, serverapp: object) -> None:
        self.hub_client.start()

    async def stop_extension(self) -> None:
        """Disconnect from the hub, which keeps running."""
        await self.worker_consoles.close()
        await self.hub_client.close()
