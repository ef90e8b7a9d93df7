"""Tests of the command line (docs/function-api.md#command-line)."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import nbfn
from nbfn import cli
from nbfn.api.secret import Secret
from nbfn.client.client import Client
from nbfn.exception import NotFoundError
from tests.conftest import own_files, passing_modules, wait_until

PROGRAM = """
import datetime
from typing import Literal, Optional
import nbfn

app = nbfn.App("{name}")

@app.function()
def square(x: int, shout: bool = False) -> str:
    text = f"square is {{x * x}}"
    print(text.upper() if shout else text)
    return text

@app.function()
def count(n: int):
    yield from range(n)

@app.local_entrypoint()
def main(
    x: int,
    ratio: float = 0.5,
    loud: bool = False,
    when: datetime.datetime = None,
    maybe: Optional[int] = None,
    new: int | None = 3,
    size: Literal["small", "large"] = "small",
    level: Literal[1, 2] = 1,
    a_name="plain",
):
    print(repr((x, ratio, loud, when, maybe, new, size, level, a_name)))
    print("remote says", square.remote(x))

@app.local_entrypoint()
async def other(*words):
    print(words)
"""


class Ran:
    """The result of a command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Run = Callable[..., Ran]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Run]:
    """Run a command in this process."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def command(*argv: str) -> Ran:
        capsys.readouterr()
        code = cli.main(argv)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    with passing_modules(tmp_path):
        yield command


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "program.py", PROGRAM.format(name="program"))


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text), "utf-8")
    return path


# --- run -----------------------------------------------------------------------------------------


def test_run_parses_arguments_by_the_signature(run: Run, program: Path) -> None:
    options = ("--x", "4", "--ratio", "1", "--loud", "--when", "2026-01-02", "--maybe", "7")
    more = ("--new", "8", "--size", "large", "--level", "2", "--a-name", "n")
    ran = run("run", f"{program}::main", *options, *more)
    assert ran.code == 0, ran.err
    first, *rest = ran.out.splitlines()
    assert first == ("(4, 1.0, True, datetime.datetime(2026, 1, 2, 0, 0), 7, 8, 'large', 2, 'n')")
    assert rest == ["square is 16", "remote says square is 16"]


TYPED = """
import datetime, enum
from pathlib import Path
from typing import Literal
import nbfn

app = nbfn.App("typed")

class Color(enum.Enum):
    RED = "red"
    BLUE = 2

@app.local_entrypoint()
def plain(n=10, ratio=0.5, flag=False, name="x", none=None):
    print(repr((n, ratio, flag, name, none)))

@app.local_entrypoint()
def rich(color=Color.RED, other: Color | None = None, path=Path("in"), on: datetime.date = None,
         xs=[1, 2], names=("a",), pair: tuple[int, str] = (1, "a"), either: int | str = 0, level: Literal[0, 1] = 0):
    print(repr((color, other, path, on, xs, names, pair, either, level)))

@app.local_entrypoint()
async def names(n_items=3, _hidden=True, /, *, dry_run=True):
    print(repr((n_items, _hidden, dry_run)))

@app.local_entrypoint()
def half_resolved(n: "int", level: "Nowhere" = 2, *, at: "Elsewhere | None" = None):
    print(repr((n, level, at)))

@app.local_entrypoint()
def unreadable(settings={"a": 1}, n=1):
    print(repr((settings, n)))

@app.function()
def direct(x=1, scale=0.5):
    print(repr((x, scale)))

@app.cls()
class Model:
    size: int = nbfn.parameter(default=2)
    @nbfn.method()
    def predict(self, x=1.5, n_best=3, verbose=False):
        print(repr((self.size, x, n_best, verbose)))
"""


@pytest.mark.parametrize(
    ("ref", "words", "printed"),
    [
        ("plain", "", "(10, 0.5, False, 'x', None)"),
        ("plain", "--n 5 --ratio 1 --flag --name 7 --none 8", "(5, 1.0, True, '7', '8')"),
        (
            "rich",
            "",
            "(<Color.RED: 'red'>, None, PosixPath('in'), None, [1, 2], ('a',), (1, 'a'), 0, 0)",
        ),
        (
            "rich",
            (
                "--color blue --other red --path out --on 2026-01-02 --xs 3 --xs 4 --names b --pair 5 c "
                "--either seven --level 1"
            ),
            (
                "(<Color.BLUE: 2>, <Color.RED: 'red'>, PosixPath('out'), datetime.date(2026, 1, 2), [3, 4], "
                "('b',), (5, 'c'), 'seven', 1)"
            ),
        ),
        ("names", "", "(3, True, True)"),
        ("names", "--n-items 4 --no-dry-run", "(4, True, False)"),
        ("names", "--n_items 4 --no-hidden --no_dry_run", "(4, False, False)"),
        ("half_resolved", "--n 1", "(1, 2, None)"),
        ("half_resolved", "--n 1 --level 3 --at x", "(1, 3, 'x')"),
        ("unreadable", "--n 2", "({'a': 1}, 2)"),
        ("direct", "", "(1, 0.5)"),
        ("direct", "--x 2 --scale 3", "(2, 3.0)"),
        ("Model.predict", "", "(2, 1.5, 3, False)"),
        ("Model.predict", "--size 4 --x 2 --n_best 5 --verbose", "(4, 2.0, 5, True)"),
    ],
)
def test_run_takes_types_from_defaults_where_there_is_no_annotation(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ref: str, words: str, printed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "typed.py", TYPED)
    ran = run("run", "-q", f"{file}::{ref}", *words.split())
    assert (ran.code, ran.out) == (0, f"{printed}\n"), ran.err


@pytest.mark.parametrize(
    ("ref", "words", "said"),
    [
        ("plain", "--n 5.5", "Invalid value for '--n': '5.5' is not a valid integer."),
        ("plain", "--ratio much", "Invalid value for '--ratio': 'much' is not a valid float."),
        (
            "rich",
            "--color green",
            "Invalid value for '--color': 'green' is not one of RED, BLUE.",
        ),
        (
            "rich",
            "--on monday",
            "Invalid value for '--on': 'monday' is not a date, such as 2026-01-31.",
        ),
        (
            "unreadable",
            "--settings {}",
            "Parameter 'settings' of 'unreadable' is a dict, which cannot be read from a command line.",
        ),
    ],
)
def test_run_refuses_a_wrong_value_in_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ref: str, words: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "typed.py", TYPED)
    ran = run("run", f"{file}::{ref}", *words.split())
    assert (ran.code, ran.out) == (2, "")
    assert f"Error: {said}" in ran.err


def test_run_uses_the_defaults_and_needs_what_has_none(run: Run, program: Path) -> None:
    assert (
        "(3, 0.5, False, None, None, 3, 'small', 1, 'plain')"
        in run("run", f"{program}::main", "--x", "3", "--no-loud").out
    )
    ran = run("run", f"{program}::main")
    assert ran.code == 2
    assert "Missing option '--x'" in ran.err


def test_run_gives_star_args_the_words_as_they_are(run: Run, program: Path) -> None:
    ran = run("run", f"{program}::app.other", "--flag", "word", "-x", "--help")
    assert ran.out == "('--flag', 'word', '-x', '--help')\n", ran.err


def test_run_calls_a_function_directly(run: Run, program: Path, tmp_path: Path) -> None:
    ran = run("run", "-w", str(tmp_path / "out"), f"{program}::square", "--x", "5", "--shout")
    assert (ran.code, ran.out) == (0, "SQUARE IS 25\n")
    assert (tmp_path / "out").read_text() == "square is 25"


def test_run_shows_progress_on_stderr_unless_quiet(run: Run, program: Path) -> None:
    ran = run("run", f"{program}::square", "--x", "1")
    assert ["Initialized" in ran.err, "App completed" in ran.err] == [True, True]
    ran = run("run", "-q", f"{program}::square", "--x", "1")
    assert (ran.out, ran.err) == ("square is 1\n", "")
    ran = run("run", "-q", "-i", f"{program}::square", "--x", "1")
    assert ran.code == 1
    assert "cannot be combined" in ran.err


def test_run_puts_the_time_before_remote_lines(run: Run, program: Path) -> None:
    out = run("run", "--timestamps", f"{program}::square", "--x", "2").out
    assert out.endswith(" square is 4\n")
    assert out.startswith("20")


def test_run_lists_the_candidates_when_none_is_the_only_one(run: Run, program: Path) -> None:
    ran = run("run", str(program))
    assert ran.code == 1
    assert ran.out == ""
    assert all(name in ran.err for name in ("main", "other", "square", "count"))


def test_run_takes_the_only_entrypoint_else_the_only_function(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = """
        import nbfn
        app = nbfn.App("one")
        @app.function()
        def f(): print("f ran")
    """
    assert run("run", str(write(tmp_path / "one.py", one))).out == "f ran\n"
    two = (
        one
        + """
        @app.function()
        def g(): ...
        @app.local_entrypoint()
        def main(): print("main ran")
    """
    )
    assert run("run", str(write(tmp_path / "two.py", two))).out == "main ran\n"


def test_run_refuses_generators_and_what_it_cannot_parse(
    run: Run, program: Path, tmp_path: Path
) -> None:
    ran = run("run", f"{program}::count", "--n", "3")
    assert (ran.code, "generator" in ran.err) == (1, True)
    odd = """
        import nbfn
        app = nbfn.App("odd")
        @app.local_entrypoint()
        def mapped(xs: dict[str, int]): ...
        @app.local_entrypoint()
        def mixed(x: int, *rest): ...
        @app.local_entrypoint()
        def unknown(x: "Nowhere"): ...
    """
    file = write(tmp_path / "odd.py", odd)
    for name, said in (("mapped", "'xs'"), ("mixed", "*args"), ("unknown", "cannot be resolved")):
        ran = run("run", f"{file}::{name}")
        assert ran.code == 1
        assert said in ran.err


def test_run_fails_with_the_users_traceback(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(
        tmp_path / "fails.py",
        """
        import nbfn
        app = nbfn.App("fails")
        @app.local_entrypoint()
        def main(): raise KeyError("mine")
        """,
    )
    ran = run("run", str(file))
    assert ran.code == 1
    assert "KeyError: 'mine'" in ran.err
    assert not any("/cli/" in file for file in own_files(ran.err))


@pytest.mark.filterwarnings("ignore:Class 'Made' has an __init__")
def test_run_takes_class_parameters_as_options(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(
        tmp_path / "classes.py",
        """
        import nbfn
        app = nbfn.App("classes")
        @app.cls()
        class Greeter:
            word: str = nbfn.parameter()
            times: int = nbfn.parameter(default=1)
            @nbfn.method()
            def greet(self, whom: str):
                print(*[self.word] * self.times, whom)
        @app.cls()
        class Clash:
            x: int = nbfn.parameter()
            @nbfn.method()
            def f(self, x: int): ...
        @app.cls()
        class Made:
            def __init__(self, start: int): self.start = start
            @nbfn.method()
            def add(self, n: int): print(self.start + n)
        """,
    )
    words = ("--word", "hi", "--times", "2", "--whom", "you")
    assert run("run", "-q", f"{file}::Greeter.greet", *words).out == "hi hi you\n"
    assert run("run", "-q", f"{file}::app.Made.add", "--start", "2", "--n", "3").out == "5\n"
    ran = run("run", f"{file}::Clash.f", "--x", "1")
    assert (ran.code, "parameter of both" in ran.err) == (1, True)
    assert "Missing option '--word'" in run("run", f"{file}::Greeter.greet", "--whom", "x").err


def test_run_help_lists_the_parameters(run: Run, program: Path) -> None:
    ran = run("run", f"{program}::main", "--help")
    assert ran.code == 0
    assert "--loud / --no-loud" in ran.out
    assert "[small|large]" in ran.out


def test_help_and_usage_errors_repeat_what_was_written(run: Run, program: Path) -> None:
    ref = f"{program.name}::main"
    assert run("run", ref, "--help").out.startswith(f"Usage: nbfn run {ref} [OPTIONS]\n")
    for words in ([], ["--x", "y"], ["--unknown", "1"]):
        wrong = run("run", "-q", ref, *words)
        assert wrong.code == 2
        assert f"Usage: nbfn run {ref} [OPTIONS]\nTry 'nbfn run {ref} --help'" in wrong.err
    write(
        program.parent / "counters.py",
        """
        import nbfn

        app = nbfn.App("counters")

        @app.cls()
        class Counter:
            @nbfn.method()
            def count(self, n: int):
                return n
        """,
    )
    for words in (["counters.py"], ["-m", "counters"], ["-m", "counters::Counter.count"]):
        usage = f"Usage: nbfn run {' '.join(words)} [OPTIONS]"
        assert run("run", *words, "--help").out.startswith(usage)


def test_help_says_which_options_may_be_given_several_times(run: Run, tmp_path: Path) -> None:
    file = write(
        tmp_path / "several.py",
        """
        import nbfn

        app = nbfn.App("several")

        @app.local_entrypoint()
        def main(names: list[str], sizes: tuple[int, ...] = (1, 2), size: tuple[int, int] = (3, 4), x: int = 5):
            print(names, sizes, size, x)
        """,
    )
    shown = run("run", str(file), "--help").out
    lines = {line.split()[0]: " ".join(line.split()) for line in shown.splitlines() if "--" in line}
    assert lines["--names"] == "--names TEXT Can be repeated. [required]"
    assert lines["--sizes"] == "--sizes INTEGER Can be repeated. [default: (1, 2)]"
    assert "several times" not in lines["--size"] + lines["--x"]
    words = ("--names", "a", "--names", "b", "--sizes", "7", "--size", "8", "9")
    assert run("run", "-q", str(file), *words).out == "['a', 'b'] (7,) (8, 9) 5\n"


@pytest.mark.parametrize("command", ["run", "deploy"])
def test_code_that_cannot_be_imported_is_shown_with_its_line(
    run: Run, tmp_path: Path, command: str
) -> None:
    ran = run(command, str(write(tmp_path / "unimportable.py", "x = 1\n1 / 0\n")))
    assert ran.code == 1
    assert "unimportable.py" in ran.err
    assert "line 2" in ran.err
    assert not any("/cli/" in file for file in own_files(ran.err))


def test_an_interrupted_run_stops_its_app_and_exits_with_130(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = """
        import nbfn
        app = nbfn.App("interrupted-run")
        @app.local_entrypoint()
        def main(): raise KeyboardInterrupt
    """
    ran = run("run", "-w", "out", str(write(tmp_path / "interrupted.py", program)))
    assert ran.code == 130
    rows = [row for row in Client.attach().apps() if row.name == "interrupted-run"]
    assert [row.state for row in rows] == ["stopped"]


def test_a_file_that_cannot_be_written_is_refused_before_the_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = """
        from pathlib import Path
        import nbfn
        app = nbfn.App("unwritable")
        @app.local_entrypoint()
        def main():
            Path("ran").touch()
            return "result"
    """
    ran = run("run", "-w", "nowhere/out", str(write(tmp_path / "unwritable.py", program)))
    assert ran.code == 1
    assert "--write-result nowhere/out: the directory nowhere does not exist." in ran.err
    assert not (tmp_path / "ran").exists()


def test_run_imports_a_module_with_m(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    write(tmp_path / "pkg" / "mod.py", PROGRAM.format(name="module"))
    monkeypatch.chdir(tmp_path)
    assert run("run", "-q", "-m", "pkg.mod::square", "--x", "3").out == "square is 9\n"
    assert "no module nowhere" in run("run", "-m", "nowhere.mod").err


def test_bad_references_are_told_in_a_sentence(run: Run, program: Path, tmp_path: Path) -> None:
    assert "no file" in run("run", str(tmp_path / "none.py")).err
    assert "neither a .py nor an .ipynb" in run("run", "pkg.mod::f").err
    ran = run("run", f"{program}::nothing")
    assert ran.code == 1
    assert "has no 'nothing' (there are: main, other, square, count)" in ran.err
    empty = write(tmp_path / "empty.py", "x = 1\n")
    assert "has no App" in run("run", str(empty)).err


# --- notebooks -----------------------------------------------------------------------------------


def a_notebook(path: Path, *cells: str) -> Path:
    made = [{"cell_type": "code", "source": textwrap.dedent(cell)} for cell in cells]
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "# T"}, *made]}))
    return path


def test_a_notebook_is_run_and_deployed_like_a_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = a_notebook(
        tmp_path / "my notebook.ipynb",
        "%load_ext nbfn\nimport math\nfactor = 3\n!ls\nfiles = !ls",
        "%%remote --max 2\ndef triple(x: int) -> str:\n    return str(helper(x))\n"
        "def _unused(): ...\n%local\nraise RuntimeError('does not run')",
        "def helper(x):\n    return math.floor(x) * factor",
        "%%html\n<b>no code</b>",
        "if __name__ == '__main__':\n    raise RuntimeError('does not run either')",
    )
    ran = run("run", "-q", "-w", "out", f"{file}::triple", "--x", "4")
    assert ran.code == 0, ran.err
    assert (tmp_path / "out").read_text() == "12"
    ran = run("deploy", str(file))
    assert ran.code == 0, ran.err
    assert "'my-notebook'" in ran.out
    found = nbfn.Function.from_name("my-notebook", "triple")
    assert found.remote(5) == "15"


def test_a_notebook_that_is_none_is_told(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "broken.ipynb", "not json")
    assert "is not a notebook" in run("run", str(file)).err


# --- deploy, history, rollback, stop -------------------------------------------------------------


def version(path: Path, number: int) -> Path:
    return write(
        path,
        f"""
        import nbfn
        app = nbfn.App("lived")
        @app.function()
        def value(): return {number}
        """,
    )


def test_deploy_lists_functions_classes_and_urls(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "listed.py"
    file.write_text(
        """
import nbfn

app = nbfn.App("listed")


@app.function()
@nbfn.fastapi_endpoint()
def page():
    return 1


@app.cls()
class Model:
    size: int = nbfn.parameter()

    @nbfn.method()
    def plain(self):
        return 1

    @nbfn.fastapi_endpoint()
    def sized(self):
        return self.size
"""
    )
    lines = run("deploy", str(file)).out.splitlines()
    named = [line.split() for line in lines if line.startswith("  ")]
    assert [words[0] for words in named] == ["page", "Model", "Model.sized"]
    assert httpx.get(named[0][1], timeout=30).json() == 1
    assert httpx.get(named[2][1], params={"size": 7}, timeout=30).json() == 7


def test_the_life_of_an_app(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    handle = nbfn.Function.from_name("lived", "value")
    file = tmp_path / "lived.py"
    ran = run("deploy", "--tag", "first", str(version(file, 1)))
    assert ran.code == 0, ran.err
    assert "was deployed as v1" in ran.out
    assert "  value" in ran.out
    assert "deployment skipped" in run("deploy", str(file)).out
    run("deploy", str(version(file, 2)))
    assert handle.remote() == 2

    listed = json.loads(run("app", "list", "--json").out)
    row = next(row for row in listed if row["description"] == "lived")
    assert row["state"] == "deployed"
    assert row["stopped_at"] is None
    assert run("app", "list").out.splitlines()[0].split() == [
        *("App", "ID", "Description", "State", "Tasks", "Created", "Stopped")
    ]

    history = json.loads(run("app", "history", "lived", "--json").out)
    assert [(h["version"], h["tag"]) for h in history] == [("v2", ""), ("v1", "first")]
    assert run("app", "history", row["app_id"]).out.splitlines()[0].startswith("Version  Time")

    assert "v3, with the Functions of v1" in run("app", "rollback", "lived").out
    assert handle.remote() == 1
    assert run("app", "rollback", "lived", "v2").code == 0
    assert handle.remote() == 2
    ran = run("app", "rollback", "lived", "2")
    assert (ran.code, "Write v2" in ran.err) == (2, True)
    assert "new workers" in run("app", "rollover", "lived").out
    assert handle.remote() == 2

    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert run("app", "stop", "lived").code == 1
    assert handle.remote() == 2
    assert "was stopped" in run("app", "stop", "lived", "--yes").out
    assert "already stopped" in run("app", "stop", row["app_id"]).out
    with pytest.raises(NotFoundError):
        handle.remote()
    ran = run("app", "stop", "lived", "--yes")
    assert (ran.code, "No app 'lived' is deployed" in ran.err) == (1, True)


def test_the_history_names_the_commit_and_whether_the_files_had_changed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "tracked.py", PROGRAM.format(name="tracked"))
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")

    def git(*argv: str) -> str:
        done = subprocess.run(["git", *argv], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", "tracked.py")
    git(*identity, "commit", "-q", "-m", "first")
    run("deploy", str(file))
    file.write_text(file.read_text() + "app.function(name='more')(lambda: 1)\n")
    run("deploy", str(file))
    history = json.loads(run("app", "history", "tracked", "--json").out)
    commit = git("rev-parse", "--short", "HEAD")
    assert [row["commit"] for row in history] == [f"{commit}*", commit]


def test_deploy_says_what_is_missing(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "unnamed.py", "import nbfn\napp = nbfn.App()\n")
    assert "needs a name" in run("deploy", str(file)).err
    assert run("deploy", "--name", "named-so", str(file)).code == 0
    assert "named-so" in run("app", "list").out


# --- serve ---------------------------------------------------------------------------------------


def test_serve_runs_the_app_anew_when_its_file_changes(tmp_path: Path) -> None:
    file = write(tmp_path / "served.py", "import nbfn\napp = nbfn.App('served')\n")
    served = lambda: [  # noqa: E731
        row.id for row in Client.attach().apps() if (row.name, row.state) == ("served", "ephemeral")
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "nbfn", "serve", "--timeout", "60", str(file)], cwd=tmp_path
    )
    try:
        wait_until(served, 20)
        (first,) = served()
        time.sleep(0.01)
        write(file, "import nbfn\napp = nbfn.App('served')  # changed\n")
        wait_until(lambda: served() not in ([], [first]), 20)
    finally:
        process.terminate()
        process.wait()
    wait_until(lambda: not served(), 20)


def test_serve_ends_after_its_timeout(tmp_path: Path) -> None:
    file = write(tmp_path / "brief.py", "import nbfn\napp = nbfn.App('brief')\n")
    argv = [sys.executable, "-m", "nbfn", "serve", "--timeout", "0.1", str(file)]
    done = subprocess.run(argv, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0


# --- containers, environments, secrets -----------------------------------------------------------


def test_calls_are_listed_cancelled_and_retried(run: Run, tmp_path: Path) -> None:
    app, gate = nbfn.App("called"), tmp_path / "gate"

    @app.function(max_containers=1, serialized=True)
    def wait_for(n: int, gate: Path) -> int:
        while not gate.exists():
            time.sleep(0.01)
        return n

    app.deploy()
    call = wait_for.spawn_map([0, 1, 2], [gate] * 3)

    def row() -> dict[str, object]:
        rows = json.loads(run("call", "list", "--json", "--function", "wait_for").out)
        return next(found for found in rows if found["call_id"] == call.object_id)

    wait_until(lambda: row()["running"] == 1)
    assert (row()["state"], row()["total"], row()["waiting"]) == ("running", 3, 2)
    shown = run("call", "list", "--function", "wait_for").out.splitlines()
    assert any(
        line.split()[:5] == [call.object_id, "wait_for", "spawn", "running", "3"] for line in shown
    )
    assert call.object_id in run("call", "cancel", call.object_id[:12]).out
    wait_until(lambda: row()["state"] == "cancelled")
    assert (row()["cancelled"], row()["not run"]) == (1, 2)
    assert (
        run("call", "list", "--state", "succeeded", "--function", "wait_for").out.count("\n") == 1
    )
    gate.touch()
    assert "3 inputs of" in run("call", "retry", call.object_id).out
    assert list(call.iter()) == [0, 1, 2]
    wait_until(lambda: row()["succeeded"] == 3)
    assert "All inputs of call" in run("call", "retry", call.object_id).err
    assert "is not the id of a call" in run("call", "cancel", "wait_for").err
    assert "No call has the id" in run("call", "cancel", "fc-none").err


def test_containers_are_listed_and_stopped(run: Run) -> None:
    app = nbfn.App("contained")

    @app.function()
    def pid() -> int:
        import os

        return os.getpid()

    app.deploy()
    before = pid.remote()
    rows = json.loads(run("container", "list", "--app-id", "contained", "--json").out)
    (row,) = [row for row in rows if row["pid"] == before]
    assert (row["app"], row["function"], row["app_id"]) == ("contained", "pid", app.app_id)
    ran = run("container", "stop", "--yes", row["container_id"])
    assert ran.code == 0, ran.err
    assert pid.remote() != before
    assert "No worker has the id" in run("container", "stop", "-y", "wk-none").err


def test_environments_from_the_command_line(run: Run, tmp_path: Path) -> None:
    assert run("environment", "create", "lab").code == 0
    assert run("environment", "create", "lab").code == 1
    file = version(tmp_path / "lived.py", 7)
    assert run("deploy", "-e", "lab", str(file)).code == 0
    assert "lived" in run("app", "list", "-e", "lab").out
    assert run("environment", "update", "lab", "--set-name", "lab2").code == 0
    rows = {row["name"]: row for row in json.loads(run("environment", "list", "--json").out)}
    assert rows["lab2"]["apps"] == 1
    assert run("environment", "delete", "lab2", "--yes").code == 0
    assert "no environment 'lab2'" in run("app", "list", "-e", "lab2").err


def test_secrets_from_the_command_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("from stdin\n"))
    assert run("secret", "create", "token", "A=1", "B=-").code == 0
    assert "already" in run("secret", "create", "token", "A=2").err
    (row,) = json.loads(run("secret", "list", "--json").out)
    assert (row["name"], row["variables"]) == ("token", "A, B")
    app = nbfn.App("secretive")

    @app.function(secrets=[Secret.from_name("token")])
    def read() -> tuple[str, str]:
        import os

        return os.environ["A"], os.environ["B"]

    assert read.remote() == ("1", "from stdin")
    assert run("secret", "delete", "-y", "token").code == 0
    assert json.loads(run("secret", "list", "--json").out) == []


# --- the command itself --------------------------------------------------------------------------


def test_help_names_the_commands(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    for name in (
        "run",
        "serve",
        "deploy",
        "app",
        "call",
        "container",
        "environment",
        "secret",
        "hub",
    ):
        assert f"  {name}" in ran.out
    assert run("nonsense").code == 2
    assert run("--version").out == f"nbfn {nbfn.__version__}\n"


def test_importing_nbfn_does_not_import_click() -> None:
    code = "import nbfn, sys; nbfn.App; sys.exit('click' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
