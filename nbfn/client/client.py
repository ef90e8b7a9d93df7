"""`Client`: the requests that a process can make to the hub, and the default client of a process."""

from __future__ import annotations

import atexit
import os
import threading

from msgspec.structs import replace

from nbfn import exception
from nbfn._names import normalize
from nbfn._version import __version__
from nbfn.client import discovery
from nbfn.client.connection import HubConnection
from nbfn.config import default_environment
from nbfn.protocol import messages
from nbfn.runtime.sync import Blocking, answering, blocking
from nbfn.serialization.remote_exception import read_traceback
from nbfn.types import FunctionAutoscalerSettings


async def _attach(*, start: bool = True) -> Client:
    """Return the default client of this process, connected.

    Args:
        start: Whether to start the hub when none runs.

    Raises:
        ConnectionError: If no hub answers.
        VersionError, AuthError: If the hub refuses this process.
    """
    __tracebackhide__ = True
    client = _default(start=start)
    await client.ready()
    return client


async def attached(client: Client | None) -> Client:
    """Return a connected client: the given one, or the default one of this process.

    Raises:
        InvalidError: If it is not a `Client`.
        ConnectionError: If it was closed, or no hub answers.
    """
    __tracebackhide__ = True
    if client is None:
        return await _attach()
    if not isinstance(client, Client):
        raise exception.InvalidError(f"client is {client!r}; it must be an nbfn.Client.")
    if client.closed:
        raise exception.ConnectionError(
            "The given client was closed. Make a new one: nbfn.Client()."
        )
    await client.ready()
    return client


class Client(HubConnection):
    """The connection of this process to its hub.

    Args:
        hub: The hub's endpoint; when not given, ``NBFN_HUB`` or the home's hub.
        start: Whether to start the embedded hub when none runs.

    Examples:
        >>> Client.attach().overview().hub.version  # doctest: +SKIP
        '0.1.0'
    """

    __module__ = "nbfn"

    attach = Blocking(_attach)

    @blocking
    async def overview(self) -> messages.Overview:
        """Return the state of the hub: its Apps, Functions, calls and workers.

        Raises:
            ConnectionError: If no hub answers.
        """
        answer: messages.Overview = await self.request(messages.GetOverview)
        return answer

    @blocking
    async def timeline(self, query: messages.GetTimeline) -> messages.Timeline:
        """Return what workers did when.

        Args:
            query: What to select; its request number is filled in.

        Raises:
            ConnectionError: If no hub answers.
        """
        answer: messages.Timeline = await self.request(
            lambda number: replace(query, request=number)
        )
        return answer

    @blocking
    async def failure_text(self, call: str, index: int, attempt: int) -> str | None:
        """Return the traceback of an attempt that failed; None if the hub no longer has it.

        Nothing of the exception is imported or run.

        Raises:
            ConnectionError: If no hub answers.
        """
        answer: messages.FailureTold = await self.request(
            lambda number: messages.GetFailure(number, call, index, attempt)
        )
        return None if answer.payload is None else read_traceback(answer.payload.data)

    @blocking
    async def set_autoscaler(
        self,
        function_id: str,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
    ) -> FunctionAutoscalerSettings:
        """Override a Function's pool settings; those that are None stay as they are.

        Raises:
            NotFoundError: If there is no such Function.
            InvalidError: If the numbers do not fit together.
        """
        wanted = messages.PoolSettings(
            min_containers, max_containers, buffer_containers, scaledown_window
        )
        answer: messages.AutoscalerSet = await self.request(
            lambda number: messages.SetAutoscaler(number, function_id, wanted)
        )
        now = answer.settings
        return FunctionAutoscalerSettings(
            now.min_containers or 0,
            now.max_containers or 0,
            now.buffer_containers or 0,
            now.scaledown_window or 0.0,
        )

    @blocking
    async def function_info(self, function_id: str) -> messages.FunctionInfo:
        """Return the description of a Function.

        Raises:
            NotFoundError: If there is no such Function.
        """
        answer: messages.Registered = await self.request(
            lambda number: messages.LookupId(number, function_id)
        )
        return answer.info

    @blocking
    async def definition(self, function_id: str) -> messages.Definition:
        """Return the definition of the newest version of a Function.

        Raises:
            NotFoundError: If there is no such Function.
        """
        answer: messages.DefinitionTold = await self.request(
            lambda number: messages.GetDefinition(number, function_id)
        )
        return answer.definition

    @blocking
    async def stop_function(
        self, function_id: str, *, end_session: bool = False
    ) -> messages.FunctionStopped:
        """Cancel the calls of a Function and end its workers; it keeps none warm until its settings change.

        Args:
            function_id: The Function's id.
            end_session: Whether to end sessions of notebooks too, whose variables are lost.

        Raises:
            NotFoundError: If there is no such Function.
            ConflictError: If it has sessions, without ``end_session``.
        """
        answer: messages.FunctionStopped = await self.request(
            lambda number: messages.StopFunction(number, function_id, end_session)
        )
        return answer

    @blocking
    async def remove_function(self, function_id: str, *, end_session: bool = False) -> None:
        """Stop a Function, see `stop_function`, and remove it from its App.

        Raises:
            NotFoundError: If there is no such Function.
            ConflictError: If it has sessions, without ``end_session``.
        """
        await self.request(lambda number: messages.RemoveFunction(number, function_id, end_session))

    @blocking
    async def call_history(self, query: messages.GetCalls) -> messages.Calls:
        """Return calls, newest first: those that have not ended, the last ended ones, and stored ones.

        Args:
            query: What to select; its request number is filled in.
        """
        answer: messages.Calls = await self.request(lambda number: replace(query, request=number))
        return answer

    @blocking
    async def call_inputs(self, query: messages.GetInputs) -> messages.Inputs:
        """Return a call and its inputs.

        Args:
            query: What to select; its request number is filled in.

        Raises:
            NotFoundError: If there is no such call.
        """
        answer: messages.Inputs = await self.request(lambda number: replace(query, request=number))
        return answer

    @blocking
    async def retry_call(self, call_id: str) -> int:
        """Run the inputs of a call that have no result again; return how many.

        Raises:
            ConflictError: If the call still runs.
            InvalidError: If all inputs succeeded.
            NotFoundError: If there is no such call, or its Function is gone.
            OutputExpiredError: If its arguments have expired.
        """
        token = messages.new_id("re")
        answer: messages.CallRetried = await self.request(
            lambda number: messages.RetryCall(number, call_id, token)
        )
        return answer.count

    @blocking
    async def log_lines(self, query: messages.GetLogs) -> messages.Logs:
        """Return stored lines of the logs.

        Args:
            query: What to select; its request number is filled in.
        """
        answer: messages.Logs = await self.request(lambda number: replace(query, request=number))
        return answer

    @blocking
    async def health(self) -> messages.Health:
        """Return the health of the hub: sizes of its files, lost workers, and warnings."""
        answer: messages.Health = await self.request(messages.GetHealth)
        return answer

    @blocking
    async def cancel_call(self, call_id: str, *, end_session: bool = False) -> None:
        """Cancel all inputs of a call.

        Args:
            call_id: The call's id.
            end_session: Whether to cancel it even if it is the session of a notebook, whose variables are then lost.

        Raises:
            NotFoundError: If there is no such call.
            ConflictError: If it is a session, and `end_session` is False.
        """
        await self.request(lambda number: messages.Cancel(number, call_id, end_session=end_session))

    @blocking
    async def apps(self, environment_name: str = "") -> list[messages.AppRow]:
        """Return all Apps of an environment, the newest first.

        Raises:
            NotFoundError: If there is no such environment.
        """
        where = environment_name or default_environment()
        answer: messages.Apps = await self.request(lambda number: messages.GetApps(number, where))
        return list(answer.apps)

    @blocking
    async def find_app(self, app: str, environment_name: str = "") -> messages.AppRow:
        """Return an App by its id, or a deployed one by its name.

        Raises:
            NotFoundError: If there is none.
        """
        where = environment_name or default_environment()
        answer: messages.AppFound = await self.request(
            lambda number: messages.FindApp(number, normalize(app), where)
        )
        return answer.app

    @blocking
    async def stop_app(self, app_id: str, *, end_session: bool = False) -> None:
        """Cancel an App's calls, end its workers and free its name. Does nothing when called again.

        Args:
            app_id: The App's id.
            end_session: Whether to stop it even if it has sessions of notebooks, whose variables are then lost.

        Raises:
            NotFoundError: If there is no such App.
            ConflictError: If it has sessions, and `end_session` is False.
        """
        await self.request(lambda number: messages.StopApp(number, app_id, end_session=end_session))

    @blocking
    async def app_history(self, app_id: str) -> list[messages.DeploymentRow]:
        """Return an App's deployments, the newest first.

        Raises:
            NotFoundError: If there is no such App.
        """
        answer: messages.History = await self.request(
            lambda number: messages.GetHistory(number, app_id)
        )
        return list(answer.deployments)

    @blocking
    async def rollback_app(
        self, app_id: str, version: int = 0, *, strategy: str = "rolling", by: str = ""
    ) -> messages.AppRow:
        """Deploy an earlier version of an App again, as a new version.

        Args:
            app_id: The App's id.
            version: The version to deploy; 0 for the one before the current, -1 for the current one with new workers.
            strategy: rolling or recreate.
            by: The user's name, for the history.

        Raises:
            NotFoundError: If there is no such App, or the version is not kept.
        """
        if version == 0:  # explicit, so that a request that is sent again means the same
            now: messages.AppFound = await self.request(
                lambda number: messages.FindApp(number, app_id)
            )
            version = now.app.version - 1
        answer: messages.AppFound = await self.request(
            lambda number: messages.Rollback(number, app_id, version, strategy, by, __version__)
        )
        return answer.app

    @blocking
    async def stop_worker(
        self, worker: str, *, graceful: bool = False, end_session: bool = False
    ) -> None:
        """End a worker. Its inputs run again elsewhere; with ``graceful`` it finishes them first.

        Args:
            worker: The worker's id.
            graceful: Whether it finishes its inputs.
            end_session: Whether to end it even if it runs the session of a notebook, whose variables are then lost.

        Raises:
            NotFoundError: If there is no such worker.
            ConflictError: If it runs a session, and `end_session` is False.
        """
        await self.request(
            lambda number: messages.StopWorker(number, worker, graceful, end_session)
        )

    @blocking
    async def attach_console(self, worker: str) -> str:
        """Make a worker open a Jupyter console, also while it runs an input.

        Args:
            worker: The worker's id, or the beginning of it.

        Returns:
            The path of the connection file: ``jupyter console --existing PATH``.

        Raises:
            NotFoundError: If there is no such worker, or it has ended.
            InvalidError: If several ids begin like this.
        """
        overview: messages.Overview = await self.request(messages.GetOverview)
        begun = [row.id for row in overview.workers if row.id.startswith(worker.rstrip("…"))]
        if len(begun) > 1:
            raise exception.InvalidError(
                f"The ids of {len(begun)} workers begin with {worker!r}; give more characters."
            )
        answer: messages.Attached = await self.request(
            lambda number: messages.Attach(number, begun[0] if begun else worker)
        )
        return answer.connection_file

    @blocking
    async def stop_hub(self, *, end_session: bool = False) -> None:
        """Make the hub finish its work and end.

        Args:
            end_session: Whether to stop it even if notebooks have sessions, whose variables are then lost.

        Raises:
            ConflictError: If notebooks have sessions, and `end_session` is False.
        """
        await self.request(lambda number: messages.StopHub(number, end_session))


# --- the default client of a process ---------------------------------------------------------------

_client: Client | None = None
_making = threading.Lock()
#: Clients of the parent process; kept in a forked child so that their sockets are not closed there.
_inherited: list[Client] = []


def current() -> Client | None:
    """Return the default client of this process if there is one, connected or not."""
    return _client


def _default(*, start: bool) -> Client:
    global _client
    with _making:
        if _client is None or _client.closed:
            _client = Client(start=start)
            atexit.register(_client.close)
        if start:
            _client._finder.may_start = True
        return _client


def _after_fork() -> None:
    global _client, _making
    _making = threading.Lock()
    answering.clear()
    if _client is not None:
        _client.closed = True
        _client._closing_lock = threading.Lock()  # another thread may have held it
        _inherited.append(_client)
        _client = None
    discovery.forget()


os.register_at_fork(after_in_child=_after_fork)
