"""Tests that stored results are unpickled as objects of the classes of this process that have the same content."""

from __future__ import annotations

from pathlib import Path

from tests import program

DEFINED = """
    import dataclasses, enum, json, warnings
    from typing import Generic, NamedTuple, TypeVar
    #MOVED
    @dataclasses.dataclass
    class P:
        x: int
        def area(self): return self.x
    @dataclasses.dataclass(slots=True, frozen=True)
    class Frozen:
        x: int
        y: list = dataclasses.field(default_factory=list)
    class E(Exception):
        def __init__(self, code): super().__init__(code); self.code = code
    class Color(enum.Enum):
        RED = 1
    class Pair(NamedTuple):
        a: int
    T = TypeVar("T")
    class Box(Generic[T]):
        def __init__(self, x): self.x = x
    class Outer:
        class Inner: pass
    class Child(P):
        def area(self): return super().area() * 2
    class Counted:
        made, seen = 0, {}
        def __init__(self): Counted.made += 1; Counted.seen[Counted.made] = self.__class__
    KINDS = [P, Frozen, Color, Pair, Box, Outer.Inner, Child, Counted]
"""
STORE = """
    @app.function()
    def make(): return [P(1), Frozen(2), Color.RED, Pair(1), Box(1), Outer.Inner(), Child(3), Counted()]
    @app.function()
    def fail(): raise E(5)
    @app.function()
    def same(x): return x
    calls = [make.spawn(), fail.spawn(), same.spawn({"ps": [(P(1), Color.RED)]})]
    calls[0].get()
    print(json.dumps([call.object_id for call in calls]))
"""
FETCH = """
    made, failed, sent = (nbfn.FunctionCall.from_id(one) for one in json.loads(sys.argv[1]))
    got = made.get()
    print([type(one) is kind for one, kind in zip(got, KINDS)], got[0] == P(1), got[1] == Frozen(2))
    try: failed.get()
    except E as error: print("caught", error.code)
    print(sent.get() == {"ps": [(P(1), Color.RED)]})
"""
FETCHED = f"{[True] * 8} True True\ncaught 5\nTrue\n"


def test_results_and_exceptions_of_an_earlier_process_are_of_the_classes_of_this_one(
    hub_home: Path, tmp_path: Path
) -> None:
    calls = program.run(tmp_path, DEFINED + STORE, checks=False).out.strip()
    again = program.run(tmp_path, DEFINED + FETCH, calls, checks=False)
    assert (again.out, again.err) == (FETCHED, "")
    moved = DEFINED.replace("#MOVED", "import math\n\n\n    X = 1\n")
    other = program.run(tmp_path, moved + FETCH, calls, name="other.py", checks=False)
    assert (other.out, other.err) == (FETCHED, "")


MANY = """
    import abc, collections, dataclasses, enum, functools, json, re, typing
    import numpy, pydantic
    import shapes
    class Model(pydantic.BaseModel):
        a: int
        @pydantic.field_validator("a")
        @classmethod
        def check(cls, v): return v
    class Abstract(abc.ABC):
        @abc.abstractmethod
        def f(self): ...
    class Concrete(Abstract):
        def f(self): return 1
    class Holds:
        pattern, array, names = re.compile("a+"), numpy.arange(3), {"a", "b"}
        table, key = collections.defaultdict(list), staticmethod(lambda s: s)
    class Registry:
        kinds = {}
        def __init_subclass__(cls): Registry.kinds[cls.__name__] = cls
    class Registered(Registry): pass
    class Methods:
        @functools.singledispatchmethod
        def f(self, x): return 0
        @functools.cached_property
        def big(self): return 1
        @functools.lru_cache
        def cached(self): return 1
    T, Id = typing.TypeVar("T"), typing.NewType("Id", int)
    @dataclasses.dataclass
    class Data:
        f: typing.Callable[[int], str] = len
        u: Id = Id(1)
        g: typing.Optional["Data"] = None
        h: list = dataclasses.field(default_factory=lambda: [1])
    def wrapped(f):
        @functools.wraps(f)
        def inner(*args): return f(*args)
        return inner
    class Decorated:
        @wrapped
        def f(self): return 2
    class Node:
        def __init__(self): self.me = self
    Node.root = Node()
    class Child(typing.Generic[T]): pass
    class Grandchild(Child[int]): pass
    class Meta(type): pass
    class WithMeta(metaclass=Meta): z = 1
    class Failed(Exception): pass
    made = dict(
        model=lambda: Model(a=1), shape=lambda: shapes.Shape(1), error=lambda: Failed(1), concrete=Concrete,
        holds=Holds, registered=Registered, methods=Methods, data=Data, decorated=Decorated, node=Node,
        child=Grandchild, meta=WithMeta,
    )
    @app.function()
    def make(name): return made[name]()
    @app.function()
    def fail(): raise ExceptionGroup("two", [Failed(1), ValueError(2)])
    if len(sys.argv) == 1:
        calls = {name: make.spawn(name) for name in made} | {"group": fail.spawn()}
        list(calls.values())[0].get()
        print(json.dumps({name: call.object_id for name, call in calls.items()}))
    else:
        calls = {name: nbfn.FunctionCall.from_id(one) for name, one in json.loads(sys.argv[1]).items()}
        print([name for name in made if type(calls[name].get()) is not type(made[name]())])
        try: calls["group"].get()
        except* Failed: print("caught")
        except* ValueError: pass
"""


def test_so_it_is_for_classes_of_all_kinds_and_of_modules_beside_the_program(
    hub_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "shapes.py").write_text(
        "import dataclasses\n@dataclasses.dataclass\nclass Shape:\n    x: int\n"
    )
    calls = program.run(tmp_path, MANY, checks=False).out.strip()
    again = program.run(tmp_path, MANY, calls, checks=False)
    assert (again.out, again.err) == ("[]\ncaught\n", "")


def test_a_class_that_was_changed_since_is_another_and_one_warning_says_so(
    hub_home: Path, tmp_path: Path
) -> None:
    calls = program.run(tmp_path, DEFINED + STORE, checks=False).out.strip()
    changed = DEFINED.replace("def area(self): return self.x\n", "def area(self): return -self.x\n")
    text = """
    got = nbfn.FunctionCall.from_id(json.loads(sys.argv[1])[2]).get()
    again = nbfn.FunctionCall.from_id(json.loads(sys.argv[1])[2]).get()
    p, color = got["ps"][0]
    print(isinstance(p, P), p.area(), p.x, color is Color.RED, type(again["ps"][0][0]) is type(p))
    """
    ended = program.run(tmp_path, changed + text, calls, checks=False)
    assert ended.out == "False 1 1 True True\n"
    said = "A value holds objects of the class 'P' as it was when the value was made. 'P' is another class here now"
    assert ended.err.count(said) == 1


def test_a_class_that_is_defined_after_the_result_came_is_that_of_the_next_get(
    hub_home: Path, tmp_path: Path
) -> None:
    calls = program.run(tmp_path, DEFINED + STORE, checks=False).out.strip()
    text = """
    import json
    call = nbfn.FunctionCall.from_id(json.loads(sys.argv[1])[2])
    before = call.get()["ps"][0]
    print(before[0].x, before[1].name, type(before[0]).__module__)
    """
    after = """
    print(isinstance(call.get()["ps"][0][0], P), call.get() == {"ps": [(P(1), Color.RED)]})
    """
    ended = program.run(tmp_path, text + DEFINED + after, calls, checks=False)
    assert (ended.out, ended.err) == ("1 RED __main__\nTrue True\n", "")


def test_a_class_defined_again_in_the_same_process_is_that_of_results_from_before(
    hub_home: Path, tmp_path: Path
) -> None:
    text = """
    @app.function()
    def same(x): return P(x)
    call = same.spawn(1)
    first, old = call.get(), P
    exec("@dataclasses.dataclass\\nclass P:\\n    x: int\\n    def area(self): return self.x\\n")
    print(P is old, type(call.get()) is P, call.get() == P(1), type(same.remote(2)) is P)
    """
    ended = program.run(tmp_path, DEFINED + text, checks=False)
    assert (ended.out, ended.err) == ("False True True True\n", "")


def test_another_program_that_defines_the_class_too_sends_it_and_gets_it_back(
    hub_home: Path, tmp_path: Path
) -> None:
    deployed = """
    @app.function()
    def grown(p): return type(p) is P, P(p.x + 1)
    app.deploy(name="shapes")
    """
    program.run(tmp_path, DEFINED + deployed, checks=False)
    text = """
    known, got = nbfn.Function.from_name("shapes", "grown").remote(P(1))
    print(known, type(got) is P, got == P(2))
    """
    ended = program.run(tmp_path, DEFINED + text, name="caller.py", checks=False)
    assert (ended.out, ended.err) == ("True True True\n", "")
