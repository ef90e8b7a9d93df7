"""`AppScope`: where the Functions of an App are registered now: in a run, as deployed, or for this process."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from typing import Any

from nbfn import _unpickle
from nbfn.client.client import Client
from nbfn.client.registration.app_like import AppLike
from nbfn.config import default_environment
from nbfn.protocol import messages
from nbfn.protocol.messages import Definition, FunctionInfo, new_id

#: Raises what is to be raised instead of registering a definition.
RegistrationGuard = Callable[[Client, Definition], Awaitable[None]]


@dataclass(slots=True)
class AppScope:
    """Where the Functions of one App are registered; shared by the App and all of them."""

    name: str = ""
    ephemeral_id: str = field(default_factory=lambda: new_id("ap"))
    environment_name: str = ""  # empty: the default one of whoever asks
    deployed_name: str = ""
    running_id: str = ""  # of the `app.run()` that goes on
    staged: dict[str, int] | None = None  # the versions that the deployment under way has so far
    app_id: str | None = None
    app: AppLike | None = None  # None only while it is being unpickled
    interactive: bool = False
    guard: RegistrationGuard | None = None  # asked before anything is registered here

    @property
    def environment(self) -> str:
        """The environment, where need be the default one."""
        return self.environment_name or default_environment()

    @property
    def place(self) -> str:
        """The id or name of the App under which the Functions are found now."""
        if self.staged is not None:
            return self.deployed_name
        return self.running_id or self.deployed_name or self.ephemeral_id

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            _unpickle.app_scope,
            (),
            (None, {f.name: getattr(self, f.name) for f in fields(self)}),
        )

    async def register(self, client: Client, definition: Definition) -> FunctionInfo:
        """Register a definition here."""
        __tracebackhide__ = True
        if self.guard is not None:
            await self.guard(client, definition)
        named = bool(self.deployed_name) and (self.staged is not None or not self.running_id)
        register = functools.partial(
            messages.Register,
            app=self.deployed_name if named else self.name,
            definition=definition,
            app_id="" if named else self.place,
            environment_name=self.environment,
            staged=self.staged is not None,
        )
        answer: messages.Registered = await client.request(register)
        info = answer.info
        self.app_id = info.app_id
        if self.staged is not None:
            self.staged[info.name] = info.version
        if not named:  # what was deployed is not deployed again only because a hub forgot it
            client.remember(info.id, register(0))
        return info
