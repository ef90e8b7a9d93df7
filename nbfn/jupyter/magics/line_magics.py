"""The line magics: ``%remote`` for the hub, ``%fn`` for Functions and calls, ``%nbfn from`` to import Functions."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from nbfn.client import client
from nbfn.exception import Error
from nbfn.jupyter.cells.cell_parser import CellError
from nbfn.jupyter.magics import doctor
from nbfn.jupyter.magics.fn_magic import fn
from nbfn.jupyter.magics.magic_context import MagicContext, deployed
from nbfn.jupyter.magics.subcommands import Subcommands, arg
from nbfn.jupyter.views.status_style import mark_of
from nbfn.protocol.call_states import counts_text
from nbfn.runtime.time_span import format_span

remote = Subcommands("%remote")


@remote.subcommand("connect", arg("url", metavar="URL"))
def connect(context: MagicContext, given: Any) -> None:
    """Use the hub at URL from now on; if it does not answer, keep the current one."""
    before = os.environ.get("NBFN_HUB")
    _leave()
    os.environ["NBFN_HUB"] = given.url
    try:
        hub = context.overview().hub
    except Error:
        _leave()
        _choose(before)
        raise
    print(f"connected to nbfn hub {hub.version} at {given.url}")  # noqa: T201 - the cell's own output


@remote.subcommand("disconnect")
def disconnect(_context: MagicContext, _given: Any) -> None:
    """Disconnect from the hub; the next call uses this machine's own."""
    _leave()
    _choose(None)
    print("disconnected; the next call uses this machine's own hub")  # noqa: T201 - the cell's own output


def _choose(url: str | None) -> None:
    if url is None:
        os.environ.pop("NBFN_HUB", None)
    else:
        os.environ["NBFN_HUB"] = url


def _leave() -> None:
    if (mine := client.current()) is not None:
        mine.close()


@remote.subcommand("doctor")
def run_doctor(_context: MagicContext, _given: Any) -> None:
    """Check the connection to the workers, and say how to fix problems."""
    doctor.report(sys.stdout.write)


@remote.subcommand("notify", arg("state", choices=("on", "off"), nargs="?"))
def notify(context: MagicContext, given: Any) -> None:
    """Let JupyterLab show a notification when a call that took over a minute ends: on or off."""
    observer = context.observer
    if given.state:
        observer.notify = given.state == "on"
    state = "on" if observer.notify else "off"
    print(f"notifications of this notebook's calls: {state}")  # noqa: T201 - the cell's own output


@remote.subcommand("help")
def show_help(_context: MagicContext, _given: Any) -> None:
    """Describe the subcommands."""
    print(remote.help())  # noqa: T201 - the cell's own output


def status(context: MagicContext) -> str:
    """Return the state of the hub, its workers, running calls, and this notebook's defaults, as text."""
    overview = context.overview()
    hub, workers = overview.hub, overview.workers
    busy = sum(worker.state == "busy" for worker in workers)
    live = [call for call in overview.calls if not call.ended]
    running = [call for call in live if call.kind != "session"]
    sessions = len(live) - len(running)
    functions = sum(row.kind != "session" for row in overview.functions)
    lines = [
        f"nbfn hub {hub.version} · up {format_span(hub.uptime)} · {hub.cpus:g} cores · {hub.home}",
        f"workers {len(workers)} ({busy} busy) · Functions {functions}"
        + (f" · sessions {sessions} (%fn sessions)" if sessions else ""),
        f"this notebook: app {context.app} · defaults {context.defaults}",
    ]
    lines += [
        f"  {mark_of(call.state)} {call.function} {call.kind} · {call.state} · {counts_text(call.counts)} · "
        f"{format_span(call.age)} · {call.id[:9]}"
        for call in running[:10]
    ]
    return "\n".join(lines)


def bind_names(context: MagicContext, line: str) -> None:
    """Bind deployed Functions to names: ``from [env/]app import f, g as h``.

    Args:
        context: The notebook.
        line: The line.

    Raises:
        UsageError: If the line is not valid.
        NotFoundError: If a name is not deployed.
    """
    found = re.fullmatch(r"\s*from\s+(?:([\w.-]+)/)?([\w.-]+)\s+import\s+(.+)", line)
    if found is None:
        raise UsageError("%nbfn: write  %nbfn from [env/]app import f, C as D")
    environment, app, names = found.groups()
    wanted = []
    for part in names.split(","):
        words = part.split()
        if len(words) not in (1, 3) or (len(words) == 3 and words[1] != "as"):
            raise UsageError(f"%nbfn: {part.strip()!r} is neither a name nor NAME as ALIAS.")
        wanted.append((words[0], words[-1]))
    made = {alias: deployed(app, name, environment) for name, alias in wanted}
    context.shell.user_ns.update(made)
    for name, alias in wanted:
        print(f"Loaded {alias!r} from {name!r} of app {app!r}.")  # noqa: T201 - the cell's own output


@magics_class
class LineMagics(Magics):
    """``%remote``, ``%fn`` and ``%nbfn``.

    Args:
        shell: The IPython shell.
        context: The notebook.
    """

    def __init__(self, shell: Any, context: MagicContext) -> None:
        super().__init__(shell)
        self.context = context

    @no_var_expand
    @line_magic
    def remote(self, line: str) -> Any:
        """Show the hub and its calls; or: defaults OPTIONS, connect URL, disconnect, doctor.

        ``%%remote?`` shows the options of cells.
        """
        __tracebackhide__ = True
        with one_line_errors():
            verb, _, rest = line.strip().partition(" ")
            if not verb:
                print(status(self.context))  # noqa: T201 - the cell's own output
            elif verb == "defaults":
                self.context.defaults.take(rest)
                print(f"defaults of this notebook's remote cells: {self.context.defaults}")  # noqa: T201
            else:
                return remote.run(self.context, line)
        return None

    @no_var_expand
    @line_magic
    def fn(self, line: str) -> Any:
        """Manage Functions and calls; ``%fn help`` lists the subcommands."""
        __tracebackhide__ = True
        with one_line_errors():
            return fn.run(self.context, line or "list")

    @no_var_expand
    @line_magic
    def nbfn(self, line: str) -> None:
        """Bind deployed Functions to names: ``%nbfn from [env/]app import f, C as D``."""
        __tracebackhide__ = True
        with one_line_errors():
            bind_names(self.context, line)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Raise errors of nbfn as `UsageError`, which IPython prints in one line."""
    try:
        yield
    except (CellError, Error) as error:
        raise UsageError(str(error)) from None
