"""The line magics ``%remote``, ``%fn`` and ``%nbfn from`` in a real kernel."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., list[Any]]

CELL = "%%remote --app lines --warm 1 --max 3\ndef twice(x: int) -> int:\n    'Double it.'\n    return FACTOR * x"


@pytest.fixture
def with_function(one_kernel: Run) -> Run:
    def run(*cells: str) -> list[Any]:
        return one_kernel("FACTOR = 2", CELL, *cells)[2:]

    return run


def test_remote_shows_the_hub_and_this_notebook(with_function: Run) -> None:
    _, shown = with_function("call = twice.remote(1)", "%remote")
    first, workers, here, *_ = shown.text.splitlines()
    assert re.fullmatch(r"nbfn hub \S+ · up .+ · \d+ cores · /\S+", first)
    assert workers.startswith("workers ")
    assert here == "this notebook: app notebook · defaults none"


def test_defaults_stand_for_all_cells_and_the_cells_own_options_win(one_kernel: Run) -> None:
    said, _, bounds, ended, wrong = one_kernel(
        "%remote defaults --max 5 --app lines",
        "%%remote --max 4\ndef four(): ...",
        "r = [r for r in get_ipython().run_line_magic('fn', 'list --app lines') if r['name'] == 'four'][0]\nr['max']",
        "%remote defaults none",
        "%remote defaults --wram 1",
    )
    assert said.text == "defaults of this notebook's remote cells: --max 5 --app lines\n"
    assert bounds.result == "4"
    assert ended.text.endswith("none\n")
    assert "Did you mean --warm?" in wrong.stderr


def test_remote_shows_the_calls_that_run(with_function: Run, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    *_, shown, _ = with_function(
        "%%remote --quiet --app lines\nimport os, time\ndef wait_for(path):\n"
        "    while not os.path.exists(path): time.sleep(0.01)",
        f"call = wait_for.spawn({gate!r})",
        "%remote",
        f"open({gate!r}, 'w').close(); call.get()",
    )
    assert re.search(
        r"^  ● wait_for spawn · running · 1 running · [\d.:]+( s)? · fc-\w{6}$", shown.text, re.M
    )


def test_a_hub_is_chosen_and_left(with_function: Run, tmp_path: Path) -> None:
    nowhere = f"ipc://{tmp_path}/nowhere"
    connected, called, _, failed, kept, ill, left, again = with_function(
        "import os, nbfn\nfrom nbfn.config import Places\n"
        "get_ipython().run_line_magic('remote', f'connect {Places.of().endpoint}')",
        "twice.remote(2), os.environ['NBFN_HUB'] == Places.of().endpoint",
        "os.environ['NBFN_CONNECT_TIMEOUT'] = '0.3'",
        f"%remote connect {nowhere}",
        "nbfn.Client.attach(), os.environ['NBFN_HUB'] == Places.of().endpoint",
        f"nbfn.Client.attach().close()\nos.environ['NBFN_HUB'] = {nowhere!r}\n%remote doctor",
        "%remote disconnect\ndel os.environ['NBFN_CONNECT_TIMEOUT']",
        "twice.remote(3), os.environ.get('NBFN_HUB')",
    )
    assert re.fullmatch(r"connected to nbfn hub \S+ at ipc://\S+\n", connected.text)
    assert called.result == "(4, True)"
    assert failed.stderr.startswith(f"UsageError: No nbfn hub at {nowhere} (waited")
    assert failed.error == ""
    assert kept.result.endswith("True)")  # the one that was used before is used on
    assert f"✗ No nbfn hub at {nowhere}" in ill.text
    assert "start a hub there with 'nbfn hub start'" in ill.text
    assert left.text == "disconnected; the next call uses this machine's own hub\n"
    assert again.result == "(6, None)"


def test_calls_that_notify_are_marked_at_the_hub(one_kernel: Run) -> None:
    found = one_kernel(
        "%%remote --app noted --notify --quiet\ndef told(x): return x",
        "%%remote --app noted --quiet\ndef silent(x): return x",
        "told.remote(1), silent.remote(1), list(told.map([1])), silent.spawn(1).get()",
        "%%remote --notify\nimport os\nos.getpid() > 0",
        "%%remote\nimport os\nos.getpid() > 1",
        "import nbfn\nsorted((c.function, c.kind) for c in nbfn.calls() if c.notify)",
        "%remote notify on",
        "%%remote\nimport os\nos.getpid() > 2",
        "silent.remote(1)",
        "%remote notify",
        "%remote notify off",
        "silent.remote(2)",
        "sorted((c.function, c.kind) for c in nbfn.calls() if c.notify)",
    )
    marked = [("cell", "remote"), ("told", "map"), ("told", "remote")]
    assert found[5].result == repr(marked)
    assert found[9].text == "notifications of this notebook's calls: on\n"
    assert found[10].text == "notifications of this notebook's calls: off\n"
    more = [("cell", "remote"), ("silent", "remote")]
    assert found[12].result.replace("\n", "") == repr(sorted(marked + more))


def test_the_doctor_finds_nothing_wrong(with_function: Run) -> None:
    (said,) = with_function("%remote doctor")
    assert all(line.startswith("✓ ") for line in said.text.splitlines())
    assert "the hub answers" in said.text


def test_fn_lists_and_shows(with_function: Run) -> None:
    listed, shown, calls = with_function(
        "%fn list --app lines",
        "%fn show twice",
        "twice.spawn(3).get(), get_ipython().run_line_magic('fn', 'calls twice')",
    )
    assert re.search(r"twice +lines +1 +function", listed.result)
    assert "twice(x: int) -> int v1 · app lines" in shown.text
    assert "warm 1 · max 3" in shown.text
    assert re.search(
        r"  threads 1 for BLAS and OpenMP in a worker \(\d+ cores / max_containers 3\)", shown.text
    )
    assert "captures FACTOR=2 (" in shown.text
    assert "    return FACTOR * x" in shown.text
    assert "spawn" in calls.result


def test_fn_lists_all_apps_or_one(with_function: Run) -> None:
    *_, mine, every = with_function(
        "%%remote --quiet --app elsewhere\ndef far(): ...",
        "{row['app'] for row in get_ipython().run_line_magic('fn', 'list --app lines')}",
        "{'lines', 'elsewhere'} <= {row['app'] for row in get_ipython().run_line_magic('fn', 'list --all')}",
    )
    assert mine.result == "{'lines'}"
    assert every.result == "True"


def test_fn_deploys_what_an_app_of_ones_own_has(one_kernel: Run) -> None:
    *_, deployed, called, again = one_kernel(
        "import nbfn\nown = nbfn.App('lines-own')\n@own.function()\ndef half(x): return x / 2",
        "%fn deploy half",
        "nbfn.Function.from_name('lines-own', 'half').remote(4)",
        "found = nbfn.Function.from_name('lines-own', 'half')\n%fn deploy found",
    )
    assert deployed.text == "half is deployed in app lines-own\n"
    assert called.result == "2.0"
    assert again.stderr == "UsageError: found is deployed already: it was looked up by name.\n"


def test_fn_changes_the_pool(with_function: Run) -> None:
    warm, scaled, stats, far = with_function(
        "%fn warm twice 2",
        "%fn scale twice --max 6 --idle 30",
        "%fn stats lines/twice",
        "%fn warm twice 9",
    )
    assert warm.text == "twice: 2 kept warm\n"
    assert "max_containers=6" in scaled.result
    assert "backlog" in stats.result
    assert "min_containers (9)" in far.stderr


def test_fn_finds_calls_again_and_cancels_them(with_function: Run) -> None:
    _, attached, gone, after = with_function(
        "call = twice.spawn(21)",
        "get_ipython().run_line_magic('fn', f'attach {call.object_id}').get()",
        "%fn cancel call",
        "%fn cancel fc-nothing",
    )
    assert attached.result == "42"
    assert gone.text.endswith(" cancelled\n")
    assert "is not a call" in after.stderr


def test_names_are_bound_by_nbfn_from(with_function: Run) -> None:
    bound, used, missing, wrong, named, unknown = with_function(
        "%nbfn from lines import twice as double, twice",
        "double.remote(4)",
        "%nbfn from lines import thrice",
        "%nbfn import twice",
        "%nbfn from main/lines import twice as third\nthird.remote(5)",
        "%nbfn from nowhere/lines import twice",
    )
    assert bound.text == (
        "Loaded 'double' from 'twice' of app 'lines'.\nLoaded 'twice' from 'twice' of app 'lines'.\n"
    )
    assert used.result == "8"
    assert "'thrice' is not in app 'lines'" in missing.stderr
    assert "write  %nbfn from" in wrong.stderr
    assert named.result == "10"
    assert unknown.stderr.startswith("UsageError: ")
    assert "'nowhere'" in unknown.stderr


def test_verbs_names_and_options_complete(with_function: Run) -> None:
    verbs, names, options, hub = with_function(
        "get_ipython().kernel.do_complete('%fn wa', 6)['matches']",
        "get_ipython().kernel.do_complete('%fn warm tw', 11)['matches']",
        "get_ipython().kernel.do_complete('%fn scale twice --b', 19)['matches']",
        "get_ipython().kernel.do_complete('%remote do', 10)['matches']",
    )
    assert verbs.result == "['warm']"
    assert names.result == "['twice']"
    assert options.result == "['--buffer']"
    assert hub.result == "['doctor']"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("%fn wram f 2", "%fn has no 'wram'. Did you mean 'warm'?"),
        ("%fn warm", "the following arguments are required: f, n. Write: %fn warm f n"),
        ("%fn warm nothing 2", "'nothing'"),
        ("%fn warm f x", "n is 'x'; it must be a whole number. Write: %fn warm f n"),
        ("%remote connect nowhere", "'nowhere' is not the address of a hub. Give one like ipc://"),
        ("%remote konnect x", "Did you mean 'connect'?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(one_kernel: Run, line: str, says: str) -> None:
    (failed,) = one_kernel(line)
    assert failed.stderr.startswith("UsageError: ")
    assert says in failed.stderr
    assert failed.error == ""
