"""What line magics need: the notebook's namespace, its Functions and calls, and the hub."""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta
from typing import Any

from IPython.core.error import UsageError

from nbfn.api.call import FunctionCall
from nbfn.api.cls import Cls
from nbfn.api.description import hydrated
from nbfn.api.function import Function
from nbfn.client.calls.map_result import MapResult
from nbfn.client.client import Client
from nbfn.client.logs import LogEntry, kept
from nbfn.exception import Error, NotFoundError
from nbfn.jupyter.cells.cell_registration import default_app_name
from nbfn.jupyter.cells.magic_defaults import Defaults
from nbfn.jupyter.observer import NotebookObserver
from nbfn.jupyter.views import retry_action
from nbfn.jupyter.views.maps.map_sink import MapSink
from nbfn.protocol import messages
from nbfn.protocol.messages import CallRow, FunctionInfo, FunctionRow, Overview
from nbfn.runtime.sync import run


def deployed(app: str, name: str, environment: str | None = None) -> Function[..., Any] | Cls:
    """Return the Function or class that is deployed under a name.

    Args:
        app: The App.
        name: The name.
        environment: The environment; the default one if None.

    Returns:
        The Function or class.

    Raises:
        NotFoundError: If there is none.
    """
    try:
        return Function.from_name(app, name, environment_name=environment).hydrate()
    except NotFoundError as error:
        with contextlib.suppress(NotFoundError):
            return Cls.from_name(app, name, environment_name=environment).hydrate()
        raise error from None


class MagicContext:
    """A notebook and its connection to the hub.

    Args:
        shell: The IPython shell.
        defaults: The default options of the notebook's remote cells.
        observer: The observer with the calls of this kernel.
    """

    def __init__(self, shell: Any, defaults: Defaults, observer: NotebookObserver) -> None:
        self.shell = shell
        self.defaults = defaults
        self.observer = observer

    @property
    def app(self) -> str:
        """The notebook's own App."""
        return default_app_name()

    def client(self) -> Client:
        """Return the connected client of this process."""
        return Client.attach()

    def overview(self) -> Overview:
        """Return the hub's current overview."""
        return self.client().overview()

    def function(self, name: str) -> Function[..., Any]:
        """Return a Function.

        Args:
            name: A name of the notebook, ``app/name``, or a name in the notebook's App.

        Returns:
            The Function.

        Raises:
            UsageError: If there is none, or it is a class.
        """
        found = self.found(name)
        if not isinstance(found, Function):
            raise UsageError(
                f"{name!r} is a class; its objects and methods have pools of their own."
            )
        return found

    def found(self, name: str) -> Function[..., Any] | Cls:
        """Return a Function or class.

        Args:
            name: A name of the notebook, ``app/name``, or a name in the notebook's App.

        Returns:
            The Function or class.

        Raises:
            UsageError: If there is none.
        """
        known = self.shell.user_ns.get(name)
        if isinstance(known, Function | Cls):
            return known
        app, slash, rest = name.rpartition("/")
        try:
            return deployed(app if slash else self.app, rest)
        except NotFoundError as error:
            raise UsageError(f"{name!r} is not a Function of this notebook. {error}") from None

    def call_id(self, name: str) -> str:
        """Return the id of a call.

        Args:
            name: The id, its beginning, or a name of the notebook.

        Returns:
            The id.

        Raises:
            UsageError: If there is no such call, or several ids have this beginning.
        """
        found = self.shell.user_ns.get(name)
        if isinstance(found, FunctionCall):
            return found.object_id
        if re.fullmatch(r"fc-[0-9A-Za-z]{22}", name):
            return name
        begun = [row.id for row in self.overview().calls if row.id.startswith(name.rstrip("…"))]
        if name.startswith("fc-") and len(begun) == 1:
            return begun[0]
        if len(begun) > 1 and name.startswith("fc-"):
            raise UsageError(f"{len(begun)} calls begin with {name}; give more of the id.")
        raise UsageError(
            f"{name!r} is not a call: give its id (fc-…) or the name of a FunctionCall."
        )

    def info(self, found: Function[..., Any] | Cls) -> FunctionInfo:
        """Return the hub's information on a Function or class."""
        return hydrated(found).info

    def newest(self, name: str) -> FunctionInfo:
        """Return the hub's current information on a Function or class, which another notebook may have deployed.

        Args:
            name: See `found`.

        Returns:
            The information.

        Raises:
            UsageError: If there is none.
        """
        info = self.info(self.found(name))
        answer: Any = run(self.client().request(lambda n: messages.LookupId(n, info.id)))
        found: FunctionInfo = answer.info
        return found

    def definition(self, info: FunctionInfo) -> messages.Definition:
        """Return a Function's definition, with its options and source."""
        answer: Any = run(self.client().request(lambda n: messages.GetDefinition(n, info.id)))
        found: messages.Definition = answer.definition
        return found

    def options(self, info: FunctionInfo) -> str:
        """Return the options of a Function that differ from the defaults, as text."""
        made = self.definition(info)
        said = {
            "timeout": f"{made.timeout:g} s",
            "retries": made.retries.max_retries,
            "cpu": made.resources.cpu,
            "memory": made.resources.memory,
            "gpus": made.resources.gpus,
            "inputs at once": made.concurrency.max_inputs,
            "batches of": made.batching.max_batch_size,
            "at most once": made.at_most_once and "yes",
            "a worker for each input": made.single_use and "yes",
        }
        return " · ".join(f"{name} {value}" for name, value in said.items() if value)

    def logs(self, name: str, tail: int | None, since: timedelta | None) -> list[LogEntry]:
        """Return the log entries of a Function or a call.

        Args:
            name: The Function or call; see `found` and `call_id`.
            tail: Only this many of the last entries.
            since: Only entries of this time.

        Returns:
            The entries, the oldest first.

        Raises:
            UsageError: If there is no such Function or call.
        """
        known = self.shell.user_ns.get(name)
        if isinstance(known, FunctionCall) or name.startswith("fc-"):
            scope = {"call": self.call_id(name)}
        else:
            scope = {"function": self.info(self.found(name)).id}

        async def whose() -> dict[str, str]:
            return scope

        return kept(whose, since=since, tail=tail or 0)

    def map(self, name: str) -> MapResult[Any] | None:
        """Return the results of a map of this kernel that runs, or ran, in the background.

        Args:
            name: A name of the notebook, the call's id, or its beginning.

        Returns:
            The results; None if there is no such map.
        """
        found = self.shell.user_ns.get(name)
        if isinstance(found, MapResult):
            return found
        sink = self._map_called(name)
        return sink.results if sink is not None and sink.in_background else None

    def failed_map(self, name: str) -> MapSink | None:
        """Return the sink of a map of this kernel.

        Args:
            name: A name of its results in the notebook, the call's id, or its beginning.

        Returns:
            The sink; None if there is no such map.
        """
        found = self.shell.user_ns.get(name)
        if isinstance(found, MapResult):
            name = found.call_id
        elif isinstance(found, list):
            sinks = reversed(list(self.observer.maps.values()))
            return next((sink for sink in sinks if sink.has_errors_in(found)), None)
        return self._map_called(name)

    def _map_called(self, name: str) -> MapSink | None:
        if not name.startswith("fc-"):
            return None
        begun = [sink for call, sink in self.observer.maps.items() if call.startswith(name)]
        return begun[0] if len(begun) == 1 else None

    def retried(self, name: str) -> FunctionCall[Any]:
        """Retry the failed inputs of a spawned call.

        Args:
            name: The call; see `call_id`.

        Returns:
            The handle of the call.

        Raises:
            UsageError: If there is no such call, or nothing to retry.
        """
        handle: FunctionCall[Any] = FunctionCall.from_id(self.call_id(name))
        try:
            count = retry_action.retry(handle, self.shell.user_ns)
        except NotFoundError as error:
            raise UsageError(
                f"{error} Only the notebook that made a map can retry it, while its kernel runs."
            ) from None
        except Error as error:
            raise UsageError(str(error)) from None
        print(f"{count:,} input{'s' if count != 1 else ''} run again")  # noqa: T201 - the cell's own output
        return handle

    def row(self, function: Function[..., Any] | Cls) -> FunctionRow | None:
        """Return a Function's row in the hub's overview."""
        own = function.object_id[3:]
        return next((r for r in self.overview().functions if r.id[3:] == own), None)

    def calls_of(self, name: str | None) -> list[CallRow]:
        """Return the calls in the hub's overview, of one Function or all, without sessions of notebooks."""
        short = name.rpartition("/")[2] if name else None
        calls = [row for row in self.overview().calls if row.kind != "session"]
        return [row for row in calls if short in (None, row.function)]
