"""Where each line of a cell of the remote kernel runs."""

from __future__ import annotations

import pytest

from nbfn_kernel.session.cell_routing import (
    MixedCell,
    RoutedCell,
    completion_start,
    is_local_position,
    split,
    strip_local,
    unknown_magic,
    unknown_name,
)


@pytest.mark.parametrize(
    "code",
    [
        "%%local\nx = 1",
        "%local x",
        "%push a\n%pull b",
        "%session",
        "%load_ext nbfn",
        "# a word before\n\n%push a",
    ],
)
def test_cells_of_this_side(code: str) -> None:
    assert split(code) == RoutedCell(code)


@pytest.mark.parametrize(
    "code",
    [
        "x = 1",
        "",
        "%timeit x",
        "%%remote --warm 1\ndef f(): pass",
        "%%nbfn\ndef f(): pass",
        "calls = %fn calls",
        "%remote",
        "%remote connect ipc:///tmp/hub",
        "%nbfn from app import f\nf.remote(1)",
        "%%time\nx",
        "!ls",
        "%localize",
        "%load_ext autoreload",
        "%%bash\n%push x is what bash gets",
        "text = '''\n  %push\n'''",
        "# a comment\n\nx",
    ],
)
def test_cells_of_the_session(code: str) -> None:
    found = split(code)
    assert (found.before, found.in_session, found.after) == ("", code, "")


def test_lines_of_this_side_may_begin_and_end_a_cell() -> None:
    found = split("%push a\n\nb = a\n%pull b\n")
    assert found.before.strip() == "%push a"
    assert found.in_session is not None
    assert found.in_session.split("\n")[2] == "b = a"  # the line that it had
    assert found.after == "%pull b\n"


@pytest.mark.parametrize("verb", ["connect ipc:///tmp/hub", "disconnect", "doctor"])
def test_without_a_session_the_hub_is_chosen_on_this_side(verb: str) -> None:
    code = f"%remote {verb}"
    assert split(code, has_session=False) == RoutedCell(code)
    assert split(code).in_session == code
    assert split("%remote", has_session=False).in_session == "%remote"


def test_a_cell_magic_stands_first_in_the_session() -> None:
    assert split("%push a\n%%time\na").in_session == "%%time\na"


@pytest.mark.parametrize("line", ["%push a", "a = %local b", "%local a", "%session"])
def test_lines_of_this_side_between_others_are_refused(line: str) -> None:
    with pytest.raises(MixedCell, match="to the beginning or the end"):
        split(f"x = 1\n{line}\ny = 1")


def test_local_is_taken_off() -> None:
    assert strip_local(["%%local\n", "x"]) == ["\n", "x"]
    assert strip_local(["%%local\n", "%%time\n", "x"]) == ["%%time\n", "x"]
    assert strip_local(["%local x\n", "%fn list"]) == ["x\n", "%fn list"]
    assert strip_local(["%%remote\n", "%local\n", "x"]) == ["%%remote\n", "%local\n", "x"]


def test_what_stands_at_the_cursor() -> None:
    assert is_local_position("%%local\nx", 9)
    assert is_local_position("x\n%push x", 9)
    assert not is_local_position("%push x\nx", 9)
    assert not is_local_position("%pull x", 7)  # a name of the session's
    assert completion_start("%%local\nab", 10) == 8
    assert completion_start("x\n%pull ab", 10) == 8


def test_what_ipython_and_python_do_not_know() -> None:
    said = "Line magic function `%x` not found (But cell magic `%%x` exists, did you mean that?)."
    assert unknown_magic("UsageError", said) == "%x"
    assert unknown_magic("UsageError", "Cell magic `%%x` not found.") == "%%x"
    assert unknown_magic("ValueError", said) == ""
    assert unknown_name("NameError", "name 'x' is not defined") == "x"
    assert unknown_name("NameError", "'x' is not defined in the session") == ""
