"""``%fn``: one verb for each thing that one does with Functions and calls."""

from __future__ import annotations

import argparse
import inspect
import linecache
from typing import Any

from nbfn import capture
from nbfn.call import FunctionCall
from nbfn.function import Function
from nbfn.snapshot import Snapshot

from . import card
from .desk import Desk
from .snapshot import clock
from .table import table
from .verbs import Verbs, arg

fn = Verbs("%fn")

_F = arg("f", help="a Function: its name here, or app/name")
_ID = arg("id", metavar="ID", help="a call: its id or name")


@fn.verb("list", arg("--app", metavar="A"), arg("--all", action="store_true"))
def show_functions(desk: Desk, given: argparse.Namespace) -> Any:
    """List the Functions of this notebook's App, of another one (--app), or all."""
    rows = desk.overview().functions
    app = given.app or desk.app
    if not given.all and (given.app or any(row.app == app for row in rows)):
        rows = tuple(row for row in rows if row.app == app)
    return table(
        [
            {
                "name": row.name,
                "app": row.app or "—",
                "version": row.version,
                "kind": row.kind,
                "state": row.state,
                "warm": row.min_containers,
                "max": row.max_containers,
                "workers": row.workers,
                "backlog": row.backlog,
                "running": row.running,
                "p50": row.p50,
            }
            for row in rows
        ],
        "No Functions yet: put %%remote above a def and run the cell.",
    )


@fn.verb("show", _F)
def show_function(desk: Desk, given: argparse.Namespace) -> Any:
    """Show a Function's signature, text, source, captured values and pool."""
    function = desk.function(given.f).hydrate()
    state = function._origin.state
    assert state is not None
    info = state.info
    pool = desk.row(function)
    lines = [
        f"{info.name}{info.signature} v{info.version} · app {info.app or '—'} · {info.id[:9]}",
        f"  timeout {info.timeout:g} s · Python {info.environment.python}",
    ]
    if pool is not None:
        lines.append(
            f"  warm {pool.min_containers} · max {pool.max_containers} · buffer {pool.buffer_containers} · "
            f"idle {pool.scaledown_window:g} s · workers {pool.workers} · {pool.state}"
        )
    if info.doc:
        lines += ["", *(f"  {line}" for line in info.doc.splitlines())]
    raw = function._raw
    if raw is not None:
        values = {name: value for name, _, value in Snapshot(raw).found}
        if names := card.captures(capture.report(raw), values):
            lines += ["", f"  captures {', '.join(names)}"]
        if source := _source(raw):
            lines += ["", source]
    print("\n".join(lines))  # noqa: T201 - the cell's own output
    return None


def _source(raw: Any) -> str:
    code = getattr(raw, "__code__", None)
    lines = linecache.getlines(code.co_filename) if code is not None else []
    if code is None or not lines:
        return ""
    return "".join(inspect.getblock(lines[code.co_firstlineno - 1 :])).rstrip()


@fn.verb("stats", _F)
def show_stats(desk: Desk, given: argparse.Namespace) -> Any:
    """Show a Function's load now, and how long its inputs take."""
    function = desk.function(given.f)
    stats = function.get_current_stats()
    row = desk.row(function)
    calls = [call for call in desk.calls_of(given.f) if row is None or call.app == row.app]
    return table(
        [
            {
                "backlog": stats.backlog,
                "running": stats.num_running_inputs,
                "workers": stats.num_total_runners,
                "headroom": stats.input_headroom,
                "p50": row.p50 if row else None,
                "calls": len(calls),
                "failed inputs": sum(call.failed for call in calls),
            }
        ],
        "",
    )


@fn.verb("warm", _F, arg("n", type=int))
def warm(desk: Desk, given: argparse.Namespace) -> Any:
    """Keep n workers of a Function ready while nothing runs."""
    desk.function(given.f).keep_warm(given.n)
    print(f"{given.f}: {given.n} kept warm")  # noqa: T201 - the cell's own output


@fn.verb(
    "scale",
    _F,
    arg("--min", type=int, metavar="N"),
    arg("--max", type=int, metavar="N"),
    arg("--buffer", type=int, metavar="N"),
    arg("--idle", type=float, metavar="S"),
)
def scale(desk: Desk, given: argparse.Namespace) -> Any:
    """Change how many workers a Function may have; what is not given stays."""
    return desk.function(given.f).update_autoscaler(
        min_containers=given.min,
        max_containers=given.max,
        buffer_containers=given.buffer,
        scaledown_window=given.idle,
    )


@fn.verb("calls", arg("f", nargs="?"), arg("--state", metavar="STATE"))
def show_calls(desk: Desk, given: argparse.Namespace) -> Any:
    """List calls, running ones first, of all Functions or one; --state failure for those that failed."""
    rows = [row for row in desk.calls_of(given.f) if given.state in (None, row.status)]
    return table(
        [
            {
                "id": row.id,
                "function": row.function,
                "kind": row.kind,
                "state": row.status,
                "done": row.done,
                "total": row.total,
                "failed": row.failed,
                "age": clock(row.age),
            }
            for row in rows
        ],
        "No calls that the hub remembers.",
    )


@fn.verb("cancel", _ID)
def cancel(desk: Desk, given: argparse.Namespace) -> Any:
    """Cancel a call: what waits never starts, what runs is interrupted."""
    call = desk.call_id(given.id)
    desk.client().cancel_call(call)
    print(f"{call} cancelled")  # noqa: T201 - the cell's own output


@fn.verb("attach", _ID)
def attach(desk: Desk, given: argparse.Namespace) -> Any:
    """Get the handle of a call that runs, or ran, elsewhere or before a restart."""
    return FunctionCall.from_id(desk.call_id(given.id))


@fn.verb("attach-console", arg("id", metavar="WORKER"))
def attach_console(desk: Desk, given: argparse.Namespace) -> Any:
    """Have a worker (wk-…) open a Jupyter console, also while it runs an input."""
    file = desk.client().attach_console(given.id)
    print(f"In a terminal: jupyter console --existing {file}")  # noqa: T201 - the cell's own output


@fn.verb("deploy", _F)
def deploy(desk: Desk, given: argparse.Namespace) -> Any:
    """Make a Function of a plain App known to other notebooks, under its App's name."""
    function: Function[..., Any] = desk.function(given.f)
    app = function.app
    app.deploy(name=app.name or desk.app)
    print(f"{given.f} is deployed in app {app.name or desk.app}")  # noqa: T201 - the cell's own output


@fn.verb("help")
def show_help(_desk: Desk, _given: argparse.Namespace) -> Any:
    """Say what the verbs do."""
    print(fn.help())  # noqa: T201 - the cell's own output
