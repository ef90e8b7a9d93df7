"""Lines of several sources in this process's stdout and stderr."""

from __future__ import annotations

import contextlib
import gc
import io
import weakref

from nbfn.client import console


def test_a_line_of_another_source_begins_after_an_unfinished_one_in_the_same_stream() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        console.write("stdout", "half")
        console.write("stdout", " of it")
        console.write("stdout", "app\n", source="app")
        console.write("stdout", "more\n")
    assert out.getvalue() == "half of it\napp\nmore\n"


def test_an_unfinished_line_of_one_stream_leaves_other_streams_alone() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        console.write("stdout", "half")
        with contextlib.redirect_stdout(io.StringIO()) as inner:
            console.write("stdout", "inside\n", source="app")
        console.write("stdout", "outside\n", source="app")
    assert inner.getvalue() == "inside\n"
    assert out.getvalue() == "half\noutside\n"


def test_stdout_and_stderr_may_be_one_stream() -> None:
    both = io.StringIO()
    with contextlib.redirect_stdout(both), contextlib.redirect_stderr(both):
        console.write("stdout", "half")
        console.write("stderr", "app\n", source="app")
    assert both.getvalue() == "half\napp\n"


def test_a_stream_with_an_unfinished_line_is_not_kept() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        console.write("stdout", "half")
    gone = weakref.ref(out)
    del out
    gc.collect()
    assert gone() is None


def test_a_stream_that_has_no_hash_is_written_to() -> None:
    class Lines(list[str]):
        write = list.append

        def flush(self) -> None: ...

    with contextlib.redirect_stdout(Lines()) as out:  # type: ignore[type-var]
        console.write("stdout", "half")
        console.write("stdout", "app\n", source="app")
    assert "".join(out) == "halfapp\n"
