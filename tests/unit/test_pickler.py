"""What the pickler keeps that cloudpickle lets go."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from textwrap import dedent

from nbfn import pickler


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
from nbfn.pickler import FunctionPickler
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
