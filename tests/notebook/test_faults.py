"""Output of a notebook when a worker, the hub, the kernel or a limit fails; in real kernels."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbfn.client import discovery
from nbfn.client.client import Client
from nbfn.config import Places
from tests.conftest import own_files, wait_until
from tests.notebook.kernel import Kernel

Run = Callable[..., list[Any]]
Start = Callable[..., Kernel]

#: Environment variables of a kernel with a front end, where maps have widgets.
PAGE = "some/faults.ipynb"
CELL = """%%remote --quiet --app faults --max 4
import os, signal, time
def die(x, times, path):
    for n in range(times):
        try: os.close(os.open(f'{path}-{x}-{n}', os.O_CREAT | os.O_EXCL))
        except FileExistsError: continue
        os.kill(os.getpid(), signal.SIGKILL)
    return x
def wait_for(path):
    print('waiting')
    while not os.path.exists(path): time.sleep(0.01)
    return 'ready'
"""
SLOW = """%%remote --app {}
import time
def slow(x):
    time.sleep(0.05)
    return {}
"""


def pushed(kernel: Kernel) -> str:
    """Return all messages to the front end, including the state of widgets."""
    return str(kernel.said)


def hub_of(home: Path) -> int:
    return int(str(discovery.read_connection_file(Places.of(home))["pid"]))


# --- workers -------------------------------------------------------------------------------------


def test_an_input_whose_worker_was_killed_says_so_and_runs_once_more(
    one_kernel: Run, tmp_path: Path
) -> None:
    _, called = one_kernel(CELL, f"die.remote(7, 1, {str(tmp_path / 'a')!r})")
    assert called.result == "7"
    assert re.search(
        r"^die lost: killed by signal 9, SIGKILL, by another process or by a system out of memory, "
        r"peak memory \d+(?:\.\d)? MB; attempt 2 runs alone$",
        called.stderr,
        re.M,
    )


def test_one_that_kills_its_worker_twice_fails_with_that_text_and_the_rest_goes_on(
    one_kernel: Run, tmp_path: Path
) -> None:
    given = f"((x, 2 if x == 3 else 0, {str(tmp_path / 'b')!r}) for x in range(8))"
    _, mapped, raised = one_kernel(
        CELL.replace("--quiet ", ""),
        f"import nbfn\nfound = list(die.starmap({given}, return_exceptions=True))\n"
        "[x for x in found if not isinstance(x, nbfn.exception.WorkerCrashed)], found[3].signal",
        "raise found[3]",
    )
    assert mapped.result == "([0, 1, 2, 4, 5, 6, 7], 9)"
    assert re.search(
        r"die\[3\] lost: killed by signal 9, .* MB; attempt 2 runs alone\n",
        mapped.text + mapped.stderr,
    )
    assert re.search(
        r"The worker process died while running 'die' \(killed by signal 9, SIGKILL, .*, peak "
        r"memory \d+(?:\.\d)? MB\); a second try alone on a fresh worker ended the same way",
        raised.error,
    )
    assert re.search(r"die ran on wk-\w+…, attempt 2 \(fc-\w{22}\[3\]\)", raised.error)


def test_the_handle_of_a_call_whose_worker_was_killed_shows_it(
    kernel: Kernel, tmp_path: Path
) -> None:
    kernel.execute(CELL)
    gate = str(tmp_path / "gate")
    cell = kernel.execute(f"call = wait_for.spawn({gate!r})\ncall")
    kernel.until(lambda: "waiting" in kernel.text(cell))
    workers = Client.attach().overview().workers
    [row] = [row for row in workers if (row.function, row.state) == ("wait_for", "busy")]
    os.kill(row.pid, signal.SIGKILL)
    kernel.until(lambda: "wait_for lost: killed by signal 9" in kernel.text(cell, "stderr"))
    kernel.until(lambda: kernel.text(cell, "stdout").count("waiting") == 2)
    assert "attempt 2" in kernel.shown(kernel.execute("call"))[0]
    Path(gate).touch()
    assert kernel.shown(kernel.execute("call.get()")) == ["'ready'"]


# --- the hub -------------------------------------------------------------------------------------


def test_a_killed_hub_is_told_and_loses_and_counts_nothing_twice(
    start_kernel: Start, environment: dict[str, str]
) -> None:
    kernel = start_kernel(JPY_SESSION_NAME=PAGE)
    kernel.execute(SLOW.format("faults", "x"))
    cell = kernel.execute("found = list(slow.map(range(150)))", wait=False)
    kernel.until(lambda: "'state': 'running'" in pushed(kernel))
    home = Path(environment["NBFN_HOME"])
    os.kill(hub_of(home), signal.SIGKILL)
    kernel.until(lambda: "hub restarting" in pushed(kernel))
    kernel.until(lambda: kernel.ended(cell))
    after = kernel.execute("found == list(range(150))")
    assert kernel.shown(after) == ["True"]
    kernel.until(lambda: any("150 succeeded" in text for text in kernel.shown(cell)))


def test_without_a_hub_a_call_says_in_time_who_was_asked_and_local_works(
    run: Run, tmp_path: Path
) -> None:
    nowhere = f"ipc://{tmp_path}/nowhere"
    waited, local, cell = run(
        "import nbfn\n@nbfn.App().function()\ndef add(x): return x + 1\nadd.remote(1)",
        "add.local(1)",
        "%%remote\ndef other(): ...",
        NBFN_HUB=nowhere,
        NBFN_CONNECT_TIMEOUT="1",
    )
    said = f"No nbfn hub at {nowhere} (waited 1 s). Check NBFN_HUB, or start a hub there"
    assert said in waited.error
    assert not own_files(waited.error)
    assert local.result == "2"
    assert said in cell.stderr
    assert cell.error == ""


# --- the notebook's kernel -----------------------------------------------------------------------


def test_a_restart_leaves_what_was_spawned_and_ends_what_a_cell_waited_for(
    home: Path, start_kernel: Start, tmp_path: Path
) -> None:
    gate = str(tmp_path / "gate")
    kernel = start_kernel(NBFN_HOME=str(home), NBFN_CLIENT_GRACE="0.5", JPY_SESSION_NAME=PAGE)
    kernel.execute(CELL)
    spawned = kernel.execute(f"call = wait_for.spawn({gate!r})\nprint(call.object_id)")
    script = kernel.execute(
        f"%%remote --bg --app faults\nimport os, time\nprint('waiting')\n"
        f"while not os.path.exists({gate!r}): time.sleep(0.01)"
    )
    mapped = kernel.execute(f"list(wait_for.map([{gate!r}] * 2))", wait=False)
    for cell in (spawned, script, mapped):
        kernel.until(
            lambda cell=cell: "waiting" in kernel.text(cell) or "waiting" in pushed(kernel)
        )
    overview = Client.attach(start=False).overview
    wait_until(lambda: len(overview().calls) == 3)
    kernel.restart()
    states = lambda: sorted((row.kind, row.state) for row in overview().calls)  # noqa: E731
    wait_until(lambda: ("map", "cancelled") in states(), 20)
    assert states() == [("map", "cancelled"), ("spawn", "detached"), ("spawn", "detached")]
    loaded = kernel.execute("%load_ext nbfn")
    said = "2 calls of this notebook are still running"
    kernel.until(lambda: said in kernel.text(loaded))
    (tmp_path / "gate").touch()
    (call,) = re.findall(r"fc-\w{22}", kernel.text(spawned))
    got = kernel.execute(f"import nbfn\nnbfn.FunctionCall.from_id({call!r}).get()")
    assert kernel.shown(got) == ["'ready'"]
    wait_until(lambda: ("spawn", "detached") not in states())


# --- versions ------------------------------------------------------------------------------------


def test_a_function_that_is_redefined_during_a_map_is_told_and_the_map_stays(
    start_kernel: Start,
) -> None:
    kernel = start_kernel(JPY_SESSION_NAME=PAGE)
    kernel.execute(SLOW.format("redefined", "'old'"))
    kernel.execute("found = slow.map(range(200))\nfound")
    kernel.execute(SLOW.format("redefined", "'new'"))
    kernel.until(lambda: "running on v1, v2 exists" in pushed(kernel))
    got = kernel.execute("set(found), slow.remote(1)")
    assert kernel.shown(got)[-1] == "({'old'}, 'new')"


def test_a_function_of_another_python_is_not_called(one_kernel: Run) -> None:
    _, failed, calls = one_kernel(
        CELL,
        "import msgspec, nbfn, nbfn.client.registration.remote_ref as origin\n"
        "here, kept = origin.this_environment(), origin.this_environment\n"
        "origin.this_environment = lambda: msgspec.structs.replace(here, python='3.99')\n"
        "before = len(nbfn.calls(all=True))\n"
        "try: nbfn.Function.from_name('faults', 'die').remote(1, 0, '')\n"
        "finally: origin.this_environment = kept",
        "len(nbfn.calls(all=True)) - before",
    )
    assert re.search(
        r"VersionError: Function 'die' runs under Python 3\.\d+, this is Python 3\.99\.",
        failed.error,
    )
    assert calls.result == "0"


# --- limits --------------------------------------------------------------------------------------


def test_what_finds_no_room_waits_and_says_for_what(kernel: Kernel, tmp_path: Path) -> None:
    gate, cores = str(tmp_path / "gate"), os.cpu_count()
    cell = CELL.replace("--quiet", f"--cpu {cores}")
    kernel.execute(cell)
    first = kernel.execute(f"first = wait_for.spawn({gate!r})")
    kernel.until(lambda: "waiting" in kernel.text(first))
    kernel.execute(f"%%remote --quiet --app faults --cpu {cores}\ndef next_one(x): return x")
    kernel.execute("second = next_one.spawn(2)")
    said = f"waits for {cores} core"
    kernel.until(lambda: said in kernel.shown(kernel.execute("second"))[0])
    (tmp_path / "gate").touch()
    assert kernel.shown(kernel.execute("second.get()")) == ["2"]


def test_a_cell_that_waits_for_room_says_so(kernel: Kernel, tmp_path: Path) -> None:
    gate, cores = str(tmp_path / "gate"), os.cpu_count()
    kernel.execute(CELL.replace("--quiet", f"--cpu {cores}"))
    first = kernel.execute(f"first = wait_for.spawn({gate!r})")
    kernel.until(lambda: "waiting" in kernel.text(first))
    kernel.execute(f"%%remote --quiet --app faults --cpu {cores}\ndef next_one(x): return x")
    kernel.execute(
        "import nbfn.jupyter.views.calls.print_sink\nnbfn.jupyter.views.calls.print_sink.PATIENCE = 0.1"
    )
    cell = kernel.execute("next_one.remote(2)", wait=False)
    said = f"○ next_one: waits for {cores} cores\n"
    kernel.until(lambda: kernel.text(cell, "stderr") == said)
    (tmp_path / "gate").touch()
    kernel.until(lambda: kernel.ended(cell))
    assert kernel.shown(cell) == ["2"]
    assert kernel.text(cell, "stderr") == said  # once


def test_what_no_machine_can_hold_is_refused_with_numbers(one_kernel: Run) -> None:
    _, failed = one_kernel(
        "%%remote --quiet --app faults --gpu 64\ndef huge(): ...", "huge.remote()"
    )
    assert re.search(
        r"ResourceExhaustedError: 'huge' asks for 64 GPUs for each worker, and this machine has \w+",
        failed.error,
    )
    assert not own_files(failed.error)


def test_a_full_disk_refuses_with_numbers_and_what_is_not_kept_goes_on(
    home: Path, run: Run
) -> None:
    *_, refused, called = run(
        CELL,
        "die.spawn(1, 0, '')",
        "die.remote(2, 0, '')",
        NBFN_HOME=str(home),
        NBFN_DISK_RESERVE="1000000000",  # as if the disk had less left than is kept
    )
    assert re.search(
        rf"ResourceExhaustedError: [\d,.]+ [MG]B are free on the disk of {home}, where spawned calls are "
        r"kept, and the last 976,562\.5 GB are reserved for accepted calls \(setting disk_reserve\)\. "
        r"Free disk space there and spawn again\.",
        refused.error,
    )
    assert not own_files(refused.error)
    assert called.result == "2"


def test_a_full_queue_refuses_with_numbers(home: Path, run: Run) -> None:
    _, _, failed = run(
        CELL,
        "call = wait_for.spawn('/no/such/file')",
        "try: die.spawn_map(range(5), [0] * 5, [''] * 5)\nfinally: call.cancel()",
        NBFN_HOME=str(home),
        NBFN_MAX_SPAWNED="3",
    )
    # A call of many inputs is told in parts, so some of its own may be among them.
    assert re.search(
        r"ResourceExhaustedError: [1-3] inputs of spawned calls wait or run already, and no more than "
        r"3 are kept \(setting max_spawned\)\.",
        failed.error,
    )
