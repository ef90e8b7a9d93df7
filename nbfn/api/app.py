"""`App`: a set of Functions, which it runs and deploys. Its decorators are in `nbfn.api.app_decorators`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from nbfn._names import check_name
from nbfn.api import deployment
from nbfn.api.app_decorators import AppDecorators
from nbfn.api.app_run import AppRun
from nbfn.api.cls import Cls
from nbfn.api.entrypoint import LocalEntrypoint
from nbfn.api.function import Function
from nbfn.api.variants import local_ref
from nbfn.client.client import Client, attached
from nbfn.client.logs import LogsManager
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.function_ref import LocalRef
from nbfn.config import default_environment
from nbfn.declarations.lifecycle import remote_methods
from nbfn.declarations.options import Options, check_flag
from nbfn.exception import ExecutionError, InvalidError
from nbfn.protocol import messages
from nbfn.runtime.stream import streaming
from nbfn.runtime.sync import Blocking, blocking
from nbfn.runtime.traceback_filter import trimmed


async def _lookup(
    name: str,
    *,
    client: Client | None = None,
    environment_name: str | None = None,
    create_if_missing: bool = False,
) -> App:
    """Return the deployed App of a name.

    Args:
        name: The name.
        client: The connection to use; that of this process when not given.
        environment_name: The environment; the default one when not given.
        create_if_missing: Whether to make an empty App if there is none.

    Raises:
        NotFoundError: If there is none and ``create_if_missing`` is false.
    """
    __tracebackhide__ = True
    where = environment_name or default_environment()
    name = check_name("The app's name", name)
    session = await attached(client)
    found: messages.AppFound = await session.request(
        lambda number: messages.FindApp(number, name, where, create_if_missing)
    )
    return App._found(found.app)


class App(AppDecorators):
    """A set of Functions, by name.

    Its Functions can be called at once: they are registered in an ephemeral App that lasts as long as this process.
    `run` registers them in one that ends with a ``with`` block; with `deploy` other notebooks find them.

    Args:
        name: Its name; needed for `deploy`.
        image: The image of Functions that name none themselves.
        secrets: `Secret`s for all its Functions. Variables of a Function's own secrets override theirs.
        tags: Labels of the App; see `set_tags`.
        volumes, include_source: Accepted for Modal programs; have no effect.

    Raises:
        InvalidError: If the name is not valid.

    Examples:
        >>> app = App("demo")
        >>> @app.function()
        ... def square(x: int) -> int:
        ...     return x * x
        >>> square.local(3)
        9
    """

    __module__ = "nbfn"

    @trimmed
    def __init__(
        self,
        name: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        image: Any = None,
        secrets: Sequence[Any] = (),
        volumes: Mapping[str, Any] | None = None,
        include_source: bool | None = None,
    ) -> None:
        if name is not None:
            name = check_name("The app's name", name)
        options = Options.read(
            {"image": image, "secrets": None if secrets == () else secrets, "volumes": volumes}
        )
        self._secrets = options.secrets
        self._name = name
        if include_source is not None:
            check_flag("include_source", include_source)
        self._tags = checked_tags(tags or {})
        self._scope = AppScope(name or "", app=self)
        self._parts: dict[str, Function[..., Any, Any] | Cls] = {}
        self._entrypoints: dict[str, LocalEntrypoint[..., Any]] = {}
        #: The image of Functions that are made from now on and name none themselves.
        self.image: Any = image

    @classmethod
    def _found(cls, row: messages.AppRow) -> App:
        self = cls(row.name, tags=row.tags)
        self._scope.deployed_name, self._scope.environment_name = row.name, row.environment_name
        self._scope.app_id = row.id
        return self

    lookup: ClassVar = Blocking(_lookup)

    @property
    def name(self) -> str | None:
        """Its name."""
        return self._name

    @property
    def description(self) -> str | None:
        """Its name."""
        return self._name

    @property
    def app_id(self) -> str | None:
        """Its id at the hub: that of the current run, or since it was deployed or a Function was called; else None."""
        return self._scope.app_id

    @property
    def is_interactive(self) -> bool:
        """Whether it runs with ``interactive=True``."""
        return self._scope.interactive

    @property
    def registered_functions(self) -> dict[str, Function[..., Any]]:
        """Its Functions by name."""
        return {n: part for n, part in self._parts.items() if isinstance(part, Function)}

    @property
    def registered_classes(self) -> dict[str, Cls]:
        """Its classes by name."""
        return {n: part for n, part in self._parts.items() if isinstance(part, Cls)}

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint[..., Any]]:
        """Its local entrypoints by name."""
        return dict(self._entrypoints)

    @property
    def registered_web_endpoints(self) -> list[str]:
        """The names of its web endpoints; those of methods as ``Class.method``."""
        functions = self.registered_functions.items()
        named = [name for name, function in functions if function.spec.endpoint]
        for name, cls in self.registered_classes.items():
            parts = remote_methods(cls._class()).items()
            named += [f"{name}.{method}" for method, part in parts if part.marks.endpoint]
        return named

    @property
    def logs(self) -> LogsManager:
        """The output of the inputs of its Functions: ``fetch``, ``tail`` and ``stream``."""

        async def scope() -> dict[str, str]:
            if self._scope.app_id is None:
                raise ExecutionError(
                    f"{self!r} is not registered yet, so it has no logs: run or deploy it, or call a Function."
                )
            return {"app": self._scope.app_id}

        return LogsManager(scope, self._client_of_all())

    def _client_of_all(self) -> Client | None:
        return next((ref.client for ref in self._refs() if ref.client is not None), None)

    def _refs(self) -> list[LocalRef]:
        """Return its Functions and classes, in the order of the source."""
        return [local_ref(part._ref) for part in self._parts.values()]

    @trimmed
    def include(self, other_app: App, /, inherit_tags: bool = True) -> Self:
        """Move all Functions and classes of another App to this one.

        Args:
            other_app: The other App; running or deploying it no longer registers them.
            inherit_tags: Whether to take over its tags, except those that this App has already.

        Returns:
            This App.

        Raises:
            InvalidError: If it is not an App, or one of the two is running.
        """
        if not isinstance(other_app, App):
            raise InvalidError(f"{other_app!r} is not an nbfn.App.")
        if self._scope.running_id or other_app._scope.running_id:
            raise InvalidError(
                "An App cannot include another, or be included, while it is running."
            )
        for name, part in other_app._parts.items():
            self._take(name, part, part._raw)
            local_ref(part._ref).move(self._scope)
        if inherit_tags:
            self._tags = other_app._tags | self._tags
        return self

    @streaming
    def run(
        self,
        *,
        name: str | None = None,
        client: Client | None = None,
        detach: bool = False,
        interactive: bool = False,
        environment_name: str | None = None,
    ) -> AppRun[App]:
        """Run the App until the end of the ``with`` block (or ``async with``).

        At the end running inputs are cancelled, except those of spawned calls, which finish, and the ids of its
        Functions become invalid. A Function that is called later is registered again in the ephemeral App of this
        process or, if the App was deployed before, refers to the deployed one.

        Args:
            name: The name of the run; the App's name when not given.
            client: The connection to use; that of this process when not given.
            detach: Whether it continues after the block, and after this process, until it is stopped.
            interactive: Whether remote code may open a terminal; needs `enable_output`.
            environment_name: The environment; the default one when not given.

        Raises:
            InvalidError: If it is running already, or a worker calls this while it loads a function.

        Examples:
            >>> with app.run():  # doctest: +SKIP
            ...     square.remote(3)
        """
        return AppRun(
            self,
            self._scope,
            self._refs,
            name=name or self._name or "",
            client=client,
            environment_name=environment_name,
            detach=detach,
            interactive=interactive,
            tags=self._tags,
        )

    @blocking
    async def deploy(
        self,
        name: str | None = None,
        *,
        environment_name: str | None = None,
        tag: str = "",
        client: Client | None = None,
        strategy: str = "rolling",
    ) -> App:
        """Deploy the App, so that any notebook finds its Functions by name: `Function.from_name`.

        All names change at once, and only if all Functions could be registered. Functions that the App no longer has
        are not found any more. Nothing happens if nothing changed.

        Args:
            name: The name to deploy under; the App's own when not given.
            environment_name: The environment; the default one when not given.
            tag: A label for `nbfn app history`.
            client: The connection to use; that of this process when not given.
            strategy: "rolling": workers of the previous version finish their inputs. "recreate": they end at once, and
                new inputs wait for new workers.

        Returns:
            The App.

        Raises:
            InvalidError: If there is no name.
            NotFoundError: If there is no such environment.
        """
        __tracebackhide__ = True
        await self._deploy(
            name, environment_name=environment_name, tag=tag, strategy=strategy, client=client
        )
        return self

    async def _deploy(self, name: str | None = None, **options: Any) -> messages.AppFound:
        __tracebackhide__ = True
        deployed = name or self._name
        if not deployed:
            raise InvalidError(
                "An App needs a name to be deployed: App('name') or app.deploy(name='name')."
            )
        return await deployment.deploy(
            self._scope, self._refs(), name=deployed, tags=self._tags or None, **options
        )

    @blocking
    async def set_tags(self, tags: Mapping[str, str], *, client: Client | None = None) -> None:
        """Replace the App's tags, also at the hub if it is registered.

        Args:
            tags: Names and values.
            client: The connection to use; that of this process when not given.

        Raises:
            InvalidError: If names or values are not strings.
        """
        __tracebackhide__ = True
        self._tags = checked_tags(tags)
        if (app_id := self._scope.app_id) is not None:
            session = await attached(client)
            await session.request(lambda number: messages.SetTags(number, app_id, self._tags))

    @blocking
    async def get_tags(self, *, client: Client | None = None) -> dict[str, str]:
        """Return the App's tags; those at the hub if it is registered.

        Args:
            client: The connection to use; that of this process when not given.
        """
        __tracebackhide__ = True
        if (app_id := self._scope.app_id) is not None:
            session = await attached(client)
            found: messages.AppFound = await session.request(
                lambda number: messages.FindApp(number, app_id)
            )
            self._tags = dict(found.app.tags)
        return dict(self._tags)

    def __repr__(self) -> str:
        return f"App({self._name!r})" if self._name else "App()"

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a pickle, with only those Functions that are registered."""
        known = {n: p for n, p in self._parts.items() if p._ref.id or p._ref.registering}
        return {**self.__dict__, "_parts": known, "_entrypoints": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_home" in state:  # as nbfn 35f8363 named it
            self._scope: AppScope = self.__dict__.pop("_home")


def checked_tags(tags: Any) -> dict[str, str]:
    """Return the tags of an App as a dict.

    Raises:
        InvalidError: If they are no mapping of strings to strings.
    """
    if not isinstance(tags, Mapping) or not all(
        isinstance(part, str) for pair in tags.items() for part in pair
    ):
        raise InvalidError(f"tags is {tags!r}; it must be a dict from strings to strings.")
    return dict(tags)
