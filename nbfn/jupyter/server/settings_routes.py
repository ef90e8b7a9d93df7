"""The route of the settings that concern the server: the hub, and what kernels are started with."""

from __future__ import annotations

import os

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from nbfn.exception import InvalidError
from nbfn.jupyter.server.routes import Handler
from nbfn.jupyter.server.schema import ServerSettings

#: The environment variables of kernels, by the setting.
VARIABLES = {"hub": "NBFN_HUB", "interrupt": "NBFN_INTERRUPT"}
#: Their values when this process started, which an empty setting brings back.
_INITIAL = {name: os.environ.get(variable) for name, variable in VARIABLES.items()}


class SettingsHandler(Handler):
    """Applies settings of the user."""

    @web.authenticated
    @authorized
    async def put(self) -> None:
        """Set the hub of this server and of kernels that it starts from now on; answer with the settings."""
        try:
            wanted = msgspec.json.decode(self.request.body, type=ServerSettings)
        except msgspec.DecodeError as error:  # also ValidationError
            raise InvalidError(f"Invalid settings: {error}.") from None
        if wanted.hub and "://" not in wanted.hub:
            raise InvalidError(
                f"{wanted.hub[:80]!r} is not the address of a hub; it begins with ipc:// or tcp://."
            )
        changed = _set("hub", wanted.hub)
        _set("interrupt", "" if wanted.interrupt == "cancel" else wanted.interrupt)
        if changed:
            await self.hub_client.reconnect()
        await self.finish(msgspec.json.encode(wanted))


def _set(name: str, value: str) -> bool:
    """Set the variable of a setting; return whether that changed it."""
    variable, wanted = VARIABLES[name], value or _INITIAL[name]
    before = os.environ.get(variable)
    if wanted is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = wanted
    return before != wanted


ROUTES: list[tuple[str, type[Handler]]] = [(r"/nbfn/api/settings", SettingsHandler)]
