"""Exceptions there and back: what is kept, what is replaced, and that neither way ever raises."""

from __future__ import annotations

import linecache
import pickle
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from nbfn.config import Places
from nbfn.exception import ExecutionError, RemoteError, SerializationError
from nbfn.protocol.messages import Payload
from nbfn.serialization import remote_exception, traceback_codec
from nbfn.serialization.payload import Serializer
from nbfn.serialization.remote_exception import dump_exception, format_exception, load_exception


@pytest.fixture
def serializer(tmp_path: Path) -> Serializer:
    return Serializer(Places(tmp_path, tmp_path, tmp_path), "cl-x")


def raised(source: str, **names: Any) -> BaseException:
    """Run the text of a cell and return what it raised."""
    filename = f"/tmp/ipykernel_0/{abs(hash(source))}.py"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    try:
        exec(compile(source, filename, "exec"), {"__name__": "__main__", **names})
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def there_and_back(serializer: Serializer, error: BaseException) -> BaseException:
    return load_exception(serializer, dump_exception(serializer, error, hide={__name__}))


class Picky(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__

    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle for you")


class BadGroup(ExceptionGroup[Exception]):
    def __new__(cls, *_: Any) -> BadGroup:
        return super().__new__(cls, "bad", [ValueError(1)])


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        KeyError("k"),
        FileNotFoundError(2, "No such file", "/x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        StopIteration(5),
        ImportError("no", name="m", path="p"),
    ],
)
def test_type_arguments_and_text_are_kept(serializer: Serializer, error: Exception) -> None:
    back = there_and_back(serializer, error)
    assert type(back) is type(error)
    assert (back.args, str(back)) == (error.args, str(error))
    assert vars(back) == vars(error)
    assert getattr(back, "name", None) == getattr(error, "name", None)


def test_attributes_and_notes_are_kept_and_no_note_is_added(serializer: Serializer) -> None:
    error = ValueError("x")
    error.detail = [1, 2]  # type: ignore[attr-defined]
    error.add_note("first")
    back = there_and_back(serializer, error)
    assert back.detail == [1, 2]  # type: ignore[attr-defined]
    assert back.__notes__ == ["first"]


def test_an_init_of_another_shape_is_not_called(serializer: Serializer) -> None:
    back = there_and_back(serializer, Picky(3, reason="late"))
    assert isinstance(back, Picky)
    assert (back.code, str(back)) == (3, "late (3)")


def test_the_traceback_looks_as_it_did(serializer: Serializer) -> None:
    error = raised(
        "def outer(x):\n    return inner(x) + 1\n\ndef inner(x):\n    return 1 / x\n\nouter(0)\n"
    )
    before = format_exception(error, hide={__name__})
    assert "inner(x) + 1" in before
    assert shown(there_and_back(serializer, error)) == before


def test_a_cell_is_shown_where_nobody_has_it(serializer: Serializer) -> None:
    error = raised("raise ValueError('from a cell')\n")
    payload = dump_exception(serializer, error)
    linecache.clearcache()
    back = load_exception(serializer, payload)
    linecache.checkcache()
    assert "raise ValueError('from a cell')" in shown(back)


def test_a_type_defined_in_a_cell_is_the_same_type_again(serializer: Serializer) -> None:
    """The notebook made the class, a worker raised it, the notebook's ``except`` must catch it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("class Mine(Exception): pass\ndef f(): raise Mine('x')", names)
    there = serializer.load(serializer.dump(names["f"]))
    try:
        there()
    except Exception as error:
        back = there_and_back(serializer, error)
    assert type(back) is names["Mine"]


def test_the_chain_is_kept(serializer: Serializer) -> None:
    error = raised(
        "try:\n    try: {}['a']\n    except KeyError as e: raise ValueError(1) from e\n"
        "except ValueError:\n    raise TypeError(2)\n"
    )
    back = there_and_back(serializer, error)
    assert isinstance(back.__context__, ValueError)
    assert isinstance(back.__context__.__cause__, KeyError)
    assert back.__context__.__suppress_context__
    assert shown(back) == format_exception(error, hide={__name__})


def test_a_chain_that_bites_its_tail(serializer: Serializer) -> None:
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    back = there_and_back(serializer, first)
    assert back.__cause__ is not None
    assert back.__cause__.__cause__ is back


def test_groups_keep_their_members(serializer: Serializer) -> None:
    error = raised(
        "raise ExceptionGroup('two', [ValueError(1), ExceptionGroup('one', [KeyError(2)])])"
    )
    back = there_and_back(serializer, error)
    assert isinstance(back, ExceptionGroup)
    assert [type(e) for e in back.exceptions] == [ValueError, ExceptionGroup]
    assert shown(back) == format_exception(error, hide={__name__})


def test_a_group_of_a_type_that_cannot_be_rebuilt_is_a_plain_one(serializer: Serializer) -> None:
    back = there_and_back(serializer, BadGroup("x", [ValueError(1)]))
    assert isinstance(back, ExceptionGroup)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_ends_programs_does_not_end_the_notebook(
    serializer: Serializer, error: BaseException
) -> None:
    back = there_and_back(serializer, error)
    assert type(back) is RemoteError
    assert type(error).__name__ in str(back)


def test_an_unpicklable_exception_is_told_of(serializer: Serializer) -> None:
    back = there_and_back(serializer, Unpicklable())
    assert type(back) is SerializationError
    assert "Failed to serialize exception" in str(back)
    assert "holds a lock" in str(back)


def test_an_unpicklable_cause_leaves_the_exception_itself_alone(serializer: Serializer) -> None:
    error = ValueError("fine")
    error.__cause__ = Unpicklable()
    back = there_and_back(serializer, error)
    assert type(back) is ValueError
    assert isinstance(back.__cause__, SerializationError)


def test_hostile_exceptions_are_survived(serializer: Serializer) -> None:
    for error in (Hostile(), ExceptionGroup("g", [Hostile()])):
        assert isinstance(there_and_back(serializer, error), Exception)
        assert format_exception(error)


def test_a_type_that_is_not_here_keeps_its_text(serializer: Serializer, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text("class Odd(Exception): pass\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom elsewhere import Odd\nfrom pathlib import Path\n"
        "from nbfn.config import Places\nfrom nbfn.serialization.payload import Serializer\n"
        "from nbfn.serialization.remote_exception import dump_exception\np = Path(sys.argv[1])\n"
        "try: raise Odd('strange')\n"
        "except Odd as e: print(dump_exception(Serializer(Places(p, p, p), 'wk-x'), e).data.hex())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    back = load_exception(serializer, Payload(bytes.fromhex(done.stdout)))
    assert type(back) is ExecutionError
    said = str(back)
    assert said.startswith(
        "Could not deserialize the remote exception elsewhere.Odd: strange due to"
    )
    assert "needs the module 'elsewhere', which is not installed in the local environment" in said
    assert "Traceback (most recent call last)" in said


def test_deep_recursion_is_cut_and_carried(serializer: Serializer) -> None:
    back = there_and_back(serializer, raised("def f(): f()\nf()\n"))
    assert isinstance(back, RecursionError)
    assert len(traceback.extract_tb(back.__traceback__)) <= traceback_codec.MAX_FRAMES


def test_long_chains_and_texts_are_cut(serializer: Serializer) -> None:
    error: BaseException = ValueError("x" * 10**6)
    for _ in range(200):
        new = ValueError()
        new.__cause__ = error
        error = new
    payload = dump_exception(serializer, error)
    assert len(payload.data) < 4 * remote_exception.MAX_TEXT * remote_exception.MAX_CHAIN
    assert isinstance(load_exception(serializer, payload), ValueError)


@pytest.mark.parametrize("data", [b"", b"nonsense", pickle.dumps(5), pickle.dumps({"text": "t"})])
def test_nonsense_is_an_error_value(serializer: Serializer, data: bytes) -> None:
    assert isinstance(load_exception(serializer, Payload(data)), ExecutionError)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("import not_there_at_all", "'not_there_at_all' was not found in the remote environment"),
        ("from . import something", "Import by the full name"),
        (
            "raise RuntimeError('No CUDA GPUs are available')",
            "Ask for one: @app.function(gpu='any')",
        ),
    ],
)
def test_hints_are_notes_and_come_once(serializer: Serializer, source: str, hint: str) -> None:
    error = raised(source, __package__="")
    back = there_and_back(serializer, error)
    (note,) = back.__notes__
    assert hint in note
    assert not hasattr(error, "__notes__")  # the user's own object is left alone
    assert there_and_back(serializer, back).__notes__ == [note]  # the next hop does not add another


_unpickled: list[str] = []


def mark_unpickled() -> str:
    _unpickled.append("one")
    return "one"


class Loud:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> Any:
        return mark_unpickled, ()


def test_the_text_is_read_without_loading_the_exception(serializer: Serializer) -> None:
    try:
        error = ValueError("no", Loud(), {"a": Loud()}, [Loud()])
        error.__dict__["kept"] = Loud()
        raise error
    except ValueError as raised:
        payload = dump_exception(serializer, raised)
    _unpickled.clear()
    text = remote_exception.read_traceback(payload.data)
    assert text.startswith("Traceback (most recent call last):")
    assert "ValueError: ('no', " in text
    assert _unpickled == []
    load_exception(serializer, payload)
    assert _unpickled  # which would have shown


@pytest.mark.parametrize("data", [b"", b"garbage", pickle.dumps([1]), pickle.dumps({"text": 7})])
def test_a_pickle_without_a_text_is_told_of(data: bytes) -> None:
    assert remote_exception.read_traceback(data).startswith("The traceback cannot be read")
