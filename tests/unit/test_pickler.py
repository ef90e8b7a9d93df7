"""What the pickler keeps that cloudpickle lets go."""

from __future__ import annotations

import pickle
import types

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
