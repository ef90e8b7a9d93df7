"""Errors of remote code: their tracebacks, the debugger, and replaying an input."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import own_files
from tests.notebook.kernel import Kernel

Run = Callable[..., list[Any]]

BROKEN = """%%remote --quiet --app debug
def divide(x):
    secret = x * 2
    return secret / (x - x)  # the line that ran
"""


def call_in(text: str) -> str:
    """Return the call that an error names."""
    (found,) = set(re.findall(r"fc-\w{22}(?:\[\d+\])?", text))
    return str(found)


def test_an_error_shows_the_users_frames_only_and_where_it_was(one_kernel: Run) -> None:
    _, failed = one_kernel(BROKEN, "divide.remote(3)")
    assert "# the line that ran" in failed.error
    assert "divide.remote(3)" in failed.error
    assert not own_files(failed.error)
    assert re.search(r"divide ran on wk-\w+… \(fc-\w{22}\)", failed.error)


def test_the_last_line_says_where_it_ran_and_at_which_attempt(one_kernel: Run) -> None:
    _, failed = one_kernel(
        "%%remote --quiet\nimport nbfn\napp = nbfn.App('debug')\n"
        "@app.function(retries=nbfn.Retries(max_retries=2, initial_delay=0))\n"
        "def gives_up(): raise ValueError('no')",
        "gives_up.remote()",
    )
    assert re.fullmatch(
        r"gives_up ran on wk-\w+…, attempt 3 of 3 \(fc-\w{22}\)", failed.error.splitlines()[-1]
    )


def test_the_lines_shown_are_those_that_ran_after_the_cell_was_edited(one_kernel: Run) -> None:
    edited = (
        "%%remote --quiet --app debug\n\n\ndef divide(x):\n    # all new\n    return 'edited'\n"
    )
    _, _, got, again = one_kernel(
        BROKEN,
        f"call = divide.spawn(3)\nget_ipython().run_cell({edited!r})",
        "call.get()",
        "divide.remote(3)",
    )
    assert "return secret / (x - x)  # the line that ran" in got.error
    assert "all new" not in got.error
    assert again.result == "'edited'"


def test_the_lines_shown_are_those_that_ran_after_the_same_cell_was_run_again(
    one_kernel: Run,
) -> None:
    _, _, _, got = one_kernel(BROKEN, "call = divide.spawn(3)", BROKEN, "call.get()")
    assert "# the line that ran" in got.error


def test_the_debugger_opens_at_the_remote_line_and_says_that_its_variables_are_gone(
    kernel: Kernel,
) -> None:
    kernel.execute(BROKEN)
    kernel.execute("divide.remote(3)")
    said = kernel.debug("%debug", "p variables", "w", "u", "q")
    assert "stayed on the worker" in said
    assert re.search(r"%fn replay fc-\w{22} runs the input here", said)
    assert "# the line that ran" in said


def test_replay_runs_the_failed_input_here_under_the_debugger(kernel: Kernel) -> None:
    kernel.execute(BROKEN)
    failed = kernel.execute("divide.remote(21)")
    call = call_in(kernel.traceback(failed))
    said = kernel.debug(f"%fn replay {call}", "p 'secret is', secret", "q")
    assert "('secret is', 42)" in said
    assert "ZeroDivisionError" in said


def test_replay_of_a_spawned_call_has_its_arguments_from_the_hub_and_the_code_that_ran(
    one_kernel: Run,
) -> None:
    _, _, _, here, there = one_kernel(
        BROKEN,
        "call = divide.spawn(21)\ntry: call.get()\nexcept ZeroDivisionError: print(call.object_id)",
        BROKEN.replace("secret / (x - x)", "'mended'"),
        "%fn replay --run call",
        "%fn replay call",
    )
    assert "ZeroDivisionError" in here.error
    assert "# the line that ran" in here.error
    assert not own_files(here.error)
    assert "UsageError" not in here.error
    assert "ZeroDivisionError" in there.error
    assert "Use %fn replay --run" in there.stderr + there.error + there.text


def test_replay_names_an_input_of_many(one_kernel: Run) -> None:
    *_, second, fine = one_kernel(
        "%%remote --quiet --app debug\ndef picky(x):\n    return 10 // (x - 5)",
        "call = picky.spawn_map([4, 5, 6])\n"
        "import time\nwhile [c for c in __import__('nbfn').Client.attach().overview().calls "
        "if c.id == call.object_id and c.state == 'running']: time.sleep(0.01)",
        "%fn replay --run call[1]",
        "%fn replay --run call[0]",
    )
    assert "ZeroDivisionError" in second.error
    assert "are not kept: only those of inputs that failed are" in fine.stderr + fine.error


def test_replay_finds_the_input_of_a_map_that_failed(one_kernel: Run) -> None:
    *_, mapped, replayed = one_kernel(
        "%%remote --quiet --app debug\ndef picky(x):\n    return 10 // (x - 5)",
        "list(picky.map([4, 5, 6]))",
        "import re, sys\n"
        "call = re.search(r'fc-\\w{22}\\[\\d+\\]', sys.last_value.__notes__[-1])[0]\n"
        "print(call)\n"
        "get_ipython().run_line_magic('fn', f'replay --run {call}')",
    )
    assert "picky ran on" in mapped.error
    assert replayed.text.endswith("[1]\n")
    assert "ZeroDivisionError" in replayed.error


def test_replay_says_when_the_arguments_are_gone(one_kernel: Run) -> None:
    (gone,) = one_kernel("%fn replay fc-" + "A" * 22)
    assert "The arguments of fc-AAAAAAAAAAAAAAAAAAAAAA[0] are gone" in gone.stderr + gone.error


def test_replay_runs_coroutines_and_generators_as_well(one_kernel: Run) -> None:
    *_, first, second = one_kernel(
        "%%remote --quiet --app debug\n"
        "async def later(x): return 1 / x\n"
        "def some(x):\n    yield 1\n    yield 1 / x",
        "import re\n"
        "def failing(action):\n"
        "    try: action()\n"
        "    except ZeroDivisionError as e: return re.search('fc-[0-9A-Za-z]{22}', e.__notes__[-1])[0]\n"
        "a, b = failing(lambda: later.remote(0)), failing(lambda: list(some.remote_gen(0)))",
        "get_ipython().run_line_magic('fn', f'replay --run {a}')",
        "get_ipython().run_line_magic('fn', f'replay --run {b}')",
    )
    assert "ZeroDivisionError" in first.error
    assert "1 / x" in first.error
    assert "ZeroDivisionError" in second.error


SCALE = """%%remote --quiet --app debug
import nbfn
class Scale:
    by: int = nbfn.parameter(default=1)

    @nbfn.enter()
    def load(self):
        self.table = {1: 1.0}

    @nbfn.enter()
    async def load_more(self):
        self.table[2] = 0.5

    @nbfn.method()
    def look_up(self, x):
        missing = self.by * x
        return self.table[missing]  # the line of the method

    @nbfn.method()
    async def look_up_later(self, x):
        return self.table[self.by * x]
"""
FAILING = """import re
def failing(action):
    try: action()
    except KeyError as e: return re.search(r'fc-[0-9A-Za-z]{22}', e.__notes__[-1])[0]
"""


def test_replay_of_a_method_makes_the_object_here_and_enters_it(kernel: Kernel) -> None:
    kernel.execute(SCALE)
    kernel.execute(FAILING)
    kernel.execute("call = failing(lambda: Scale(by=3).look_up.remote(7))")
    said = kernel.debug(
        "get_ipython().run_line_magic('fn', f'replay {call}')",
        "p 'missing', missing, self.by, sorted(self.table)",
        "q",
    )
    assert "('missing', 21, 3, [1, 2])" in said
    assert "# the line of the method" in said


def test_replay_of_methods_spawned_or_async_or_with_a_constructor(
    one_kernel: Run, tmp_path: Path
) -> None:
    path = str(tmp_path / "written later")
    *_, later, spawned, built, fresh = one_kernel(
        SCALE,
        FAILING,
        """%%remote --quiet --app debug
class Built:
    def __init__(self, path): self.path = path
    @nbfn.method()
    def size(self): return len(open(self.path).read())
""",
        "get_ipython().run_line_magic('fn', f'replay --run {failing(lambda: Scale(by=5).look_up_later.remote(1))}')",
        "call = Scale(by=4).look_up.spawn(2)\ntry: call.get()\nexcept KeyError: pass\n%fn replay --run call",
        "call = Built('/nowhere').size.spawn()\ntry: call.get()\nexcept OSError: pass\n%fn replay --run call",
        f"call = Built({path!r}).size.spawn()\ntry: call.get()\nexcept OSError: pass\n"
        f"with open({path!r}, 'w') as file: file.write('here')\n%fn replay --run call",
    )
    for cell, said in ((later, "KeyError: 5"), (spawned, "KeyError: 8"), (built, "/nowhere")):
        assert said in cell.error
        assert not own_files(cell.error)
    assert fresh.result == "4"


def test_replay_of_a_batched_function_is_a_batch_of_one(one_kernel: Run) -> None:
    *_, replayed = one_kernel(
        """%%remote --quiet --app debug
@nbfn.batched(max_batch_size=4, wait_ms=10)
def halves(xs):
    return [10 // x for x in xs]
""",
        "call = halves.spawn(0)\ntry: call.get()\nexcept ZeroDivisionError: pass\n%fn replay --run call",
    )
    assert "ZeroDivisionError" in replayed.error
    assert "[10 // x for x in xs]" in replayed.error


def test_a_breakpoint_on_a_worker_says_how_to_debug_its_input(one_kernel: Run) -> None:
    *_, stopped, replayed, mapped = one_kernel(
        "import nbfn\napp = nbfn.App('breakpoints')",
        "@app.function()\ndef halve(x):\n    breakpoint()\n    return x / 2",
        "halve.remote(3)",
        "import os, re, sys\nos.environ['PYTHONBREAKPOINT'] = '0'\n"
        "which = re.search(r'replay (\\S+)', sys.last_value.__notes__[-1])[1]\n"
        "get_ipython().run_line_magic('fn', f'replay --run {which}')",
        "list(halve.map(range(3)))",
    )
    for failed in (stopped, mapped):
        assert (
            "'halve' asked for input (breakpoint()), and a worker has no terminal" in failed.error
        )
        assert re.search(r"%fn replay fc-\w{22} runs this input here", failed.error)
    assert "1.5" in replayed.text + str(replayed.result)
