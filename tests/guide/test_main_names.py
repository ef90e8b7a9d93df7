"""Tests that plain pickle in a worker finds the names of the notebook or program: in pools, queues and files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import program

NAMES = """
    import asyncio, collections, dataclasses, enum, functools, inspect, multiprocessing as mp, pickle, shelve, typing
    from concurrent.futures import ProcessPoolExecutor
    import loky

    FACTOR = 3
    def helper(x): return x * FACTOR
    def square(x): return x * x
    @dataclasses.dataclass
    class P:
        x: int
    class Color(enum.Enum):
        RED = 1
    Pair = collections.namedtuple("Pair", "a b")
    class Outer:
        class Inner:
            def __eq__(self, other): return type(other) is Outer.Inner
            __hash__ = None
        def plus(self, x): return P(x + 2)
    class Base:
        kinds = {}
        def __init_subclass__(cls): Base.kinds[cls.__name__] = cls
    class Child(Base): pass
    class Hinted:
        a: "P"
    @functools.lru_cache
    def cached(x): return x + 1
    TABLE = {"square": square}
    STATE = None
    def begin(value):
        global STATE
        STATE = value
    def state(x): return x, STATE
    def put(queue, p): queue.put(P(p.x + 1))
    def again(x): return pickle.loads(pickle.dumps(x))

    @app.function()
    def values(): return [again(v) == v for v in (P(1), Color.RED, Pair(1, 2), Outer.Inner(), Child)]
    @app.function()
    def same(): return again(helper) is helper, again(cached) is cached, __import__("__main__").P is P
    @app.function()
    def hints():
        return typing.get_type_hints(Hinted)["a"] is P, inspect.getsource(P).split()[1], Base.kinds == {"Child": Child}
    @app.function()
    def pool(kind):
        with mp.get_context(kind).Pool(1) as p: return p.map(helper, [1, 2]), p.map(Outer().plus, [1])
    @app.function()
    def executor(kind):
        with ProcessPoolExecutor(1, mp_context=mp.get_context(kind), initializer=begin, initargs=(P(9),)) as p:
            return list(p.map(state, [1]))
    @app.function()
    def process(kind):
        queue = mp.get_context(kind).SimpleQueue()
        child = mp.get_context(kind).Process(target=put, args=(queue, P(1)))
        child.start()
        got = queue.get()
        child.join()
        return got, child.exitcode
    def inner(x):
        with mp.get_context("spawn").Pool(1) as p: return p.apply(again, (P(x),))
    @app.function()
    def nested():
        with ProcessPoolExecutor(1, mp_context=mp.get_context("spawn")) as p: return p.submit(inner, 4).result()
    @app.function()
    def with_loky():
        pool = loky.ProcessPoolExecutor(1)
        got = list(pool.map(square, [2])), pool.submit(P, 1).result()
        pool.shutdown()
        return got
    @app.function()
    def queued():
        queue = mp.Queue()
        queue.put(P(3))
        return queue.get(timeout=10)
    @app.function()
    def table():
        with mp.get_context("fork").Pool(1) as p: return p.map(TABLE["square"], [3])
    @app.function()
    async def later():
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(1, mp_context=mp.get_context("fork")) as p:
            return await loop.run_in_executor(p, square, 4)
    @app.function()
    def stored(path):
        with shelve.open(path) as shelf: shelf["p"] = P(5)
    @app.function()
    def fetched(path):
        P
        with shelve.open(path) as shelf: return shelf["p"]
    @app.function()
    def brought(f, kind):
        with mp.get_context(kind).Pool(1) as p: return p.map(f, [2])
    @app.function()
    def both(f):
        with mp.get_context("fork").Pool(1) as p: return p.map(f, [1]), p.map(helper, [1]), f is helper
    @app.function()
    def read(data): return pickle.loads(data) == P(7)
    @app.function()
    def unnamed(data): return pickle.loads(data)
    @app.function()
    def written(): return pickle.dumps([P(1), square])
    @app.function()
    def counted():
        global COUNT
        COUNT = 5
        return __import__("__main__").COUNT, exit.__class__.__module__, open.__module__.strip("_")
    @app.cls()
    class Model:
        @nbfn.enter()
        def start(self): self.k = 5
        def work(self, x): return x * self.k
        @nbfn.method()
        def run(self):
            with mp.get_context("fork").Pool(1) as p: return p.map(self.work, [1, 2])
    @app.function()
    @nbfn.concurrent(max_inputs=4)
    def at_once(x): return again(P(x)) == P(x)

    def rebound():
        global FACTOR, P
        FACTOR = 10
        first = both.remote(helper)
        @dataclasses.dataclass
        class P:
            x: int
            y: int = 1
        P.__qualname__ = "P"
        return first, values.remote()

    CHECKS = dict(
        values=values.remote, same=same.remote, hints=hints.remote, loky=with_loky.remote, queue=queued.remote,
        table=table.remote, later=later.remote, nested=nested.remote, counted=counted.remote,
            cls=lambda: Model().run.remote(),
        at_once=lambda: list(at_once.map([1, 2, 3])), written=lambda: pickle.loads(written.remote()) == [P(1), square],
        read=lambda: read.remote(pickle.dumps(P(7))), shelf=lambda: (stored.remote("shelf"),
            fetched.remote("shelf") == P(5)),
        both=lambda: [both.remote(helper), both.remote(helper)],
        brought=lambda: [brought.remote(*one) for one in ((square, "fork"), (helper, "fork"), (square, "fork"),
            (square, "spawn"))],
    )
    for kind in ("fork", "spawn", "forkserver"):
        CHECKS["pool " + kind] = lambda kind=kind: pool.remote(kind)
        CHECKS["executor " + kind] = lambda kind=kind: executor.remote(kind)
        CHECKS["process " + kind] = lambda kind=kind: process.remote(kind)
    def hint():
        try:
            unnamed.remote(pickle.dumps(P(7)))
        except AttributeError as error:
            return error.__notes__[0]
    CHECKS |= {"hint": hint, "rebound": rebound}
"""

EXPECTED = {
    "values": "[True, True, True, True, True]",
    "same": "(True, True, True)",
    "hints": "(True, 'class', True)",
    "loky": "([4], P(x=1))",
    "queue": "P(x=3)",
    "table": "[9]",
    "later": "16",
    "nested": "P(x=4)",
    "counted": "(5, '_sitebuiltins', 'io')",
    "cls": "[5, 10]",
    "at_once": "[True, True, True]",
    "written": "True",
    "read": "True",
    "shelf": "(None, True)",
    "both": "[([3], [3], True), ([3], [3], True)]",
    "brought": "[[4], [6], [4], [4]]",
    **{f"pool {kind}": "([3, 6], [P(x=3)])" for kind in ("fork", "spawn", "forkserver")},
    **{f"executor {kind}": "[(1, P(x=9))]" for kind in ("fork", "spawn", "forkserver")},
    **{f"process {kind}": "(P(x=2), 0)" for kind in ("fork", "spawn", "forkserver")},
    "rebound": "(([10], [10], True), [True, True, True, True, True])",
    "hint": (
        "\"Hint: a worker's __main__ has what its Function refers to, and 'P' is not among it. Name it in the "
        'function (a line that says P will do), or import it from a module."'
    ),
}


@pytest.fixture(scope="module")
def told(hub_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program's checks gave, each in workers of its own."""
    return program.run(tmp_path_factory.mktemp("names"), NAMES).told


@pytest.mark.parametrize("name", EXPECTED)
def test_a_worker_has_the_names_of_the_program_that_its_function_refers_to(
    told: dict[str, str], name: str
) -> None:
    assert told[name] == EXPECTED[name]


def test_a_function_that_runs_another_has_both_functions_names_and_mixes_no_globals(
    hub_home: Path, tmp_path: Path
) -> None:
    text = """
        import pickle
        def square(x): return x * x
        def cube(x): return x ** 3
        @app.function()
        def inner(x):
            global LAST
            LAST = x
            return pickle.loads(pickle.dumps(square))(x)
        @app.function()
        def outer(x): return inner.local(x), pickle.loads(pickle.dumps(cube))(x), "LAST" in globals()
        CHECKS = {"outer": lambda: outer.remote(3)}
    """
    assert program.run(tmp_path, text).told == {"outer": "(9, 27, False)"}
