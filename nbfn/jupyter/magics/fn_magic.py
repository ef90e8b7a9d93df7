"""The subcommands of ``%fn``, for Functions and calls."""

from __future__ import annotations

import argparse
import inspect
import linecache
import math
import re
from datetime import UTC, datetime
from typing import Any

from IPython.core.error import UsageError

from nbfn._names import normalize
from nbfn.api.call import FunctionCall
from nbfn.api.description import describe
from nbfn.api.replay import replayable
from nbfn.client.calls.detached_calls import detached_call
from nbfn.exception import NotFoundError
from nbfn.jupyter import version_history
from nbfn.jupyter.cells import registration_summary
from nbfn.jupyter.magics import replay_debugger
from nbfn.jupyter.magics.log_view import LogView, parse_since
from nbfn.jupyter.magics.magic_context import MagicContext
from nbfn.jupyter.magics.subcommands import Subcommands, arg
from nbfn.jupyter.magics.table_view import table
from nbfn.jupyter.views import retry_action
from nbfn.protocol.call_states import CallState
from nbfn.protocol.messages import FunctionRow
from nbfn.runtime import sync
from nbfn.runtime.sync import run
from nbfn.runtime.time_span import format_span
from nbfn.serialization import function_pickling
from nbfn.serialization.dependencies import DependencySnapshot

fn = Subcommands("%fn")

_F = arg("f", help="a Function: its name here, or app/name")
_ID = arg("id", metavar="ID", help="a call: its id or name")


@fn.subcommand("list", arg("--app", metavar="A"), arg("--all", action="store_true"))
def show_functions(context: MagicContext, given: argparse.Namespace) -> Any:
    """List the Functions of this notebook's App, of another one (--app), or all."""
    rows = tuple(row for row in context.overview().functions if row.kind != "session")
    app = normalize(given.app or context.app)
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
                "p50 (s)": row.p50,
                "last call": "—" if row.last_call is None else f"{format_span(row.last_call)} ago",
            }
            for row in rows
        ],
        "No Functions yet: put %%remote above a def and run the cell.",
    )


@fn.subcommand("show", _F)
def show_function(context: MagicContext, given: argparse.Namespace) -> Any:
    """Show a Function's signature, text, source, captured values and pool."""
    function = context.found(given.f)
    info = context.info(function)
    pool = context.row(function)
    lines = [
        f"{info.name}{info.signature} v{info.version} · app {info.app or '—'} · {info.id[:9]}",
        f"  {context.options(info)} · Python {info.environment.python}",
    ]
    lines += _pool_lines(pool) if pool is not None else []
    if known := run(version_history.versions(context.client(), info)):
        lines.append(f"  versions {', '.join(f'v{number}' for number in sorted(known))}")
    if info.doc:
        lines += ["", *(f"  {line}" for line in info.doc.splitlines())]
    raw = describe(function).definition
    if raw is not None:
        lines += _code_lines(raw)
    elif text := context.definition(info).source:
        lines += ["", text.rstrip()]
    print("\n".join(lines))  # noqa: T201 - the cell's own output
    return None


def _pool_lines(pool: FunctionRow) -> list[str]:
    return [
        (
            f"  warm {pool.min_containers} · max {pool.max_containers} · buffer {pool.buffer_containers} · "
            f"idle {pool.scaledown_window:g} s · workers {pool.workers} · {pool.state}"
        ),
        f"  threads {pool.threads} for BLAS and OpenMP in a worker ({pool.threads_why})",
    ]


def _code_lines(raw: Any) -> list[str]:
    """Return what a function of this notebook captures, and its source."""
    lines = []
    values = {name: value for name, _, value in DependencySnapshot(raw).found}
    if names := registration_summary.captures(function_pickling.report(raw), values):
        lines += ["", f"  captures {', '.join(names)}"]
    if source := _source(raw):
        lines += ["", source]
    return lines


def _source(raw: Any) -> str:
    code = getattr(raw, "__code__", None)
    lines = linecache.getlines(code.co_filename) if code is not None else []
    if code is None or not lines:
        return ""
    return "".join(inspect.getblock(lines[code.co_firstlineno - 1 :])).rstrip()


@fn.subcommand("stats", _F)
def show_stats(context: MagicContext, given: argparse.Namespace) -> Any:
    """Show a Function's current load, and how long its inputs take."""
    function = context.function(given.f)
    stats = function.get_current_stats()
    row = context.row(function)
    calls = [call for call in context.calls_of(given.f) if row is None or call.app == row.app]
    return table(
        [
            {
                "backlog": stats.backlog,
                "running": stats.num_running_inputs,
                "workers": stats.num_total_runners,
                "headroom": stats.input_headroom,
                "p50 (s)": row.p50 if row else None,
                "p95 (s)": row.p95 if row else None,
                "calls": len(calls),
                "failed inputs": row.failed if row else 0,
                "cold starts": row.cold_starts if row else 0,
            }
        ],
        "",
    )


@fn.subcommand("warm", _F, arg("n", type=int))
def warm(context: MagicContext, given: argparse.Namespace) -> Any:
    """Keep n workers of a Function ready while nothing runs."""
    context.function(given.f).keep_warm(given.n)
    print(f"{given.f}: {given.n} kept warm")  # noqa: T201 - the cell's own output


@fn.subcommand(
    "scale",
    _F,
    arg("--min", type=int, metavar="N"),
    arg("--max", type=int, metavar="N"),
    arg("--buffer", type=int, metavar="N"),
    arg("--idle", type=float, metavar="S"),
)
def scale(context: MagicContext, given: argparse.Namespace) -> Any:
    """Change how many workers a Function may have; settings that are not given stay."""
    return context.function(given.f).update_autoscaler(
        min_containers=given.min,
        max_containers=given.max,
        buffer_containers=given.buffer,
        scaledown_window=given.idle,
    )


@fn.subcommand(
    "calls",
    arg("f", nargs="?"),
    arg("--state", metavar="STATE"),
    arg("--since", metavar="1d", help="only those that began in this time"),
)
def show_calls(context: MagicContext, given: argparse.Namespace) -> Any:
    """List calls, running ones first, of all Functions or one; --state failed for those that failed."""
    if given.state not in (None, *CallState):
        raise UsageError(
            f"--state {given.state}: there is no such state; use {', '.join(CallState)}."
        )
    span = parse_since(given.since).total_seconds() if given.since else math.inf
    rows = [
        row
        for row in context.calls_of(given.f)
        if given.state in (None, row.state) and row.since <= span
    ]
    return table(
        [
            {
                "id": row.id,
                "function": row.function,
                "kind": row.kind,
                "state": row.state,
                "total": row.total,
                **{str(state): count for state, count in row.counts.items()},
                "took": format_span(row.age),
                "began": f"{format_span(row.since)} ago",
            }
            for row in rows
        ],
        "The hub has no such calls.",
    )


@fn.subcommand("sessions")
def show_sessions(context: MagicContext, _given: argparse.Namespace) -> Any:
    """List the sessions of notebooks on the remote kernel; cancel ID --end-session ends one and loses its variables."""
    return table(
        [
            {
                "id": row.id,
                "notebook": row.origin or row.app,
                "began": f"{format_span(row.since)} ago",
            }
            for row in context.overview().calls
            if row.kind == "session" and not row.ended
        ],
        "No notebook has a session.",
    )


@fn.subcommand(
    "cancel",
    _ID,
    arg("--end-session", action="store_true", help="also if it is the session of a notebook"),
)
def cancel(context: MagicContext, given: argparse.Namespace) -> Any:
    """Cancel a call: queued inputs are removed, running ones are interrupted."""
    call = context.call_id(given.id)
    context.client().cancel_call(call, end_session=given.end_session)
    print(f"{call} cancelled")  # noqa: T201 - the cell's own output


@fn.subcommand("attach", _ID)
def attach(context: MagicContext, given: argparse.Namespace) -> Any:
    """Get the handle of a call, also one of another notebook or of before a restart; or a map that was detached."""
    if (results := context.map(given.id)) is not None:
        return results
    call = context.call_id(given.id)
    return detached_call(call) or FunctionCall.from_id(call)


@fn.subcommand("attach-console", arg("id", metavar="WORKER"))
def attach_console(context: MagicContext, given: argparse.Namespace) -> Any:
    """Open a Jupyter console on a worker (wk-…), also while it runs an input."""
    file = context.client().attach_console(given.id)
    print(f"In a terminal: jupyter console --existing {file}")  # noqa: T201 - the cell's own output


@fn.subcommand(
    "logs",
    arg("what", metavar="f|ID", help="a Function, or a call"),
    arg("--since", metavar="10m", help="only output of this time"),
    arg("--grep", metavar="P", help="only lines that match this regular expression"),
    arg("-n", dest="tail", type=int, default=100, metavar="N", help="at most the last N lines"),
)
def show_logs(context: MagicContext, given: argparse.Namespace) -> Any:
    """Show the output of a Function's inputs, or of one call; also of notebooks that are closed."""
    if given.tail < 1:
        raise UsageError(f"-n is {given.tail}; it must be 1 or more.")
    try:
        pattern = re.compile(given.grep or "")
    except re.error as error:
        raise UsageError(f"--grep {given.grep} is not a regular expression: {error}.") from None
    since = parse_since(given.since) if given.since else None
    found = context.logs(given.what, None if since or given.grep else given.tail, since)
    return LogView([line for line in found if pattern.search(line.message)][-given.tail :])


@fn.subcommand("retry", _ID)
def retry(context: MagicContext, given: argparse.Namespace) -> Any:
    """Run the inputs of a map or spawned call again that have no result, with the current version of the Function."""
    __tracebackhide__ = True
    sink = context.failed_map(given.id)
    if sink is None:
        return context.retried(given.id)
    if sink.stats.ended is None or not sink.failures:
        why = "nothing to retry: all inputs succeeded, the map still runs, or its inputs were discarded"
        print(f"{given.id}: {why}")  # noqa: T201 - the cell's own output
        return None
    retry_action.register_newest(context.shell.user_ns, sink.stats.name)
    sink.run_failed()
    print(sink.stats.note)  # noqa: T201 - the cell's own output
    return None


@fn.subcommand(
    "replay",
    arg("--run", action="store_true", help="run it without a debugger, and raise its exception"),
    arg("id", metavar="ID[i]", help="a call, and the index of the input"),
)
def replay(context: MagicContext, given: argparse.Namespace) -> Any:
    """Run a failed input in the notebook, with its arguments and code, under the debugger; --run: without it."""
    __tracebackhide__ = True
    found = re.fullmatch(r"(.+?)(?:\[(\d+)\])?", given.id)
    assert found is not None
    call, index = context.call_id(found[1]), int(found[2] or 0)
    again = sync.run(replayable(context.client(), call, index))
    if given.run:
        return replay_debugger.run_with_hint(again, f"{call}[{index}]")
    replay_debugger.debug(context.shell, again)
    return None


@fn.subcommand("deploy", _F)
def deploy(context: MagicContext, given: argparse.Namespace) -> Any:
    """Deploy a Function of a plain App, so that other notebooks find it, under its App's name."""
    made = context.found(given.f)
    scope = describe(made).scope
    if scope is None or scope.app is None:
        raise UsageError(f"{given.f} is deployed already: it was looked up by name.")
    app = scope.app
    app.deploy(name=app.name or context.app)
    print(f"{given.f} is deployed in app {app.name or context.app}")  # noqa: T201 - the cell's own output


@fn.subcommand("versions", _F)
def show_versions(context: MagicContext, given: argparse.Namespace) -> Any:
    """List a Function's versions: when each was first released, by whom, and which one is current."""
    info = context.newest(given.f)
    return table(
        [
            {
                "version": f"v{number}",
                "now": "●" if number == info.version else "",
                "released": f"{datetime.fromtimestamp(release.at, UTC).astimezone():%Y-%m-%d %H:%M:%S}",
                "app": f"{info.app} v{release.version}",
                "by": release.by,
                "tag": release.tag,
            }
            for number, release in run(version_history.versions(context.client(), info)).items()
        ],
        f"{info.name} was never deployed.",
    )


@fn.subcommand("rollback", _F, arg("version", metavar="vN"))
def roll_back(context: MagicContext, given: argparse.Namespace) -> Any:
    """Make an earlier version of a Function current again; running calls finish with theirs."""
    number = re.fullmatch(r"v?([1-9]\d*)", given.version)
    if number is None:
        raise UsageError(f"Invalid version {given.version!r}; expected for example v3.")
    info = context.newest(given.f)
    try:
        app = run(version_history.roll_back(context.client(), info, int(number[1])))
    except NotFoundError as error:
        raise UsageError(str(error)) from None
    print(f"{info.name} is v{number[1]} again, was v{info.version} · app {app.name} v{app.version}")  # noqa: T201


@fn.subcommand("help")
def show_help(_context: MagicContext, _given: argparse.Namespace) -> Any:
    """Describe the subcommands."""
    print(fn.help())  # noqa: T201 - the cell's own output
