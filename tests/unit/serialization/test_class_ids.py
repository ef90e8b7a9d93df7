"""The id of a class is made of what the class is."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

from nbfn.serialization import class_ids

CELL = """
    import dataclasses, enum, functools

    @dataclasses.dataclass
    class Point:
        x: int
        y: list = dataclasses.field(default_factory=list)
        NAMES = {"b", "a", "c"}

        @property
        def length(self):
            return abs(self.x)

        @staticmethod
        def zero(kinds=("p", 1.5)):
            return Point(0)

    class Child(Point):
        def __init__(self):
            super().__init__(1)
            self.f = lambda: [x for x in self.y if x in {"u", "v"}]
"""


def digest(text: str, name: str = "Child") -> str:
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(dedent(text), "<cell>", "exec", dont_inherit=True), names)
    found = names[name]
    assert isinstance(found, type)
    return class_ids.content_digest(found)


def test_the_same_cell_gives_the_same_id() -> None:
    assert digest(CELL) == digest(CELL)


def test_also_in_another_process() -> None:
    program = f"""
        import textwrap
        from nbfn.serialization import class_ids
        names = {{"__name__": "__main__"}}
        exec(compile(textwrap.dedent({CELL!r}), "<cell>", "exec"), names)
        print(class_ids.content_digest(names["Child"]))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest(CELL)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("abs(self.x)", "-abs(self.x)"),
        ("1.5", "2.5"),
        ('"u"', '"w"'),
        ("y: list", "z: list"),
        ("super().__init__(1)", "super().__init__(2)"),
        ("class Child(Point)", "class Child(Point, functools.partial)"),
    ],
)
def test_another_class_gives_another(before: str, after: str) -> None:
    changed = CELL.replace(before, after)
    assert changed != CELL
    assert digest(changed) != digest(CELL)


def test_what_cannot_be_described_is_left_alone() -> None:
    with pytest.raises(class_ids.NoDescription):
        digest("import threading\nclass Locked:\n    lock = threading.Lock()", "Locked")


def test_methods_that_are_decorated_are_described() -> None:
    cell = "import nbfn\nclass Model:\n    @nbfn.method()\n    def predict(self, x): return x"
    assert digest(cell, "Model") == digest(cell, "Model")
    assert digest(cell, "Model") != digest(cell.replace("return x", "return -x"), "Model")
