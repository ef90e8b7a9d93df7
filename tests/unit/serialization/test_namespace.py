"""What becomes a name of `__main__` in a worker, and what does not."""

from __future__ import annotations

import pickle
import subprocess
import sys
from textwrap import dedent

import pytest

from nbfn.serialization import namespace


class Outer:
    class Inner:
        pass


def test_a_name_is_looked_up_where_it_is_defined() -> None:
    assert namespace.lookup(__name__, "Outer.Inner") is Outer.Inner
    assert namespace.lookup(__name__, "Outer.Other") is None
    assert namespace.lookup("no.such.module", "Outer") is None


PROGRAM = """
    import pickle, sys, types
    from nbfn.serialization import namespace
    main = vars(sys.modules["__main__"])
    def defined(): return FACTOR
    def later(): pass
    one = dict(a=1)

    assert not namespace.is_worker()
    assert namespace.globals_of_main(one) is one  # somebody only looks at it
    namespace.add_main_name("x", 1)
    assert "x" not in main

    with namespace.loading_into(main):
        assert namespace.globals_of_main({"FACTOR": 3}) is main
        namespace.add_main_name("defined", 2)
        namespace.add_main_name("first", 1)
    assert (FACTOR, first) == (3, 1)
    assert defined() == 3  # what is there already stays

    namespace.add_main_name("first", 5)
    namespace.add_main_name("brought", 6)
    namespace.add_main_name("brought", 7)
    assert (first, brought) == (1, 7)
    assert namespace.argument_names() == {"brought": 7}
    assert namespace.globals_of_main(one) is one
    assert namespace.find_defined("defined", defined.__code__) is defined
    assert namespace.find_defined("defined", later.__code__) is None
    assert namespace.is_defined(defined)
    assert not namespace.is_defined(types.FunctionType(defined.__code__, {}))
    print("fine")
"""


def test_a_worker_keeps_what_its_function_took_along_and_takes_the_latest_of_the_rest() -> None:
    done = subprocess.run(
        [sys.executable, "-c", dedent(PROGRAM)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_a_definition_that_is_only_looked_at_leaves_main_alone() -> None:
    before = dict(vars(sys.modules["__main__"]))
    program = """
        import io, sys
        from nbfn.serialization.pickler import FunctionPickler
        FACTOR = 3
        def helper(x): return FACTOR * x
        def call(x): return helper(x)
        stream = io.BytesIO()
        FunctionPickler(stream, lambda thing: True).dump(call)
        print(stream.getvalue().hex())
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=True
    )
    call = pickle.loads(bytes.fromhex(done.stdout))
    assert call(2) == 6
    assert vars(sys.modules["__main__"]) == before


@pytest.mark.parametrize("thing", [len, Outer, 3])
def test_what_is_not_of_main_has_no_name_there(thing: object) -> None:
    assert namespace.main_name(thing) == ""
