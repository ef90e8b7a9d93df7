"""`App`: a set of Functions, which it runs and deploys. Its decorators are in `nbfn.api.app_decorators`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from nbfn import context, exception
from nbfn._names import check_name
from nbfn.api import deployment
from nbfn.api.app_decorators import AppDecorators
from nbfn.api.cls import Cls
from nbfn.api.entrypoint import LocalEntrypoint
from nbfn.api.function import Function
from nbfn.api.load_check import load_endpoints
from nbfn.api.variants import local_ref
from nbfn.client.app_output import AppOutputWriter
from nbfn.client.client import Client, attached
from nbfn.client.detached_apps import detached
from nbfn.client.logs import LogsManager
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.function_ref import HydratedFunction, LocalRef
from nbfn.config import default_environment
from nbfn.declarations.lifecycle import remote_methods
from nbfn.declarations.options import Options, check_flag
from nbfn.exception import ExecutionError, InvalidError
from nbfn.protocol import messages
from nbfn.protocol.messages import new_id
from nbfn.runtime import console_output
from nbfn.runtime.stream import streaming
from nbfn.runtime.sync import Blocking, blocking, drive, run
from nbfn.runtime.traceback_filter import hide, trimmed


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


logger = logging.getLogger("nbfn.client")

A = TypeVar("A")


class AppRun(Generic[A]):
    """A context manager, plain and async, in which the App's Functions are registered in an ephemeral App.

    Args:
        app: The value of the ``with``.
        scope: The App's scope.
        refs: Returns its Functions and classes.
        name: The name of the ephemeral App, for display.
        client: The connection to use; that of this process when not given.
        environment_name: The environment; the default one when not given.
        detach: Whether it continues after the block.
        interactive: Whether remote code may open a terminal.
        tags: The tags of the App.
    """

    def __init__(
        self,
        app: A,
        scope: AppScope,
        refs: Callable[[], Sequence[LocalRef]],
        *,
        name: str,
        client: Client | None,
        environment_name: str | None,
        detach: bool,
        interactive: bool,
        tags: Mapping[str, str],
    ) -> None:
        self._app = app
        self._scope = scope
        self._refs = refs
        self._name = name
        self._client = client
        self._environment_name = environment_name
        self._detach = detach
        self._interactive = interactive
        self._tags = dict(tags)
        self._before: tuple[str, str | None] = ("", None)
        self._detached = contextlib.ExitStack()  # closed at the end of a detached run
        self._states: dict[int, HydratedFunction] = {}  # of what was deployed before
        self._lines: AppOutputWriter | None = None

    async def _register_all(self, client: Client) -> None:
        __tracebackhide__ = True
        refs = self._refs()
        for ref in refs:
            ref.state, ref.client = None, self._client or ref.client
        for ref in refs:
            await ref.resolve()
        await load_endpoints(client, [ref.state for ref in refs])

    async def _begin(self) -> A:
        __tracebackhide__ = True
        scope = self._scope
        self._check()
        client = await attached(self._client)
        self._before = (scope.environment_name, scope.app_id)
        # Restored at the end, so that deployed Functions are found again.
        self._states = {
            id(ref): ref.state
            for ref in self._refs()
            if ref.state is not None and ref.state.info.deployed
        }
        where, app_id = self._environment_name or scope.environment, new_id("ap")
        await client.request(
            lambda number: messages.RunApp(
                number, app_id, self._name, where, self._detach, self._tags
            )
        )
        scope.environment_name = where
        scope.running_id = scope.app_id = app_id
        if self._detach:
            self._detached.enter_context(detached(app_id))
        scope.interactive = self._interactive
        await self._follow(client, app_id)
        title = f" of {self._name!r}" if self._name else ""
        console_output.write_line(f"{console_output.DONE} Initialized. App {app_id}{title}.")
        try:
            await self._register_all(client)
        except BaseException:
            self._detach = False
            await self._end()
            raise
        console_output.write_line(f"{console_output.DONE} Created objects.")
        if self._interactive:
            console_output.write_line(
                "  Workers have no terminal here: input() and breakpoint() do not reach you."
            )
        return self._app

    async def _follow(self, client: Client, app_id: str) -> None:
        """Print the output of the App's workers, if output is enabled."""
        if (where := console_output.current()) is not None:
            named = len(self._refs()) > 1
            self._lines = AppOutputWriter(named=named, timestamps=where.timestamps)
            await client.follow_app(app_id, self._lines.take)

    def _unfollow(self, client: Client, app_id: str) -> None:
        client.unfollow_app(app_id)
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def _check(self) -> None:
        if self._scope.running_id:
            raise InvalidError(
                f"This App is running already ({self._scope.running_id}), so it cannot be started again. "
                "Leave its `with app.run()` first."
            )
        if not context.is_local() and context.current_input_id() is None:
            raise InvalidError(
                "app.run() was called while a worker loads the function. Put it below "
                "`if __name__ == '__main__':`, so that workers do not run it."
            )
        if self._interactive and not console_output.enabled():
            raise InvalidError(
                "interactive=True needs output: put `with nbfn.enable_output():` around it."
            )

    async def _end(self) -> None:
        __tracebackhide__ = True
        self._detached.close()
        scope, app_id = self._scope, self._scope.running_id
        scope.running_id, scope.interactive = "", False
        scope.environment_name, scope.app_id = self._before
        for ref in self._refs():
            ref.state = self._states.get(id(ref))
        client = await attached(self._client)
        if self._detach:
            self._unfollow(client, app_id)
            console_output.write_line(
                f"{console_output.DONE} App {app_id} goes on. 'nbfn app logs {app_id}' shows what it prints,"
            )
            console_output.write_line(f"  'nbfn app stop {app_id}' ends it.")
            return
        await client.request(lambda number: messages.StopApp(number, app_id, scope=True))
        self._unfollow(client, app_id)
        console_output.write_line(f"{console_output.DONE} App completed.")

    async def _end_quietly(self, error: BaseException | None) -> bool:
        """End the run. An error of this must not hide the error that ends the block."""
        try:
            await self._end()
        except exception.ServiceError:
            if error is None:
                raise
            logger.warning("An App could not be stopped: its hub is gone")
        if isinstance(error, KeyboardInterrupt):
            console_output.write_line(
                f"Interrupted: the App {'goes on' if self._detach else 'was stopped'}."
            )
            return True
        return False

    @trimmed
    def __enter__(self) -> A:
        __tracebackhide__ = True
        return run(self._begin())

    @trimmed
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        __tracebackhide__ = True
        return run(self._end_quietly(error))

    async def __aenter__(self) -> A:
        __tracebackhide__ = True
        try:
            return await drive(self._begin())
        except BaseException as error:
            hide(error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        __tracebackhide__ = True
        return await drive(self._end_quietly(error))


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
