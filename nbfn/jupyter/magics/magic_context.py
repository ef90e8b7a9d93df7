"""What a line magic works on: the notebook's names, and the hub behind them."""

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
    """Look up what is deployed under a name, be it a Function or a class.

    Raises:
        NotFoundError: If nothing is.
    """
    try:
        return Function.from_name(app, name, environment_name=environment).hydrate()
    except NotFoundError as error:
        with contextlib.suppress(NotFoundError):
            return Cls.from_name(app, name, environment_name=environment).hydrate()
        raise error from None


class MagicContext:
    """One notebook's view of the hub.

    Args:
        shell: The IPython shell.
        defaults: Of the notebook's remote cells.
        observer: Knows the calls of this kernel.
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
        """Return this process's client, connected."""
        return Client.attach()

    def overview(self) -> Overview:
        """Return what the hub shows of itself now."""
        return self.client().overview()

    def function(self, name: str) -> Function[..., Any]:
        """Find a Function by what the user calls it: a name of the notebook, ``app/name``, or a name in its App.

        Raises:
            UsageError: If there is none.
        """
        found = self.found(name)
        if not isinstance(found, Function):
            raise UsageError(
                f"{name!r} is a class; its objects and methods have pools of their own."
            )
        return found

    def found(self, name: str) -> Function[..., Any] | Cls:
        """Find a Function or class, likewise.

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
            raise UsageError(f"{name!r} is no Function in this notebook. {error}") from None

    def call_id(self, name: str) -> str:
        """Find the id of a call: itself, its beginning as it is shown, or a name of the notebook.

        Raises:
            UsageError: If there is none, or several begin so.
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
        raise UsageError(f"{name!r} is no call: give its id (fc-…) or a FunctionCall's name.")

    def info(self, found: Function[..., Any] | Cls) -> FunctionInfo:
        """Return what the hub told of a Function or class."""
        return hydrated(found).info

    def newest(self, name: str) -> FunctionInfo:
        """Return what the hub says now of a Function or class: another notebook may have released a version.

        Raises:
            UsageError: If there is none.
        """
        info = self.info(self.found(name))
        answer: Any = run(self.client().request(lambda n: messages.LookupId(n, info.id)))
        found: FunctionInfo = answer.info
        return found

    def definition(self, info: FunctionInfo) -> messages.Definition:
        """Return how a Function is run, and its text."""
        answer: Any = run(self.client().request(lambda n: messages.GetDefinition(n, info.id)))
        found: messages.Definition = answer.definition
        return found

    def options(self, info: FunctionInfo) -> str:
        """Return what a Function's decorator, or its cell's line, asked for, as text."""
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
        """Return what a Function's inputs wrote, or those of one call.

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
        """Find a map of this kernel that goes on, or went, without its cell: by its id or the beginning of that."""
        found = self.shell.user_ns.get(name)
        if isinstance(found, MapResult):
            return found
        sink = self._map_called(name)
        return sink.results if sink is not None and sink.in_background else None

    def failed_map(self, name: str) -> MapSink | None:
        """Find a map of this kernel whose failures can be run again: by its id, or by a name of its results."""
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
        """Have the failed inputs of a spawned call run again; return its handle.

        Raises:
            UsageError: If there is no such call, or nothing to run again.
        """
        handle: FunctionCall[Any] = FunctionCall.from_id(self.call_id(name))
        try:
            count = retry_action.retry(handle, self.shell.user_ns)
        except NotFoundError as error:
            raise UsageError(
                f"{error} A map is run again by the notebook that made it, while its kernel lives."
            ) from None
        except Error as error:
            raise UsageError(str(error)) from None
        print(f"{count:,} input{'s' if count != 1 else ''} run again")  # noqa: T201 - the cell's own output
        return handle

    def row(self, function: Function[..., Any] | Cls) -> FunctionRow | None:
        """Return the overview's row of a Function."""
        own = function.object_id[3:]
        return next((r for r in self.overview().functions if r.id[3:] == own), None)

    def calls_of(self, name: str | None) -> list[CallRow]:
        """Return the calls that the hub remembers, of one Function or all."""
        short = name.rpartition("/")[2] if name else None
        return [row for row in self.overview().calls if short in (None, row.function)]
