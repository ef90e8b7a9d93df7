"""`AppScope`: where the Functions of an App are registered now: in a run, in a deployment, or for this process."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from typing import Any

from nbfn import _unpickle
from nbfn.client.client import Client
from nbfn.client.registration.app_like import AppLike
from nbfn.config import default_environment
from nbfn.exception import ServerWarning
from nbfn.protocol import messages
from nbfn.protocol.messages import Definition, FunctionInfo, new_id
from nbfn.runtime.traceback_filter import users_level

#: Called before a definition is registered; raises to prevent that.
RegistrationGuard = Callable[[Client, Definition], Awaitable[None]]


@dataclass(slots=True)
class AppScope:
    """Where the Functions of an App are registered. The App and its Functions share it."""

    name: str = ""
    ephemeral_id: str = field(default_factory=lambda: new_id("ap"))
    environment_name: str = ""  # empty for the default one of the process
    deployed_name: str = ""
    running_id: str = ""  # of the current `app.run()`
    staged: dict[str, int] | None = None  # versions by name, during a deployment
    app_id: str | None = None
    app: AppLike | None = None  # None only while it is being unpickled
    interactive: bool = False
    guard: RegistrationGuard | None = None  # called before each registration

    @property
    def environment(self) -> str:
        """The environment; the default one if none was given."""
        return self.environment_name or default_environment()

    @property
    def place(self) -> str:
        """The id or name of the App by which its Functions are found now."""
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
        """Register a definition in this scope and return what the hub knows of it."""
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
        if info.impossible:
            warnings.warn(f"{info.impossible} Its calls will fail.", ServerWarning, users_level())
        self.app_id = info.app_id
        if self.staged is not None:
            self.staged[info.name] = info.version
        if not named:  # a deployment is not repeated because a hub forgot it
            client.remember(info.id, register(0))
        return info
