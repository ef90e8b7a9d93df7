"""Memory of idle processes: the proportional share (PSS), where a page that four share counts a quarter for each."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from nbfn.hub.launchers.procfs import FORK_SERVER
from tests.bench import functions, peers
from tests.bench.home import await_blanks, home, hub_pid, named, overview, register, share
from tests.bench.options import Options
from tests.bench.table import Row, megabytes, times

BUDGET = 25e6
#: Processes that share.
WORKERS = 4


def measure(options: Options) -> Iterator[Row]:
    """Yield the share of each kind of process."""
    found = _ours()
    theirs = {"loky": _loky(), "ipyparallel": _ipyparallel()}
    blank = found.pop("blank worker")
    what = f"PSS of a blank worker (of {WORKERS})"
    yield Row(what, megabytes(blank), "", "", "≤ 25 MB", blank <= BUDGET)
    for name, their in theirs.items():
        yield Row("", "", f"{name} {megabytes(their)}", f"{times(their / blank)} smaller")
    for name, ours in found.items():
        budget = "≤ 25 MB" if "worker" in name else ""
        yield Row(
            f"PSS of {name}", megabytes(ours), "", "", budget, ours <= BUDGET if budget else None
        )


def _show(_: int) -> int:
    from IPython.display import HTML, display

    display(HTML("<b>here</b>"))  # type: ignore[no-untyped-call]
    return 0


def _workers(state: str, functions: tuple[str, ...] = ("",)) -> list[int]:
    rows = overview().workers
    return [
        w.pid for w in rows if w.state == state and (state == "blank" or w.function in functions)
    ]


def _mean(pids: list[int]) -> float:
    return statistics.mean(share(pid) for pid in pids)


def _ours() -> dict[str, float]:
    with home(blank_workers=WORKERS) as base:
        register(functions.same, scaledown_window=0.1).remote(1)
        await_blanks(WORKERS)
        found = {"blank worker": _mean(_workers("blank"))}
        register(functions.pid).remote(1)
        register(_show).remote(1)
        await_blanks(WORKERS)
        found["an idle worker that ran a no-op"] = _mean(_workers("idle", ("pid",)))
        found["an idle worker that displayed (shell used)"] = _mean(_workers("idle", ("_show",)))
        found["the fork server"] = _mean(named(base, FORK_SERVER))
        found["the hub"] = share(hub_pid())
        return found


def _loky() -> float:
    with peers.loky(WORKERS) as executor:
        list(executor.map(functions.same, range(4 * WORKERS)))
        return _mean(list(executor._processes))


def _ipyparallel() -> float:
    with peers.ipyparallel(WORKERS) as engines:
        return _mean(engines[:].apply_sync(functions.pid))
