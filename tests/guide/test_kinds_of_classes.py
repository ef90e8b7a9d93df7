"""Tests that classes, type parameters and wrappers of functools are pickled, if a program defines them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import program

KINDS = """
    import abc, collections, contextlib, dataclasses, enum, functools, operator, secrets, threading, weakref
    from typing import (
        Annotated, Any, Callable, Generic, Literal, NamedTuple, NewType, Optional, ParamSpec, Protocol, TypedDict,
            TypeVar,
        TypeVarTuple, Unpack, runtime_checkable,
    )
    import pydantic, typing_extensions

    @app.function()
    def run(f, *args): return f(*args)
    def same(x): return x

    class Slots:
        __slots__ = ("x", "__hidden")
        def __init__(self): self.x, self.__hidden = 1, 2
        def hidden(self): return self.__hidden
    class More(Slots):
        __slots__ = ("z", "__dict__")
        def __init__(self): super().__init__(); self.z, self.q = 3, 4
    class One:
        __slots__ = "a"
        def __init__(self): self.a = 1
    @dataclasses.dataclass(slots=True)
    class Data:
        x: int
        y: list = dataclasses.field(default_factory=list)
    @dataclasses.dataclass(slots=True, frozen=True, weakref_slot=True)
    class Frozen:
        x: int
    class Verbose:
        def __set_name__(self, owner, name): self.name = "_" + name
        def __get__(self, owner, kind): return self if owner is None else getattr(owner, self.name)
        def __set__(self, owner, value): setattr(owner, self.name, value)
    class Described:
        __slots__ = ("_v",)
        v = Verbose()
        def __init__(self): self.v = 5
    UserId = NewType("UserId", int)
    T, P, Ts = TypeVar("T", bound=Slots), ParamSpec("P"), TypeVarTuple("Ts")
    Ids = typing_extensions.TypeAliasType("Ids", list[UserId])
    Other = typing_extensions.ParamSpec("Other")
    Back = Callable[P, T]
    class Box(Generic[T]):
        def __init__(self, v: T): self.v = v
    class ByName(TypedDict, total=False):
        a: UserId
    class Pair(NamedTuple):
        a: int
        def twice(self): return self.a * 2
    class Typed(NamedTuple, Generic[T]):
        v: T
    @runtime_checkable
    class Hidden(Protocol):
        def hidden(self): ...
    def annotated(
        x: UserId, *args: P.args, t: T = None, l: Literal["a"] = "a", an: Annotated[int, "m"] = 1,
            back: Back = None, box: Box[T] = None,
        opt: Optional[UserId] = None, ids: Ids = (), d: ByName = None, u: tuple[Unpack[Ts]] = (), **kwargs: P.kwargs,
    ) -> UserId:
        return x
    class Lazy:
        made = 0
        @functools.cached_property
        def big(self): return 42
    @functools.singledispatch
    def show(x): return "any"
    @show.register
    def _(x: int): return "int"
    @show.register(list)
    def _(x): return [show(one) for one in x]
    class Methods:
        @functools.singledispatchmethod
        def f(self, x): return "any"
        @f.register
        def _(self, x: int): return "int"
        part = functools.partialmethod(lambda self, a, b: (a, b), 1)
        @functools.lru_cache
        def cached(self, x): return x + 1
        @classmethod
        def named(cls): return cls.__name__
    @functools.lru_cache
    def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
    @functools.total_ordering
    class Ordered:
        def __init__(self, v): self.v = v
        def __eq__(self, o): return self.v == o.v
        def __lt__(self, o): return self.v < o.v
        __hash__ = None
    class Strict(type):
        def __new__(meta, name, bases, names, *, tag):
            made = super().__new__(meta, name, bases, names)
            made.tag = tag
            return made
        def __init__(cls, name, bases, names, *, tag): super().__init__(name, bases, names)
    class Tagged(metaclass=Strict, tag="t"):
        def f(self): return 1
    class StrictABC(abc.ABCMeta):
        def __new__(meta, name, bases, names, *, tag): return super().__new__(meta, name, bases, names)
        def __init__(cls, name, bases, names, *, tag): super().__init__(name, bases, names)
    class Abstract(metaclass=StrictABC, tag=1): pass
    Abstract.register(int)
    class Registered:
        kinds = {}
        def __init_subclass__(cls, *, key):
            cls.key = key
            Registered.kinds[key] = cls
    class A(Registered, key="a"): pass
    class Needs:
        def __init_subclass__(cls):
            if not hasattr(cls, "name"): raise TypeError("no name")
    class HasName(Needs):
        name = "n"
    class Level(enum.IntEnum):
        LOW = 1
        SMALL = 1
    class Planet(enum.Enum):
        EARTH = (5, 6)
        def __init__(self, mass, radius): self.mass, self.radius = mass, radius
    class Labelled(str, enum.Enum):
        def __new__(cls, value, label):
            made = str.__new__(cls, value)
            made._value_, made.label = value, label
            return made
        ONE = ("one", "First")
    class Access(enum.Flag):
        R = 1
        W = 2
        RW = R | W
    class Node:
        def __init__(self): self.me, self.kids = self, []
    Node.root = Node()
    class Outer:
        class Inner:
            def __reduce__(self): return Outer.Inner, ()
    class Sub(Ordered):
        def __lt__(self, o): return super().__lt__(o) and __class__ is Sub
    class Keyed:
        held = weakref.WeakKeyDictionary({Slots: 1})
    @contextlib.contextmanager
    def context(): yield 5
    def even(n): return n == 0 or odd(n - 1)
    def odd(n): return n != 0 and even(n - 1)
    class Model(pydantic.BaseModel):
        a: UserId
        @pydantic.field_validator("a")
        @classmethod
        def check(cls, v):
            if v < 0: raise ValueError("negative")
            return v
    class Holder:
        def __init__(self): self.lock = threading.Lock()
    class Weak:
        def __init__(self, owner): self.owner = weakref.ref(owner)
    class Locked:
        lock = threading.Lock()
    class Missing:
        def __reduce__(self): return "MISSING"
    MISSING = Missing()

    def slots(): return [(type(got), got.x, got.hidden()) for got in (run.remote(same, Slots()),
        run.remote(Slots))] == [(Slots, 1, 2)] * 2
    @app.function()
    def uses_show(x): return show(x)
    def registered():
        first = uses_show.remote(1.5)
        show.register(float, lambda x: "float")
        return first, uses_show.remote(1.5)
    def refused(f):
        try: return f()
        except nbfn.exception.Error as error: return str(error).replace(sys.executable, "python")
    CHECKS = dict(
        slots=slots,
        more=lambda: (lambda got: (type(got) is More, got.z, got.q, got.hidden()))(run.remote(More)),
        one=lambda: (lambda got: (type(got) is One, got.a))(run.remote(One)),
        no_dict=lambda: run.remote(lambda: hasattr(Slots(), "__dict__") or hasattr(Data(1), "__dict__")),
        data=lambda: (run.remote(Data, 1), run.remote(same, Data(2, [3])) == Data(2, [3]), run.remote(same,
            Frozen(1)) == Frozen(1)),
        described=lambda: run.remote(Described).v,
        annotated=lambda: run.remote(annotated, 3),
        parameters=lambda: [run.remote(same, one) is one for one in (UserId, T, P, Ts, Ids, Other)],
        aliases=lambda: [run.remote(same, one) == one for one in (Back, Box[int], dict[str, UserId], Optional[UserId])],
        generics=lambda: (type(run.remote(Box, 1)) is Box, run.remote(lambda: Box[int](3).v),
            run.remote(lambda x: isinstance(x, Hidden), Slots())),
        tuples=lambda: (run.remote(Pair, 2), run.remote(lambda p: p.twice(), Pair(2)), type(run.remote(Typed,
            1)) is Typed, run.remote(lambda: ByName(a=1))),
        cached_property=lambda: (run.remote(lambda: Lazy().big), run.remote(same, Lazy()).big),
        singledispatch=lambda: run.remote(lambda: (show(1), show("x"), show([1, ["x"]]))),
        singledispatch_argument=lambda: run.remote(show, 1),
        registered=registered,
        methods=lambda: run.remote(lambda m: (m.f(1), m.f("x"), m.part(2), m.cached(3), m.named()), Methods()),
        fib=lambda: (run.remote(fib, 20), run.remote(lambda: fib(10))),
        ordered=lambda: run.remote(lambda: (Ordered(1) <= Ordered(2), Sub(1) < Sub(2))),
        metaclass=lambda: run.remote(lambda: (Tagged.tag, Tagged().f(), isinstance(3, Abstract))),
        subclasses=lambda: run.remote(lambda: (A.key, list(Registered.kinds), Registered.kinds["a"] is A,
            HasName().name)),
        init_subclass=lambda: run.remote(lambda: refusing()),
        enums=lambda: run.remote(lambda: (Level.SMALL, Level["SMALL"] is Level.LOW, Planet.EARTH.mass,
            Labelled.ONE.label, Access.RW == Access.R | Access.W)),
        members=lambda: [run.remote(same, m) is m for m in (Level.LOW, Planet.EARTH, Labelled.ONE, Access.RW)],
        itself=lambda: run.remote(lambda: Node.root.me is Node.root and type(Node.root) is Node),
        nested=lambda: (type(run.remote(Outer.Inner)) is Outer.Inner, run.remote(lambda: Outer.Inner.__qualname__)),
        weak=lambda: run.remote(lambda: Keyed.held[Slots]),
        functions=lambda: (run.remote(even, 10), run.remote(lambda: context().__enter__())),
        model=lambda: (run.remote(same, Model(a=1)) == Model(a=1), run.remote(lambda: Model(a="2").a)),
        secrets=lambda: run.remote(lambda: secrets.choice([7])),
        no_lock=lambda: refused(lambda: run.remote(same, Holder())),
        no_weakref=lambda: refused(lambda: run.remote(same, Weak(Slots))),
        no_class_lock=lambda: refused(lambda: run.remote(same, {"a": Locked()})),
        no_default=lambda: refused(lambda: run.remote(lambda x=Locked.lock: x)),
        by_name=lambda: refused(lambda: run.remote(same, MISSING)),
    )
    def refusing():
        try:
            class B(Registered): pass
        except TypeError:
            return "needs a key"
"""

EXPECTED = {
    "slots": "True",
    "more": "(True, 3, 4, 2)",
    "one": "(True, 1)",
    "no_dict": "False",
    "data": "(Data(x=1, y=[]), True, True)",
    "described": "5",
    "annotated": "3",
    "parameters": "[True, True, True, True, True, True]",
    "aliases": "[True, True, True, True]",
    "generics": "(True, 3, True)",
    "tuples": "(Pair(a=2), 4, True, {'a': 1})",
    "cached_property": "(42, 42)",
    "singledispatch": "('int', 'any', ['int', ['any']])",
    "singledispatch_argument": "'int'",
    "registered": "('any', 'float')",
    "methods": "('int', 'any', (1, 2), 4, 'Methods')",
    "fib": "(6765, 55)",
    "ordered": "(True, True)",
    "metaclass": "('t', 1, True)",
    "subclasses": "('a', ['a'], True, 'n')",
    "init_subclass": "'needs a key'",
    "enums": "(<Level.LOW: 1>, True, 5, 'First', True)",
    "members": "[True, True, True, True]",
    "itself": "True",
    "nested": "(True, 'Outer.Inner')",
    "weak": "1",
    "functions": "(True, 5)",
    "model": "(True, 2)",
    "secrets": "7",
    "no_lock": (
        "\"Cannot pickle argument 'args' of 'run' (args.lock → _thread.lock). "
        'Make it inside the function: workers share no memory."'
    ),
    "no_weakref": (
        "\"Cannot pickle argument 'args' of 'run' (args.owner → weakref.ReferenceType). "
        'Pass the object itself: in a worker nothing else would hold it."'
    ),
    "no_class_lock": (
        "\"Cannot pickle argument 'args' of 'run' (args['a'].__class__.lock → _thread.lock). "
        'Make it inside the function: workers share no memory."'
    ),
    "no_default": (
        "\"Cannot pickle argument 'f' of 'run' (f() has a default → _thread.lock). "
        'Make it inside the function: workers share no memory."'
    ),
    "by_name": (
        "\"An argument of 'run' cannot be unpickled. A value is pickled as the name 'MISSING' of __main__, which is "
        "not in the remote environment (python). Put what it names into a module, or give its class a __reduce__ "
        'that makes it again."'
    ),
}


@pytest.fixture(scope="module")
def told(hub_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program's checks gave."""
    return program.run(tmp_path_factory.mktemp("kinds"), KINDS).told


@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_in_a_worker_and_back_here_what_it_was(told: dict[str, str], name: str) -> None:
    assert told[name] == EXPECTED[name]
