"""`RemoteRef`: refers to a Function or class that was deployed, or that came in a pickle."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from nbfn import _unpickle, context, exception
from nbfn.client.client import Client, attached
from nbfn.client.process_info import this_environment
from nbfn.client.registration.function_ref import FunctionRef, HydratedFunction
from nbfn.config import default_environment
from nbfn.protocol import messages
from nbfn.protocol.messages import FunctionInfo, Message
from nbfn.runtime.sync import run
from nbfn.runtime.traceback_filter import users_level


class RemoteRef(FunctionRef):
    """A function or class that was deployed, or came in a pickle.

    Args:
        name: Its name.
        shown: The repr of the Function or class.
        find: Makes the request that looks it up.
        reduced: The value of its ``__reduce__``.
        pinned: Whether calls stay with the version that was found.

    Attributes:
        what: "Function" or "Cls", for messages.
        from_pickle: Whether it came in a pickle.
    """

    what = "Function"
    from_pickle = False

    def __init__(
        self,
        name: str,
        shown: str,
        find: Callable[[int], Message],
        reduced: tuple[Any, ...],
        *,
        pinned: bool,
    ) -> None:
        super().__init__(name, shown)
        self._find = find
        self._pinned = pinned
        self._reduced = reduced
        self._fetched: Any | None = None

    async def resolve(self) -> HydratedFunction:
        """See `FunctionRef.resolve`."""
        __tracebackhide__ = True
        if self.current() is None:
            self.state = await self._look_up(await attached(self.client))
        assert self.state is not None
        return self.state

    async def resolve_again(self) -> HydratedFunction:
        """See `FunctionRef.resolve_again`."""
        __tracebackhide__ = True
        self.state = None
        return await self.resolve()

    def definition(self) -> Any | None:
        """See `FunctionRef.definition`. A worker fetches that of a reference which it got in a pickle."""
        __tracebackhide__ = True
        if self._fetched is None and self.from_pickle and not context.is_local():
            self._fetched = run(self._fetch())
        return self._fetched

    async def _fetch(self) -> Any:
        __tracebackhide__ = True
        hydrated = await self.resolve()
        answer: messages.DefinitionTold = await hydrated.client.request(
            lambda number: messages.GetDefinition(number, hydrated.info.id)
        )
        return hydrated.client.serializer.load(answer.definition.payload)

    async def _look_up(self, client: Client) -> HydratedFunction:
        __tracebackhide__ = True
        try:
            answer: messages.Registered = await client.request(self._find)
        except exception.NotFoundError as error:
            if self.what != "Cls":
                raise
            raise exception.NotFoundError(f"Lookup failed for Cls {self.name!r}: {error}") from None
        info = answer.info
        _check_versions(info)
        # If its App was stopped and deployed again, a call looks its Function up once more.
        client.remember(info.id, self._find(0))
        return HydratedFunction(client, client.epoch, info, info.version if self._pinned else 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduced


def _check_versions(info: FunctionInfo) -> None:
    """Check that workers of a Function can unpickle arguments from this process.

    Raises:
        VersionError: If they run under another version of Python.
    """
    theirs, ours = info.environment, this_environment()
    if theirs.python != ours.python:
        raise exception.VersionError(
            f"Function {info.name!r} runs under Python {theirs.python}, "
            f"this is Python {ours.python}. Call it from a notebook with Python "
            f"{theirs.python}, or deploy it again from this one."
        )
    if theirs.cloudpickle.partition(".")[0] != ours.cloudpickle.partition(".")[0]:
        warnings.warn(
            f"Function {info.name!r} runs with cloudpickle {theirs.cloudpickle}, this is {ours.cloudpickle}: "
            "functions and classes that are defined here may not be unpickled there. "
            "Install the same one, or deploy it again from here.",
            UserWarning,
            stacklevel=users_level(),
        )


def by_name(app: str, name: str, environment: str, deployment: int, what: str) -> RemoteRef:
    """Return a reference to a deployed Function or class.

    Args:
        app: The App's name.
        name: Its name.
        environment: The environment; the default one when empty.
        deployment: The version of its App to stay with; 0 for the newest.
        what: "Function" or "Cls".
    """
    named = f", environment_name={environment!r}" if environment else ""
    named += f", version={deployment}" if deployment else ""
    made = RemoteRef(
        name,
        f"{what}.from_name({app!r}, {name!r}{named})",
        lambda number: messages.Lookup(
            number, app, name, environment or default_environment(), deployment
        ),
        (_unpickle.reference_by_name, (app, name, environment, deployment, what)),
        pinned=bool(deployment),
    )
    made.what = what
    return made


def by_id(function_id: str, name: str, deployment: int, version: int = 0) -> RemoteRef:
    """Return a reference to a Function or class whose id was in a pickle.

    Args:
        function_id: The id.
        name: Its name.
        deployment: The version of its App to stay with; 0 for the newest ...
        version: ... or the version of the Function.
    """
    made = RemoteRef(
        name,
        f"<Function {name!r} {function_id}>",
        lambda number: messages.LookupId(number, function_id, version, deployment),
        (_unpickle.reference_by_id, (function_id, name, deployment, version)),
        pinned=bool(deployment or version),
    )
    made.known_id = function_id
    made.from_pickle = True
    return made


def by_app(app: str, name: str, environment_name: str) -> RemoteRef:
    """Return the reference to a Function that was pickled as a name in its App, as part of a cycle."""
    made = by_name(app, name, environment_name, 0, "Function")
    made.from_pickle = True
    return made
