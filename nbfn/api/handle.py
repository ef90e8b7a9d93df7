"""`Handle`: what Functions and classes have in common: an origin, from which they become live."""

from __future__ import annotations

from typing import Any, Self

from nbfn import context
from nbfn._names import check_name
from nbfn.api.variants import travelled, written
from nbfn.client.client import Client
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.definition import HydratedFunction
from nbfn.client.registration.function_ref import FunctionRef, fetched
from nbfn.declarations.registered import Registered
from nbfn.declarations.retries import is_int
from nbfn.exception import InvalidError
from nbfn.runtime.sync import run


class Handle(Registered):
    """Base of `Function` and `Cls`."""

    _name: str
    _ref: FunctionRef
    _raw: Any  # what was decorated; None: its definition is elsewhere
    _fetched: Any  # its definition, asked of the hub by a worker

    async def _live(self) -> HydratedFunction:
        """Return what the hub knows of it, registering or looking it up if need be."""
        raise NotImplementedError

    @property
    def _state(self) -> HydratedFunction | None:
        return self._ref.state

    @_state.setter
    def _state(self, state: HydratedFunction | None) -> None:
        self._ref.state = state

    @property
    def _client(self) -> Client | None:
        return self._ref.client

    @_client.setter
    def _client(self, client: Client | None) -> None:
        self._ref.client = client

    def __copy__(self) -> Self:
        """Return the handle itself, as of a function."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _move(self, scope: AppScope) -> None:
        """Belong to another App from now on."""
        written(self._ref).move(scope)

    def _definition(self) -> Any | None:
        """Return what was decorated; None if that is elsewhere and cannot be had."""
        __tracebackhide__ = True
        if self._raw is not None:
            return self._raw
        if self._fetched is None and travelled(self._ref) and not context.is_local():
            self._fetched = run(fetched(self._ref))
        return self._fetched

    async def _hydrate(self, client: Client | None) -> None:
        """Become live, from now on by ``client`` where one is given.

        The public methods are its heirs' own: `blocking` cannot tell a type checker of ``Self``.
        """
        __tracebackhide__ = True
        await self._ref.hydrate(client)
        await self._live()

    @property
    def is_hydrated(self) -> bool:
        """Whether the hub's id of it is known."""
        return self._ref.state is not None


def check_lookup(
    what: str,
    app_name: Any,
    name: str | None,
    tag: str | None,
    version: int | None,
    environment_name: str | None,
) -> tuple[str, str, str]:
    """Return the App's name, the name and the environment that something is looked up by.

    Args:
        what: Function or Cls.
        app_name: The App's name.
        name: Its own name ...
        tag: ... or so, as it was called formerly.
        version: The one to call.
        environment_name: Where it was deployed.

    Raises:
        InvalidError: If a name is missing or cannot be one, or there can be no such version.
    """
    app = check_name("The app's name", app_name)
    if (name is None) == (tag is None):
        raise InvalidError(f"{what}.from_name needs the {what}'s name, once: (app_name, name).")
    environment = ""
    if environment_name not in (None, ""):
        environment = check_name("The environment's name", environment_name)
    if version is not None and (not is_int(version) or version < 1):
        raise InvalidError(f"version is {version!r}; it must be a whole number, 1 or more.")
    return app, check_name(f"The {what}'s name", name if tag is None else tag), environment
