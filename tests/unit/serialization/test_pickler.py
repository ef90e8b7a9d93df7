"""What the pickler keeps that cloudpickle lets go."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path
from textwrap import dedent
from typing import Any

from nbfn.serialization import pickler


def test_code_keeps_the_name_of_its_file_also_inside() -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    text = "def f(x):\n    def g(): return x\n    return g"
    exec(compile(text, "<cell of there 1>", "exec"), names)
    f = pickle.loads(pickler.dumps(names["f"]))
    assert isinstance(f, types.FunctionType)
    assert f.__code__.co_filename == "<cell of there 1>"
    assert f(1).__code__.co_filename == "<cell of there 1>"


def test_buffers_go_out_of_band() -> None:
    taken: list[pickle.PickleBuffer] = []
    data = pickler.dumps(pickle.PickleBuffer(bytearray(b"abc")), taken.append)
    assert len(data) < 20
    assert bytes(pickle.loads(data, buffers=taken)) == b"abc"


PROGRAM = """
import hashlib, importlib.util, io, sys
from nbfn.serialization.pickler import FunctionPickler
spec = importlib.util.spec_from_file_location("lived", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
stream = io.BytesIO()
FunctionPickler(stream, lambda thing: True).dump(module.value)
print(module.__cached__ and hashlib.sha256(stream.getvalue()).hexdigest())
"""


def test_the_same_function_has_the_same_bytes_compiled_or_read_in_any_process(
    tmp_path: Path,
) -> None:
    text = """
        WORDS = "a b c"
        def value(x, kind="lived"):
            "lived"
            def inner(): return x in {"a", "b", "c"}, ("lived", b"lived"), WORDS
            return inner() if kind in ("lived", "value") else None
    """
    file = tmp_path / "lived.py"
    file.write_text(dedent(text))
    found = set()
    for seed in "123":  # the first compiles it, the others read what it wrote
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(file)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert (tmp_path / "__pycache__").is_dir()
    assert len(found) == 1


TYPED = """
import functools, hashlib, io, typing
from nbfn.serialization.pickler import FunctionPickler
T, Id = typing.TypeVar("T"), typing.NewType("Id", int)
P, Ts = typing.ParamSpec("P"), typing.TypeVarTuple("Ts")
class Box(typing.Generic[T]): pass
@functools.singledispatch
def show(x): return "any"
@show.register
def _(x: int): return "int"
def use(x: Id, y: T, *args: P.args) -> Box[T]: return show(x)
def dumped():
    stream = io.BytesIO()
    FunctionPickler(stream, lambda thing: True).dump(use)
    return hashlib.sha256(stream.getvalue()).hexdigest()
first = dumped()
use(1, 2)  # the cache that it fills stays here
print(first, dumped())
"""


def test_type_parameters_and_single_dispatch_have_the_same_bytes_in_any_process() -> None:
    found = set()
    for seed in "12":
        done = subprocess.run(
            [sys.executable, "-c", TYPED],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.update(done.stdout.split())
    assert len(found) == 1


def test_a_class_stays_as_it_is_in_the_process_that_made_it() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(
        "class Point:\n    def far(self): return 1\nclass Kind(__import__('enum').Enum):\n    A = 1",
        names,
    )
    point, kind = names["Point"], names["Kind"]
    far = point.far
    data = pickler.dumps((point(), kind.A))
    got, member = pickle.loads(data)
    assert (type(got), member) == (point, kind.A)
    assert point.far is far  # not a copy that came back


def test_a_class_that_came_is_made_anew_by_the_process_that_it_is_of() -> None:
    """As for a worker: what its class is now is for the other side to say."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("class Point:\n    def far(self): return 1\n", names)
    point = names["Point"]
    text = (
        "import pickle, sys\n"
        "first, second = (pickle.loads(bytes.fromhex(part)) for part in sys.argv[1:])\n"
        "print(type(first) is type(second), first.far())"
    )
    first = pickler.dumps(point())
    point.far = lambda self: 2
    argv = [sys.executable, "-c", text, first.hex(), pickler.dumps(point()).hex()]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert said == "True 2\n"


def test_other_things_are_pickled_instead_and_modules_of_classes_are_told() -> None:
    one, other = Counter("b"), Counter("a")
    with pickler.replacing({id(one): other}) as met:
        data = pickler.dumps({"x": one, "y": other})
    found = pickle.loads(data)
    assert found["x"] is found["y"]
    assert found["x"] == other
    assert met == {"collections"}
