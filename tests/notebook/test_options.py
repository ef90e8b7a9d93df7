"""The options of ``%%remote`` in a real kernel."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., list[Any]]

#: The definition of a Function at the hub.
TOLD = """
from nbfn.protocol import messages as _m
def told(f):
    f.hydrate()
    client = f._ref.state.client
    from nbfn.runtime.sync import run
    d = run(client.request(lambda n: _m.GetDefinition(n, f.object_id))).definition
    return d.callback_url, d.timeout, d.retries.max_retries, d.pool, d.resources, d.concurrency.max_inputs
"""


def test_each_option_is_a_keyword_of_app_function_and_arrives_at_the_hub(one_kernel: Run) -> None:
    *_, same, said = one_kernel(
        TOLD,
        "%%remote --app options --quiet --cpu 0.5 --memory 1G --warm 0 --max 3 --buffer 1 --idle 30"
        " --concurrency 4 --timeout 50 --retries 2 --callback-url http://127.0.0.1:9/x\ndef by_line(x): return x",
        "import nbfn\napp = nbfn.App('options-too')\n"
        "@app.function(cpu=0.5, memory=1024, min_containers=0, max_containers=3, buffer_containers=1,\n"
        "    scaledown_window=30, allow_concurrent_inputs=4, timeout=50, retries=2,\n"
        "    callback_url='http://127.0.0.1:9/x')\n"
        "def by_keyword(x): return x",
        "told(by_line) == told(by_keyword)",
        "told(by_line)",
    )
    assert same.result == "True"
    words = " ".join(said.result.split())
    assert words.startswith(
        "('http://127.0.0.1:9/x', 50.0, 2, PoolSettings(min_containers=0, max_containers=3, buffer_"
    )
    assert "buffer_containers=1, scaledown_window=30.0), Resources(cpu=0.5, " in words
    assert f"memory={1024**3}, " in words
    assert words.endswith("), 4)")


def test_a_gpu_that_nothing_has_is_refused_when_it_is_called(one_kernel: Run) -> None:
    card, called = one_kernel(
        "%%remote --app options --gpu 2\ndef on_gpus(): return 1", "on_gpus.remote()"
    )
    assert card.shown[0]["text/plain"] == "✓ on_gpus v1 · app options"
    assert "gpu" in called.error


def test_environment_variables_of_the_workers(one_kernel: Run) -> None:
    *_, function, script, model = one_kernel(
        "%remote defaults --set-env Z=9 --set-env A=0",
        '%%remote --app variables --set-env A=1 --set-env "B=two words" --set-env C=a=b\n'
        "def told():\n    import os\n    return [os.environ[name] for name in 'ABCZ']",
        "%%remote --app variables\n"
        "import os, nbfn\n"
        "class Model:\n    @nbfn.method()\n    def told(self): return os.environ['A']",
        "told.remote()",
        "%%remote --set-env A=2\nimport os\nprint(os.environ['A'], os.environ['Z'])",
        "Model().told.remote()",
    )
    assert function.result == "['1', 'two words', 'a=b', '9']"
    assert script.text.startswith("2 9\n")
    assert model.result == "'0'"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--env A=1", "For a variable of the workers write --set-env A=1."),
        ("--set-env A", "--set-env is A; write NAME=VALUE."),
        ("--set-env =1", "--set-env is =1; write NAME=VALUE."),
        ("--timeout 10m", "--timeout is '10m'; it must be a number."),
        ("--warm two", "--warm is 'two'; it must be a whole number."),
    ],
)
def test_what_is_said_of_a_wrong_option_helps(one_kernel: Run, line: str, says: str) -> None:
    (failed,) = one_kernel(f"%%remote {line}\ndef f(): ...")
    assert failed.stderr == f"UsageError: {failed.stderr.partition(': ')[2]}"
    assert failed.stderr.rstrip().endswith(says)


def test_an_environment_of_its_own(one_kernel: Run) -> None:
    *_, first, second, found, missing = one_kernel(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'nbfn', 'environment', 'create', 'side'], check=True,"
        " capture_output=True).returncode",
        "%%remote --app environs --env side\ndef where(): return 'side'",
        "%%remote --app environs\ndef where(): return 'main'",
        "import nbfn\n[nbfn.Function.from_name('environs', 'where', environment_name=e).remote()"
        " for e in ('side', 'main')]",
        "%%remote --app environs --env nowhere\ndef where(): return 1",
    )
    assert first.shown[0]["text/plain"] == "✓ where v1 · app environs"
    assert second.shown[0]["text/plain"] == "✓ where v1 · app environs"
    assert found.result == "['side', 'main']"
    assert missing.stderr.startswith("UsageError: ")
    assert "nowhere" in missing.stderr


def test_name_renames_one_def_and_nbfn_is_the_same_magic(one_kernel: Run) -> None:
    *_, card, called, found = one_kernel(
        "%%nbfn renamed_def --app renamed\ndef one(): return 1",
        "one.remote(), 'renamed_def' in globals()",
        "import nbfn\nnbfn.Function.from_name('renamed', 'renamed_def').remote()",
    )
    assert card.shown[0]["text/plain"] == "✓ renamed_def v1 · app renamed"
    assert called.result == "(1, False)"
    assert found.result == "1"


def test_nothing_in_the_line_or_the_cell_is_expanded(one_kernel: Run) -> None:
    *_, refused, got = one_kernel(
        "x = 'expanded'",
        "%%remote -i told='{x}' -o got\ngot = told, '{x}', '$x'",
        "%%remote --app {x}\ndef f(): ...",
        "got",
    )
    assert "The app's name '{x}' is not a name" in refused.stderr
    assert got.result == "('{x}', '{x}', '$x')"


def test_what_a_cell_is_is_said_and_only_that_is_bound(one_kernel: Run) -> None:
    """Kinds of cells that other tests do not cover."""
    *_, own_class, _, by_name, mixed, unbound = one_kernel(
        "import nbfn\nown = nbfn.App('own-classes')",
        "%%remote\n@own.cls()\nclass Counter:\n    @nbfn.method()\n    def up(self, n): return n + 1\n"
        "%local\nCounter().up.remote(1)",
        "%%remote -o mine\nmine = 3\nunnamed = 4",
        "import nbfn\ntry: nbfn.Function.from_name('notebook', 'cell').hydrate()\n"
        "except nbfn.exception.NotFoundError: print('not there')",
        "%%remote --app mixed\ndef f(): return 1\nmade = f.remote()",
        "'made' in globals(), 'unnamed' in globals(), mine",
    )
    assert own_class.result == "2"
    assert by_name.text == "not there\n"  # a script without a name is private
    assert mixed.stderr.count("\n") == 1
    assert (
        "Split the cell, or put code that runs in the notebook below a %local line." in mixed.stderr
    )
    assert unbound.result == "(False, False, 3)"


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%remote\n%frobnicate 1", "`%frobnicate` is IPython syntax"),
        ("%%remote\nx = 1\n!ls", "`!ls` is IPython syntax"),
        ("%%remote\nx = %sql select 1", "`%sql` is IPython syntax"),
        ("%%remote\n%%timeit\n1", "`%%timeit` is IPython syntax"),
        ("%%remote --wram=1\n1", "has no option --wram. Did you mean --warm?"),
        ("%%remote --dryrun\n1", "Did you mean --dry-run?"),
        ("%%remote -z\n1", "unrecognized arguments: -z"),
    ],
)
def test_what_is_no_python_or_no_option_never_runs_here(
    one_kernel: Run, cell: str, says: str
) -> None:
    (failed,) = one_kernel(cell)
    assert failed.stderr.startswith("UsageError: ")
    assert says in failed.stderr
    assert (failed.text, failed.error) == ("", "")


def test_a_dry_run_lists_sizes_also_of_a_script_and_runs_nothing(one_kernel: Run) -> None:
    *_, defs, script, after = one_kernel(
        "table = list(range(1000))\nlimit = 3",
        "%%remote --app dry --dry-run\ndef _helper(x): return x + limit\n"
        "def heavy(x): return _helper(table[x])",
        "%%remote --app dry --dry-run -i limit -o done\ndone = table[limit]",
        "[r for r in get_ipython().run_line_magic('fn', 'list --app dry')], 'done' in globals()",
    )
    assert re.search(
        r"^○ heavy would be registered, \d\.\d kB · app dry · "
        r"captures _helper\(\), limit=3 \(\d B\), table \(2\.7 kB\)$",
        defs.shown[0]["text/plain"],
    )
    assert "table (" in script.shown[0]["text/plain"]
    assert after.result == "([], False)"


def test_a_name_that_is_not_there_yet_is_told_and_found_later(one_kernel: Run) -> None:
    *_, early, late = one_kernel(
        "%%remote --app early\ndef twice(x):\n    global set_there\n    set_there = defined_later(x)\n"
        "    return print(set_there)",
        "def defined_later(x): return 2 * x\ntwice.remote(4)",
    )
    assert early.shown[0]["text/plain"].endswith("app early · not defined so far: defined_later")
    assert late.text == "8\n"


def test_a_dry_run_of_what_is_too_large_lists_it_all_the_same(one_kernel: Run) -> None:
    *_, refused = one_kernel(
        "blob, small = bytes(20_000_000), 3",
        "%%remote --app early --dry-run\ndef size(): return len(blob) + small",
    )
    assert "captures 'blob' (19.1 MB, bytes); pass it as an argument instead." in refused.stderr
    assert refused.stderr.rstrip().endswith("It would capture: blob (19.1 MB), small=3 (5 B).")


def test_a_script_that_ran_here_says_so(one_kernel: Run) -> None:
    *_, here = one_kernel("%%remote --app early --local\nfound = 3")
    assert re.match(
        r"ran here · 0\.0 s · peak \S+ MB\n`found` stayed in the cell; add -o found", here.text
    )


def test_what_cannot_be_pickled_is_named_by_its_path_with_the_ways_out(one_kernel: Run) -> None:
    *_, captured, given = one_kernel(
        "import sqlite3, types\n"
        "df = types.SimpleNamespace(attrs={'conn': sqlite3.connect(':memory:')})",
        "%%remote --app unpicklable\ndef uses(): return df",
        "%%remote --app unpicklable --quiet\ndef takes(frame): return 1\n%local\ntakes.remote(df)",
    )
    assert captured.stderr.startswith("UsageError: ")
    assert "uses df.attrs['conn'] → sqlite3.Connection, which cannot be pickled." in captured.stderr
    for way in ("inside the function", "@nbfn.enter()", "pass what is needed"):
        assert way in captured.stderr
    assert "argument 'frame' of 'takes' (frame.attrs['conn'] → sqlite3.Connection)" in given.error


def test_unchanged_in_the_same_kernel_registers_nothing(one_kernel: Run) -> None:
    cell = "%%remote --app steady --timeout 9\nLENGTH = 2\ndef f(x): return x[:LENGTH]"
    first, again, versions, changed = one_kernel(
        cell,
        cell,
        "len(get_ipython().run_line_magic('fn', 'versions steady/f'))",
        cell.replace("--timeout 9", "--timeout 8"),
    )
    assert first.shown[0]["text/plain"].startswith("✓ f v1 · app steady")
    assert again.shown[0]["text/plain"].startswith("✓ f unchanged, v1 · app steady")
    assert versions.result == "1"
    assert changed.shown[0]["text/plain"].startswith("✓ f v2")


def test_options_values_and_names_complete(one_kernel: Run) -> None:
    complete = "get_ipython().kernel.do_complete({0!r}, {1})['matches']"

    def found(line: str) -> str:
        return complete.format(line, len(line))

    magics, dashes, more, nbfn_too, below = one_kernel(
        found("%%rem"),
        found("%%remote train --"),
        found("%%remote --warm 1 --no"),
        found("%%nbfn --dr"),
        found("%%remote\nabs"),
    )
    assert "'%%remote'" in magics.result
    for option in ("--app", "--bg", "--warm", "--take-over", "--no-run"):
        assert repr(option) in dashes.result
    assert more.result == "['--no-run', '--notify']"
    assert nbfn_too.result == "['--dry-run']"
    assert "'abs'" in below.result


def test_what_stands_above_a_def_is_made_once_in_each_worker(one_kernel: Run) -> None:
    _, seen, here = one_kernel(
        "%%remote --quiet --app prelude --max 1\n"
        "import os\n"
        "SEEN = []\n"
        "def see(x):\n"
        "    SEEN.append(x)\n"
        "    return len(SEEN), os.getpid()",
        "first, second = see.remote('a'), see.remote('b')\n"
        "first[0], second[0], first[1] == second[1]",
        "SEEN, first[1] != os.getpid()",
    )
    assert seen.result == "(1, 2, True)"
    assert here.result == "([], True)"


def test_below_a_local_line_is_here_also_with_a_remark_and_not_in_a_string(one_kernel: Run) -> None:
    remark, text = one_kernel(
        "%%remote --app below\ndef f(x): return x\n%local    # below this line: here\nf.remote(1)",
        "%%remote --app below\ndef g():\n    return '''\n%local\n'''\n%local\ng.remote()",
    )
    assert remark.result == "1"
    assert text.result == repr("\n%local\n")


def test_defaults_are_passed_over_by_cells_that_they_do_not_fit(one_kernel: Run) -> None:
    *_, own, other, here = one_kernel(
        "import nbfn\nown = nbfn.App('of-its-own')",
        "%remote defaults --warm 1 --app fitting --bg",
        "%%remote\n@own.function()\ndef f(x): return x\n%local\nf.remote(3)",
        "%%remote\ndef g(x): return x\n%local\ng.remote(4)",
        "%remote defaults none",
    )
    assert own.result == "3"
    assert other.shown[0]["text/plain"] == "✓ g v1 · app fitting · warm 1"
    assert other.result == "4"
    assert here.stderr == ""
