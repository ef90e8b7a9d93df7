"""`AppRun`: the result of ``app.run()``, an ephemeral App that lasts as long as the ``with`` block."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Generic, TypeVar

from nbfn import context, exception
from nbfn.api.load_check import load_endpoints
from nbfn.client.app_output import AppOutputWriter
from nbfn.client.client import Client, attached
from nbfn.client.detached_apps import detached
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.function_ref import HydratedFunction, LocalRef
from nbfn.exception import InvalidError
from nbfn.protocol import messages
from nbfn.protocol.messages import new_id
from nbfn.runtime import console_output
from nbfn.runtime.sync import drive, run
from nbfn.runtime.traceback_filter import hide, trimmed

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
            refs = self._refs()
            for ref in refs:
                ref.state, ref.client = None, self._client or ref.client
            for ref in refs:
                await ref.resolve()
            await load_endpoints(client, [ref.state for ref in refs])
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
