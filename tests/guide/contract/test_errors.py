"""Tests of errors and their tracebacks (docs/function-api.md#errors)."""

from __future__ import annotations

import asyncio
import linecache
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn import exception
from tests.conftest import own_files

app = nbfn.App()


def text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def files_of(error: BaseException) -> list[str]:
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


# --- the hierarchy -------------------------------------------------------------------------------

HIERARCHY = {
    "Error": "AlreadyExistsError AuthError InternalError DataLossError NotFoundError PermissionDeniedError "
    "ResourceExhaustedError ServiceError UnimplementedError InvalidError RemoteError TimeoutError ConnectionError "
    "VersionError ExecutionError DeserializationError SerializationError RequestSizeError InternalFailure ClientClosed "
    "LogsFetchError WorkspaceManagementError SandboxTerminatedError",
    "InvalidError": "ConflictError LocalFunctionError",
    "RemoteError": "ImageBuildError",
    "TimeoutError": "FunctionTimeoutError SandboxTimeoutError ExecTimeoutError MountUploadTimeoutError "
    "VolumeUploadTimeoutError InteractiveTimeoutError OutputExpiredError",
}


@pytest.mark.parametrize(
    ("parent", "child"), [(p, c) for p, children in HIERARCHY.items() for c in children.split()]
)
def test_each_error_is_where_modal_has_it(parent: str, child: str) -> None:
    assert issubclass(getattr(exception, child), getattr(exception, parent))
    assert issubclass(getattr(exception, child), nbfn.Error)


@pytest.mark.parametrize("name", ["DeprecationError", "ServerWarning", "AsyncUsageWarning"])
def test_warnings_are_user_warnings(name: str) -> None:
    assert issubclass(getattr(exception, name), UserWarning)


def test_what_has_a_builtins_name_is_none() -> None:
    assert not issubclass(exception.TimeoutError, TimeoutError)
    assert not issubclass(exception.ConnectionError, ConnectionError)
    assert issubclass(exception.InputCancellation, BaseException)
    assert not issubclass(exception.InputCancellation, Exception)


@app.function()
def raises(error: BaseException) -> None:
    raise error


@app.function(is_generator=True)
def yields_and_raises(error: BaseException) -> Iterator[int]:
    class Items:
        count = 0

        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            self.count += 1
            if self.count > 1:
                raise error
            return self.count

    return Items()


class OurStop(StopIteration):
    """An exception class of the user."""


@pytest.mark.parametrize("error", [StopIteration(5), OurStop(5), StopAsyncIteration(5)])
class TestErrorsThatEndLoops:
    """They do not end a loop of the caller silently, and are raised unchanged where Python allows it."""

    def test_a_blocking_call_raises_it(self, error: Exception) -> None:
        for call in (
            lambda: raises.remote(error),
            lambda: raises.spawn(error).get(),
            lambda: raises.for_each([error]),
            lambda: nbfn.FunctionCall.gather(raises.spawn(error)),
        ):
            with pytest.raises(type(error)) as caught:
                call()
            assert caught.value.args == (5,)
            assert "raise error" in text_of(caught.value)

    def test_a_loop_and_a_coroutine_raise_a_runtime_error_that_names_it(
        self, error: Exception
    ) -> None:
        async def awaited() -> None:
            await raises.remote.aio(error)

        async def looped() -> list[None]:
            return [value async for value in raises.map.aio([error])]

        ways = [
            lambda: list(raises.map([error])),
            lambda: next(raises.map([error])),
            lambda: list(raises.spawn_map([error]).iter()),
            lambda: asyncio.run(looped()),
        ]
        if not isinstance(error, StopAsyncIteration):  # a coroutine may raise it
            ways.append(lambda: asyncio.run(awaited()))
        for way in ways:
            with pytest.raises(RuntimeError) as caught:
                way()
            assert str(caught.value) == f"'raises' raised {type(error).__name__}: 5"
            assert type(caught.value.__cause__) is type(error)
            assert "raise error" in text_of(caught.value)

    def test_it_takes_the_place_of_a_result(self, error: Exception) -> None:
        results = list(raises.map([error], return_exceptions=True))
        results += nbfn.FunctionCall.gather(raises.spawn(error), return_exceptions=True)
        assert [(type(found), found.args) for found in results] == [(type(error), (5,))] * 2

    def test_inputs_that_raise_it_are_not_taken_for_their_end(self, error: Exception) -> None:
        class Inputs:
            def __iter__(self) -> Iterator[int]:
                return self

            def __next__(self) -> int:
                raise error

        if isinstance(error, StopIteration):
            assert list(raises.map(Inputs())) == []
        else:
            with pytest.raises(RuntimeError, match="An iterable of inputs raised StopAsyncIter"):
                list(raises.map(Inputs()))


def test_an_iterator_that_raises_stop_async_iteration_does_not_end_its_items_silently() -> None:
    items = yields_and_raises.remote_gen(StopAsyncIteration(5))
    assert next(items) == 1
    with pytest.raises(RuntimeError, match="'yields_and_raises' raised StopAsyncIteration: 5"):
        next(items)


# --- when each is raised -------------------------------------------------------------------------


class OurError(Exception):
    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text)
        self.code = code


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


@app.function()
def run(source: str, **names: Any) -> Any:
    """Run the text of a function's body in the worker."""
    space = dict(names)
    body = "".join(f"    {line}\n" for line in source.splitlines())
    exec(f"def body():\n{body}", space)
    return space["body"]()


def raised(source: str, **names: Any) -> BaseException:
    with pytest.raises(BaseException) as caught:
        run.remote(source, **names)
    return caught.value


def test_user_code_raised_it_itself_with_arguments_and_attributes() -> None:
    error = raised("raise OurError('ours', code=7)", OurError=OurError)
    assert type(error) is OurError
    assert (error.args, error.code) == (("ours",), 7)


def test_its_chain_its_notes_and_its_attributes_are_kept() -> None:
    error = raised(
        "try:\n    {}['a']\nexcept KeyError as first:\n"
        "    second = ValueError(1)\n    second.detail = [1]\n    second.add_note('look here')\n"
        "    raise second from first"
    )
    assert isinstance(error, ValueError)
    assert error.detail == [1]  # type: ignore[attr-defined]
    assert error.__notes__[0] == "look here"
    assert isinstance(error.__cause__, KeyError)
    assert error.__cause__ is error.__context__
    assert "direct cause" in text_of(error)


def test_a_group_is_a_group_and_except_star_takes_it_apart() -> None:
    caught = []
    try:
        run.remote("raise ExceptionGroup('two', [ValueError(1), OSError(2, 'x')])")
    except* ValueError as values:
        caught.append(values.exceptions[0].args)
    except* OSError as others:
        caught.append(others.exceptions[0].args)
    assert caught == [(1,), (2, "x")]


def test_one_that_is_not_picklable_is_a_serialization_error_with_repr_and_reason() -> None:
    error = raised("raise Unpicklable()", Unpicklable=Unpicklable)
    assert type(error) is exception.SerializationError
    assert "Failed to serialize exception Unpicklable: holds a lock" in str(error)
    assert "cannot pickle '_thread.lock' object" in str(error)
    assert "in body" in text_of(error)


def test_one_whose_class_is_not_here_is_an_execution_error_with_the_remote_traceback(
    tmp_path: Path,
) -> None:
    (tmp_path / "only_there.py").write_text(
        "class Odd(Exception): pass\ndef fail(): raise Odd('strange')\n"
    )
    error = raised(
        "import sys\nsys.path.insert(0, place)\nimport only_there\nonly_there.fail()",
        place=str(tmp_path),
    )
    assert type(error) is exception.ExecutionError
    assert "Could not deserialize the remote exception only_there.Odd: strange" in str(error)
    assert "local environment may lack" in str(error)
    assert "def fail(): raise Odd('strange')" in str(error)


def test_a_result_whose_class_is_not_here_is_an_execution_error(tmp_path: Path) -> None:
    (tmp_path / "made_there.py").write_text("class Thing: pass\n")
    error = raised(
        "import sys\nsys.path.insert(0, place)\nimport made_there\nreturn made_there.Thing()",
        place=str(tmp_path),
    )
    assert type(error) is exception.ExecutionError
    assert "Could not deserialize the result of 'run'" in str(error)
    assert "needs the module 'made_there', which is not installed in the local environment" in str(
        error
    )


class RefusesThere:
    """An object that can be unpickled only in the process that made it."""

    def __reduce__(self) -> Any:
        return _refuse, (os.getpid(),)


def _refuse(home: int) -> str:
    if os.getpid() != home:
        raise AttributeError("module 'lib' has no attribute 'New'")
    return "here"


def test_an_argument_that_cannot_be_unpickled_fails_that_input_alone() -> None:
    results = list(run.map(["return 1", "return 2"], kwargs={}, return_exceptions=True))
    assert results == [1, 2]
    error = raised("return 1", thing=RefusesThere())
    assert type(error) is exception.DeserializationError
    assert "the remote environment" in str(error)
    assert "different library versions" in str(error)
    assert run.remote("return 3") == 3


def test_an_argument_that_cannot_be_pickled_is_refused_here_and_nothing_runs(
    tmp_path: Path,
) -> None:
    with pytest.raises(
        exception.SerializationError, match=r"argument 'deep' of 'run' .*_thread.lock"
    ):
        run.remote(f"open({str(tmp_path / 'ran')!r}, 'w')", deep={"a": [threading.Lock()]})
    assert list(tmp_path.iterdir()) == []


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@app.function()
def gives_nested(levels: int) -> list[Any]:
    return nested(levels)


class RefusesError(Exception):
    """Raised by an object that cannot be pickled."""


class RaisesWhenPickled:
    def __reduce__(self) -> Any:
        raise RefusesError("not me")


def test_what_is_nested_too_deeply_is_told_with_its_depth() -> None:
    said = r"\(list nested too deeply, 2,001 levels\)\. Pass flat data"
    kept = {"kept": nested(2000)}
    for call in (
        lambda: inner.remote(nested(2001)),  # type: ignore[arg-type]
        lambda: list(inner.map([nested(2001)])),
        lambda: inner.spawn(nested(2001)),  # type: ignore[arg-type]
    ):
        with pytest.raises(
            exception.SerializationError, match=rf"^Cannot pickle argument '\w+' of 'inner' {said}"
        ):
            call()
    with pytest.raises(
        exception.SerializationError, match=r"'gives_nested' .* nested too deeply, 3,000 levels"
    ):
        gives_nested.remote(3000)
    with pytest.raises(
        exception.SerializationError, match=r"uses kept → dict nested too deeply, 2,001 levels"
    ) as caught:
        app.function(name="keeps")(lambda: kept).remote()
    assert "enter()" not in str(caught.value)


def test_what_raises_when_it_is_pickled_is_told_with_what_it_raised() -> None:
    said = r"RaisesWhenPickled, whose pickling raised RefusesError: not me"
    with pytest.raises(exception.SerializationError, match=said) as caught:
        inner.remote([1, RaisesWhenPickled()])  # type: ignore[arg-type]
    assert "Open it" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RefusesError)


def test_a_result_that_cannot_be_pickled_names_the_object_and_the_way_to_it() -> None:
    error = raised("import threading\nreturn {'rows': [1, threading.Lock()]}")
    assert type(error) is exception.SerializationError
    assert "an object of type _thread.lock (at ['rows'][1])" in str(error)


def test_over_its_time_limit_it_is_a_function_timeout_that_says_the_limit() -> None:
    @app.function(timeout=0.3)
    def slow() -> None:
        threading.Event().wait(60)

    with pytest.raises(exception.FunctionTimeoutError, match=r"'slow'.* 0.3 s"):
        slow.remote()


def test_cancelled_it_is_a_remote_error() -> None:
    call = run.spawn("import time\ntime.sleep(60)")
    call.cancel()
    with pytest.raises(exception.RemoteError, match="cancelled"):
        call.get(timeout=20)


def test_of_the_wrong_kind_it_is_an_invalid_error() -> None:
    @app.function()
    def many() -> Iterator[int]:
        yield 1

    with pytest.raises(exception.InvalidError, match="remote_gen"):
        many.remote()


def test_a_lookup_of_nothing_is_a_not_found_error() -> None:
    with pytest.raises(exception.NotFoundError):
        nbfn.Function.from_name("no-app", "no-function").remote()


def test_what_is_too_large_to_be_a_function_is_an_invalid_error() -> None:
    table = bytes(20_000_000)
    f = app.function(name="large")(lambda: len(table))
    with pytest.raises(exception.InvalidError, match=r"'table' \(19.1 MB"):
        f.remote()


def test_a_generator_that_is_not_said_to_be_one_is_an_invalid_error_with_the_flag() -> None:
    error = raised("return (x for x in [1])")
    assert type(error) is exception.InvalidError
    assert "is_generator=True" in str(error)


@pytest.mark.parametrize("end", ["SystemExit(3)", "GeneratorExit()"])
def test_what_would_end_the_notebook_is_a_remote_error(end: str) -> None:
    error = raised(f"raise {end}")
    assert type(error) is exception.RemoteError
    assert end.partition("(")[0] in str(error)
    returned = list(run.map([f"raise {end}"], return_exceptions=True))
    assert isinstance(returned[0], exception.RemoteError)


# --- tracebacks ----------------------------------------------------------------------------------


@app.function()
def inner(x: int) -> float:
    return 1 / x  # the line that fails


@app.function()
def outer(x: int) -> float:
    return inner.remote(x) + 1  # the line that calls


def test_of_a_nested_call_both_hops_are_visible() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        outer.remote(0)
    shown = text_of(caught.value)
    assert shown.index("# the line that calls") < shown.index("# the line that fails")
    notes = [note for note in caught.value.__notes__ if " ran on wk-" in note]
    assert [note.split()[0] for note in notes] == ["inner", "outer"]


def test_no_frame_of_nbfns_own_is_shown() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        outer.remote(0)
    assert set(files_of(caught.value)) == {__file__}


def test_nor_is_one_in_the_middle_or_at_the_end_of_remote_code() -> None:
    @app.function()
    def misuse(x: int) -> float:
        return inner(x)  # type: ignore[operator]

    @app.function()
    def through(x: int) -> float:
        return inner.local(x)

    with pytest.raises(TypeError, match=r"Use inner\.remote") as wrong:
        misuse.remote(0)
    with pytest.raises(ZeroDivisionError) as caught:
        through.remote(0)
    assert "return inner(x)" in text_of(wrong.value)
    assert set(files_of(wrong.value)) == set(files_of(caught.value)) == {__file__}


def test_all_frames_are_shown_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODAL_TRACEBACK", "NBFN_TRACEBACK"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "1")
            with pytest.raises(ZeroDivisionError) as caught:
                inner.remote(0)
        assert any(own_files(file) for file in files_of(caught.value))


def test_an_error_of_the_call_itself_points_at_the_callers_line() -> None:
    with pytest.raises(exception.SerializationError) as caught:
        inner.remote(threading.Lock())  # type: ignore[arg-type]
    assert set(files_of(caught.value)) == {__file__}


def test_the_same_holds_for_maps_generators_spawns_and_await() -> None:
    @app.function()
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("after one")

    async def awaited() -> None:
        await inner.remote.aio(0)

    async def looped() -> None:
        async for _ in inner.map([0]):
            pass

    ways = [
        lambda: list(inner.map([0])),
        lambda: next(inner.map([0])),
        lambda: list(items.remote_gen()),
        lambda: inner.spawn(0).get(),
        lambda: asyncio.run(awaited()),
        lambda: asyncio.run(looped()),
    ]
    for way in ways:
        with pytest.raises((ZeroDivisionError, ValueError)) as caught:
            way()
        ours = Path(nbfn.__file__).parent
        assert not [file for file in files_of(caught.value) if Path(file).is_relative_to(ours)]


PLAIN_SCRIPT = """
import threading
import nbfn

app = nbfn.App("plain-script")
lock = threading.Lock()

@app.function()
def divide(x):
    return 1 / x

other = nbfn.App("not-to-be-pickled")

@other.function()
def locked():
    return lock

if __name__ == "__main__":
    {line}
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("app.function(timeout='10')", "InvalidError: timeout is '10'"),
        ("app.cls(cpu='2')", "InvalidError: cpu is '2'"),
        ("app.function()(nbfn.App)", "TypeError: @app.function() cannot decorate class 'App'"),
        ("nbfn.App(secrets=nbfn.Secret.from_dict({}))", "InvalidError: secrets is a single Secret"),
        ("nbfn.Period(days=-1)", "InvalidError: Period(days=-1): a period cannot be negative."),
        ("nbfn.concurrent(max_inputs=0)", "InvalidError: max_inputs is 0"),
        ("nbfn.FunctionCall.from_id('x')", "InvalidError: 'x' is not the id of a call."),
        ("divide.local(0)", "ZeroDivisionError: division by zero"),
        ("divide.with_options(cpu='2')", "InvalidError: cpu is '2'"),
        ("divide.remote(lock)", "SerializationError: Cannot pickle argument 'x'"),
        ("other.run().__enter__()", "SerializationError: Function 'locked' uses lock"),
        ("app.run(name=3).__enter__()", "InvalidError: name is an object of type int"),
        ("app.deploy(tag=3)", "InvalidError: tag is an object of type int; it must be a string."),
        ("divide.spawn(1).get(timeout='1')", "InvalidError: timeout is '1'"),
        ("divide.logs.fetch(since='1h')", "InvalidError: '1h' is neither a datetime nor"),
    ],
)
def test_a_plain_scripts_traceback_has_no_frame_of_nbfns_own(
    tmp_path: Path, line: str, said: str
) -> None:
    script = tmp_path / "plain.py"
    script.write_text(PLAIN_SCRIPT.replace("{line}", line))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1] or f"\nnbfn.exception.{said}" in done.stderr
    shown = [row for row in done.stderr.splitlines() if row.lstrip().startswith("File ")]
    assert shown
    assert [row for row in shown if str(script) not in row] == []


def test_fetched_twice_it_does_not_gather_frames() -> None:
    call = inner.spawn(0)
    shown = []
    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as caught:
            call.get()
        shown.append(text_of(caught.value))
    assert shown[0] == shown[1] == shown[2]


def cell(source: str, number: int, **names: Any) -> dict[str, Any]:
    """Run a cell as IPython does: its file is in `linecache` only."""
    filename = f"<ipython-input-{number}-0123456789ab>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    space: dict[str, Any] = {"__name__": "__main__", "app": app, **names}
    exec(compile(source, filename, "exec"), space)
    return space


def test_the_cells_own_source_line_is_shown_where_it_failed() -> None:
    space = cell(
        "def helper(x):\n    return 1 / x  # in a helper\n\n@app.function()\ndef of_a_cell(x):\n    return helper(x)\n",
        1,
    )
    with pytest.raises(ZeroDivisionError) as caught:
        space["of_a_cell"].remote(0)
    assert "return 1 / x  # in a helper" in text_of(caught.value)
    assert "return helper(x)" in text_of(caught.value)


def test_the_cells_line_is_shown_to_another_notebook_as_well_of_a_helpers_cell_too() -> None:
    helper = cell("def helper(x):\n    return 1 / x  # in a cell of its own\n", 4)["helper"]
    far = nbfn.App("far-away")
    source = "@app.function()\ndef of_a_cell(x):\n    return helper(x)  # in the main cell\n"
    cell(source, 5, helper=helper, app=far)
    far.deploy()
    program = (
        "import nbfn, traceback\n"
        "try: nbfn.Function.from_name('far-away', 'of_a_cell').remote(0)\n"
        "except ZeroDivisionError: traceback.print_exc()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert "# in the main cell" in done.stderr
    assert "# in a cell of its own" in done.stderr


def test_after_a_re_run_it_is_the_line_of_what_ran() -> None:
    first = cell("@app.function()\ndef rerun(x):\n    return 1 / x  # first\n", 2)
    call = first["rerun"].spawn(0)
    with pytest.warns(UserWarning, match="is replaced"):
        second = cell("@app.function()\ndef rerun(x):\n\n    return 2 / x  # second\n", 3)
    with pytest.raises(ZeroDivisionError) as caught:
        second["rerun"].remote(0)
    assert "# second" in text_of(caught.value)
    with pytest.raises(ZeroDivisionError) as caught:
        call.get()
    assert "# first" in text_of(caught.value)


def test_a_module_that_is_not_there_is_hinted_at_with_the_environment() -> None:
    error = raised("import not_installed_anywhere")
    assert type(error) is ModuleNotFoundError
    assert any("remote environment" in note and sys.executable in note for note in error.__notes__)


# --- preemption, and results that cannot be read (docs/guarantees.md, F26) -----------------------


def test_a_preempted_input_runs_again_without_using_up_retries(tmp_path: Path) -> None:
    @app.function(retries=0)
    def preempted(path: Path) -> int:
        attempt = len(list(path.iterdir()))
        (path / str(attempt)).touch()
        if attempt == 0:
            exception.simulate_preemption(0.05)
            threading.Event().wait(60)
        return attempt

    assert preempted.remote(tmp_path) == 1


class EndsItsReader:
    """A value that ends each process that unpickles it, except the process that it names."""

    def __init__(self, spared: int) -> None:
        self.spared = spared

    def __reduce__(self) -> Any:
        return _end, (self.spared,)


def _end(spared: int) -> str:
    if os.getpid() != spared:
        os._exit(77)
    return "spared"


def test_a_result_that_ends_who_reads_it_harms_neither_hub_nor_others() -> None:
    call = run.spawn("return EndsItsReader(0)", EndsItsReader=EndsItsReader)
    program = f"import nbfn; nbfn.FunctionCall.from_id({call.object_id!r}).get()"
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == 77
    assert run.remote("return 5") == 5


def test_a_result_that_raises_when_it_is_read_raises_in_that_get_only() -> None:
    call = run.spawn("return Refuses()", Refuses=Refuses)
    for _ in range(2):
        with pytest.raises(exception.ExecutionError, match="RuntimeError: not today"):
            call.get()
    assert run.remote("return 6") == 6


class Refuses:
    def __reduce__(self) -> Any:
        return _raise, ()


def _raise() -> None:
    raise RuntimeError("not today")
