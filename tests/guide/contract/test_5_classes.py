"""Section 5: classes and their life cycle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn.exception import (
    DeprecationError,
    ExecutionError,
    InvalidError,
    NotFoundError,
)
from nbfn.wire.messages import FunctionRow
from tests.conftest import wait_until

app = nbfn.App("classes")


pytestmark = pytest.mark.filterwarnings("ignore:Option 'enable_memory_snapshot'")


@app.cls()
class Counter:
    """Counts."""

    STEP = 2

    @nbfn.enter()
    def begin(self) -> None:
        self.count = 0

    @nbfn.method()
    def up(self, by: int = 1) -> int:
        """Count up."""
        self.count += by
        return self.count

    @nbfn.method()
    def where(self) -> tuple[int, bool, bool]:
        return os.getpid(), threading.current_thread() is threading.main_thread(), _looping()

    @nbfn.method()
    async def aup(self, by: int = 1) -> int:
        await asyncio.sleep(0)
        self.count += by
        return self.count

    @nbfn.method()
    def upto(self, n: int) -> Iterator[int]:
        yield from range(n)

    @nbfn.method()
    async def aupto(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @nbfn.method()
    def add(self, x: int, y: int) -> int:
        return x + y

    @nbfn.method()
    def others(self) -> tuple[bool, bool, bool, str, int]:
        here = os.getpid()
        plain, local = self.where()[0], self.where.local()[0]
        remote = self.where.remote()[0]
        return plain == here, local == here, remote == here, self.helper(), Counter.STEP

    def helper(self) -> str:
        return "helped"


def _looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@app.cls()
class Model:
    name: str = nbfn.parameter()
    size: int = nbfn.parameter(default=7)
    raw: bytes = nbfn.parameter(default=b"\x00")
    deep: bool = nbfn.parameter(default=False)
    cache: str = nbfn.parameter(default="none", init=False)

    @nbfn.enter()
    def load(self) -> None:
        self.loaded = f"{self.name}/{self.size}/{self.raw!r}/{self.deep}/{self.cache}"

    @nbfn.method()
    def what(self) -> str:
        return self.loaded

    @nbfn.method()
    def where(self) -> int:
        return os.getpid()

    @nbfn.method()
    def again(self) -> str:
        return self.what.remote()


def rows() -> dict[str, FunctionRow]:
    return {row.name: row for row in nbfn.Client.attach().overview().functions}


def read(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


# --- 5.1 definition --------------------------------------------------------------------------------


def test_app_cls_returns_a_cls_handle() -> None:
    assert isinstance(Counter, nbfn.Cls)
    assert repr(Counter) == "<Cls 'Counter' of App('classes')>"
    assert Counter.__doc__ == "Counts."
    assert app.registered_classes["Counter"] is Counter
    assert "Counter" not in app.registered_functions


def test_a_cls_is_not_constructed() -> None:
    with pytest.raises(InvalidError, match=r"@app\.cls\(\)"):
        nbfn.Cls()


def test_with_batching_is_for_all_methods_where_none_is_batched() -> None:
    @app.cls(max_containers=1)
    class Sized:
        @nbfn.method()
        def size(self, xs: list[int]) -> list[int]:
            return [len(xs)] * len(xs)

    batched = Sized.with_batching(max_batch_size=3, wait_ms=100)
    assert list(batched().size.map([1, 2, 3])) == [3, 3, 3]
    with pytest.raises(InvalidError, match="cannot have default arguments"):
        Counter.with_batching(max_batch_size=3, wait_ms=100)


@pytest.mark.parametrize("decorator", ["enter", "exit", "method"])
def test_forgotten_parentheses(decorator: str) -> None:
    with pytest.raises(InvalidError, match="forget parentheses"):
        getattr(nbfn, decorator)(lambda self: None)


def test_forgotten_parentheses_of_the_class() -> None:
    with pytest.raises(InvalidError, match=r"forget parentheses\? Write @app\.cls\(\)"):

        @app.cls
        class C: ...


def test_lifecycle_and_method_on_the_same_function() -> None:
    with pytest.raises(InvalidError, match="both a lifecycle hook"):

        class C:
            @nbfn.enter()
            @nbfn.method()
            def f(self) -> None: ...


def test_app_function_on_a_method_names_what_to_use() -> None:
    with pytest.raises(InvalidError, match=r"@nbfn\.method\(\).*@app\.cls\(\)"):

        class C:
            @app.function()
            def f(self) -> None: ...


def test_app_function_on_a_class_and_app_cls_on_a_function() -> None:
    with pytest.raises(TypeError, match=r"use @app\.cls\(\)"):
        app.function()(type("C", (), {}))
    with pytest.raises(TypeError, match=r"use @app\.function\(\)"):
        app.cls()(lambda: None)


@pytest.mark.parametrize("option", ["name", "schedule", "is_generator"])
def test_options_that_a_class_does_not_have(option: str) -> None:
    with pytest.raises(InvalidError, match=option):
        app.cls(**{option: "x"})


def test_a_parameter_needs_a_supported_annotation() -> None:
    with pytest.raises(InvalidError, match="'float', which is not a supported parameter type"):

        @app.cls()
        class Wrong:
            x: float = nbfn.parameter()

    with pytest.raises(InvalidError, match="no type annotation"):

        @app.cls()
        class Bare:
            x = nbfn.parameter()


def test_a_default_of_another_type() -> None:
    with pytest.raises(TypeError, match="Expected int, got str"):

        @app.cls()
        class Wrong:
            x: int = nbfn.parameter(default="1")


def test_positional_unknown_missing_and_wrong_arguments() -> None:
    with pytest.raises(InvalidError, match="keywords"):
        Model("a")
    with pytest.raises(InvalidError, match=r"no parameter 'title' \(there are: name, size"):
        Model(title="a")
    missing = Model()  # at the first remote use
    with pytest.raises(InvalidError, match="needs its parameter 'name'"):
        missing.what.remote()
    wrong = Model(name=3)
    with pytest.raises(TypeError, match="Expected str, got int"):
        wrong.what.remote()
    with pytest.raises(TypeError, match="Expected int, got bool"):
        Model(name="a", size=True).what.remote()
    with pytest.raises(InvalidError, match="64 bits"):
        Model(name="a", size=2**70).what.remote()


def test_init_false_is_no_argument() -> None:
    with pytest.raises(InvalidError, match="no parameter 'cache'"):
        Model(name="a", cache="b")
    assert Model(name="a").what.remote().endswith("/none")


def test_all_types_of_parameters_arrive() -> None:
    model = Model(name="ä", size=-1, raw=b"\xff", deep=True)
    assert model.what.remote() == "ä/-1/b'\\xff'/True/none"


def test_parameters_are_at_most_16_kib() -> None:
    with pytest.raises(InvalidError, match="16 KiB"):
        Model(name="x" * 17_000).what.remote()


def test_parameters_and_a_constructor_do_not_go_together() -> None:
    with pytest.raises(InvalidError, match="cannot have a constructor"):

        @app.cls()
        class Both:
            x: int = nbfn.parameter(default=1)

            def __init__(self) -> None: ...


def test_a_constructor_with_arguments_is_deprecated_and_works() -> None:
    with pytest.warns(DeprecationError, match="__init__ with arguments"):

        @app.cls()
        class Old:
            def __init__(self, x: object, *, y: int = 1) -> None:
                self.x, self.y = x, y

            @nbfn.method()
            def get(self) -> tuple[object, int, int]:
                return self.x, self.y, os.getpid()

    first, other = Old({"a": 1}, y=2).get.remote(), Old([3]).get.remote()
    assert (first[:2], other[:2]) == (({"a": 1}, 2), ([3], 1))
    assert first[2] != other[2]
    assert Old({"a": 1}, y=2).get.remote()[2] == first[2]
    assert Old(1).get.local()[:2] == (1, 1)
    with pytest.raises(TypeError):
        Old()
    with pytest.raises(ValueError, match="must be picklable"):
        Old(threading.Lock()).get.remote()
    with pytest.raises(InvalidError, match="16 KiB"):
        Old(b"x" * 20_000).get.remote()


def test_a_constructor_without_arguments_is_just_called() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        @app.cls()
        class Plain:
            def __init__(self) -> None:
                self.made = True

            @nbfn.method()
            def get(self) -> bool:
                return self.made

    assert Plain().get.remote()
    with pytest.raises((InvalidError, TypeError)):
        Plain(1)
    with pytest.raises(InvalidError, match="takes no arguments"):
        Counter(1)


class Base:
    tag: str = nbfn.parameter(default="base")

    @nbfn.enter()
    def first(self) -> None:
        self.log = ["first"]

    @nbfn.enter()
    def second(self) -> None:
        self.log.append("second")

    @nbfn.method()
    def get(self) -> tuple[str, list[str]]:
        return self.tag, self.log

    @nbfn.method()
    def own(self) -> str:
        return "base"


def test_inheritance_and_overriding() -> None:
    @app.cls()
    class Child(Base):
        tag: str = nbfn.parameter(default="child")

        @nbfn.enter()
        def second(self) -> None:
            self.log.append("second of child")

        @nbfn.enter()
        def third(self) -> None:
            self.log.append("third")

        @nbfn.method()
        def own(self) -> str:
            return "child of " + super().own()

    assert Child().get.remote() == ("child", ["first", "second of child", "third"])
    assert Child().own.remote() == "child of base"
    assert Child(tag="x").get.local()[0] == "x"


def test_a_class_may_derive_from_a_cls() -> None:
    @app.cls()
    class More(Counter):  # type: ignore[misc]
        @nbfn.method()
        def twice(self) -> int:
            self.up.local()
            return self.up()

    assert More().twice.remote() == 2


def test_build_runs_before_the_other_hooks() -> None:
    @nbfn.App().cls()
    class Built:
        @nbfn.enter()
        def begin(self) -> None:
            self.order.append("enter")

        @nbfn.build()
        def download(self) -> None:
            self.order = ["build"]

        @nbfn.method()
        def told(self) -> list[str]:
            return self.order

    assert Built().told.remote() == ["build", "enter"]
    assert Built().told.local() == ["build", "enter"]


def test_snap_needs_its_option(tmp_path: Path) -> None:
    path = str(tmp_path / "log")

    class Snapped:
        @nbfn.enter()
        def late(self) -> None:
            self.log.append("late")

        @nbfn.enter(snap=True)
        def early(self) -> None:
            self.log = ["early"]

        @nbfn.method()
        def get(self) -> list[str]:
            return [*self.log, path]

    with pytest.raises(InvalidError, match="enable_memory_snapshot=True"):
        app.cls()(Snapped)
    taken = app.cls(enable_memory_snapshot=True)(Snapped)
    assert taken().get.remote() == ["early", "late", path]
    assert taken().get.local() == ["early", "late", path]


def test_concurrent_belongs_on_the_class() -> None:
    with pytest.raises(InvalidError, match="put it on class 'C'"):

        @app.cls()
        class C:
            @nbfn.concurrent(max_inputs=2)
            def f(self) -> None: ...


def test_function_and_cls_of_the_same_name_collide() -> None:
    one = nbfn.App()

    @one.function(name="Thing")
    def thing() -> None: ...

    with pytest.warns(UserWarning, match="Function 'Thing' of App.. is replaced"):

        @one.cls()
        class Thing:
            @nbfn.method()
            def f(self) -> int:
                return 1

    assert (list(one.registered_classes), list(one.registered_functions)) == (["Thing"], [])


# --- 5.2 use -----------------------------------------------------------------------------------------


def test_making_an_object_asks_nothing_and_enters_nothing() -> None:
    entered = []

    @app.cls()
    class Lazy:
        x = 1

        @nbfn.enter()
        def enter(self) -> None:
            entered.append(1)

        @nbfn.method()
        def f(self) -> None: ...

        def plain(self) -> int:
            return self.x

    lazy = Lazy()
    assert (lazy.x, lazy.plain(), entered) == (1, 1, [])
    assert not Lazy.is_hydrated
    lazy.f.local()
    lazy.f.local()
    assert entered == [1]


def test_methods_can_be_called_in_every_way() -> None:
    counter = Counter()
    assert counter.add.remote(1, y=2) == 3
    assert list(counter.add.map([1, 2], [3, 4])) == [4, 6]
    assert list(counter.add.starmap([(1, 2)])) == [3]
    counter.add.for_each([1], [2])
    assert counter.add.spawn(3, 4).get() == 7
    assert list(counter.upto.remote_gen(3)) == [0, 1, 2]
    assert list(counter.aupto.remote_gen(3)) == [0, 1, 2]
    assert counter.aup.remote(0) == counter.up.remote(0)
    assert counter.add.local(1, 2) == 3


def test_methods_can_be_awaited() -> None:
    async def main() -> None:
        counter = Counter()
        assert await counter.add.remote.aio(1, 2) == 3
        assert [x async for x in counter.add.map.aio([1], [2])] == [3]
        assert [x async for x in counter.upto.remote_gen.aio(2)] == [0, 1]
        assert await (await counter.add.spawn.aio(1, 2)).get.aio() == 3

    asyncio.run(main())


def test_a_generator_method_is_known_as_one() -> None:
    assert (Counter().upto.is_generator, Counter().up.is_generator) == (True, False)
    with pytest.raises(InvalidError, match="remote_gen"):
        Counter().upto.remote(3)
    with pytest.raises(InvalidError, match="not a generator"):
        list(Counter().up.remote_gen())


def test_a_method_is_not_called_plainly_and_knows_its_function() -> None:
    with pytest.raises(TypeError, match=r"up\.remote"):
        Counter().up()
    raw = Counter().up.get_raw_f()
    assert (raw.__name__, raw.__doc__) == ("up", "Count up.")
    assert Counter.up.get_raw_f() is raw
    assert repr(Counter().up) == "Counter().up"
    assert repr(Model(name="a", size=2).what) == "Model(name='a', size=2).what"


def test_a_method_without_an_object() -> None:
    with pytest.raises(AttributeError, match="forget to instantiate the class first"):
        Counter.up.remote()


def test_local_runs_here_on_one_object_per_handle() -> None:
    counter, other = Counter(), Counter()
    assert (counter.up.local(), counter.up.local(5), other.up.local()) == (1, 6, 1)
    assert counter.count == 6
    assert counter.where.local()[0] == os.getpid()
    assert list(counter.upto.local(2)) == [0, 1]
    assert asyncio.run(counter.aup.local()) == 7


def test_local_enters_async_hooks_from_async_methods_only_and_exits_nothing() -> None:
    log = []

    @app.cls()
    class Hooked:
        def __enter__(self) -> Hooked:
            log.append("legacy")
            return self

        def __exit__(self, *_: object) -> None:
            log.append("left")

        @nbfn.enter()
        async def later(self) -> None:
            log.append("async")

        @nbfn.enter()
        def now(self) -> None:
            log.append("sync")

        @nbfn.exit()
        def end(self) -> None:
            log.append("exit")

        @nbfn.method()
        def f(self) -> list[str]:
            return list(log)

        @nbfn.method()
        async def g(self) -> list[str]:
            return list(log)

    hooked = Hooked()
    assert hooked.f.local() == ["legacy", "sync"]
    assert asyncio.run(hooked.g.local()) == ["legacy", "sync", "async"]
    assert asyncio.run(hooked.g.local()) == ["legacy", "sync", "async"]
    assert {"exit", "left"}.isdisjoint(log)


def test_inside_methods_others_run_here_or_elsewhere_as_asked() -> None:
    same_plain, same_local, same_remote, helped, step = Counter().others.remote()
    assert (same_plain, same_local, same_remote) == (True, True, False)
    assert (helped, step) == ("helped", 2)
    assert Counter().others.local()[:2] == (True, True)


def test_remote_inside_a_method_goes_out_with_the_same_parameters() -> None:
    model = Model(name="me")
    assert model.again.remote() == "me/7/b'\\x00'/False/none"
    assert model.again.local() == "me/7/b'\\x00'/False/none"


@app.cls()
class Peer:
    name: str = nbfn.parameter(default="")

    @nbfn.method()
    def call(self) -> tuple[str, str]:
        return self.name, peer.say.remote()

    @nbfn.method()
    def say(self) -> str:
        return self.name


peer = Peer(name="peer")


def test_methods_may_use_other_objects_of_their_own_class() -> None:
    assert Peer(name="a").call.remote() == ("a", "peer")


@app.function()
def asks_mutual(x: int) -> int:
    return Mutual().last.remote(x) if x else 0


@app.cls()
class Mutual:
    @nbfn.method()
    def first(self, x: int) -> int:
        return asks_mutual.remote(x)

    @nbfn.method()
    def last(self, x: int) -> int:
        return 2 * x


def test_a_class_and_a_function_may_call_each_other() -> None:
    assert Mutual().first.remote(3) == 6
    assert asks_mutual.remote(4) == 8


def test_an_enter_hook_that_failed_here_is_tried_again() -> None:
    tries = []

    @app.cls()
    class Flaky:
        @nbfn.enter()
        def load(self) -> None:
            tries.append(1)
            if len(tries) == 1:
                raise LookupError

        @nbfn.method()
        def f(self) -> int:
            return len(tries)

    flaky = Flaky()
    with pytest.raises(LookupError):
        flaky.f.local()
    assert flaky.f.local() == 2


def test_class_attributes_are_reachable_and_can_be_set() -> None:
    assert Counter.STEP == 2
    with pytest.raises(AttributeError):
        _ = Counter.NOTHING
    assert isinstance(Counter()._object(), Counter)  # type: ignore[arg-type]


def test_objects_and_classes_travel_as_ids() -> None:
    @app.function()
    def use(counter: Any, cls: Any) -> tuple[int, str]:
        return counter.add.remote(1, 2), cls(name="far").what.remote()

    @app.function()
    def captured() -> str:
        return model.what.remote() + Model(name="inner").what.remote()

    Counter.hydrate(), Model.hydrate()
    model = Model(name="caught")
    assert use.remote(Counter(), Model)[1] == "far/7/b'\\x00'/False/none"
    assert captured.remote().startswith("caught/7")


def test_a_redefined_helper_makes_a_new_version() -> None:
    namespace: dict[str, Any] = {"app": app, "nbfn": nbfn}
    code = (
        "def helper(): return 1\n"
        "class C:\n"
        "    K = 1\n"
        "    @nbfn.method()\n"
        "    def f(self): return helper(), self.K\n"
        "C = app.cls()(C)\n"
    )
    exec(code, namespace)
    c = namespace["C"]()
    assert c.f.remote() == (1, 1)
    before = namespace["C"].object_id
    exec("def helper(): return 2", namespace)
    assert c.f.remote() == (2, 1)
    namespace["C"].K = 3
    assert c.f.remote() == (2, 3)
    assert namespace["C"].object_id == before
    assert rows()["C"].version == 3


def test_from_name() -> None:
    app.deploy()
    found = nbfn.Cls.from_name("classes", "Model")
    assert repr(found) == "Cls.from_name('classes', 'Model')"
    model = found(name="n")
    assert not found.is_hydrated
    assert model.what.remote() == "n/7/b'\\x00'/False/none"
    assert found.object_id == Model.hydrate().object_id
    assert found.object_id.startswith("cs-")
    assert nbfn.Cls.from_name("classes", "Counter")().add.remote(1, 2) == 3
    assert list(nbfn.Cls.from_name("classes", "Counter")().upto.remote_gen(2)) == [0, 1]
    assert nbfn.Cls.lookup("classes", "Model").is_hydrated


def test_what_from_name_cannot_find() -> None:
    app.deploy()
    with pytest.raises(NotFoundError, match="Lookup failed for Cls 'Models'.*Model"):
        nbfn.Cls.from_name("classes", "Models")().what.remote()
    with pytest.raises(NotFoundError, match="Lookup failed for Cls"):
        nbfn.Cls.from_name("no-such-app", "Model").hydrate()
    found = nbfn.Cls.from_name("classes", "Model")
    with pytest.raises(NotFoundError, match="no method 'load'.*attributes of a remote class"):
        found(name="a").load.remote()
    with pytest.raises(InvalidError, match="keywords"):
        found("a").what.remote()
    with pytest.raises(InvalidError, match="no parameter 'title'"):
        found(title="a").what.remote()
    with pytest.raises(InvalidError, match="needs its parameter 'name'"):
        found().what.remote()
    with pytest.raises(TypeError, match="Expected str, got int"):
        found(name=1).what.remote()
    with pytest.raises(AttributeError, match="forget to instantiate"):
        _ = found.what.remote
    with pytest.raises(ExecutionError, match="no definition in this process"):
        found(name="a").what.local()


def test_a_name_that_switches_between_function_and_class() -> None:
    two = nbfn.App("switching")

    @two.function(name="Thing")
    def thing() -> str:
        return "function"

    two.deploy()
    as_function, as_class = (
        nbfn.Function.from_name("switching", "Thing"),
        nbfn.Cls.from_name("switching", "Thing"),
    )
    assert as_function.remote() == "function"
    with pytest.raises(NotFoundError, match=r"it is a function. Use Function\.from_name"):
        as_class.hydrate()

    three = nbfn.App("switching")

    @three.cls()
    class Thing:
        @nbfn.method()
        def f(self) -> str:
            return "class"

    three.deploy()
    assert as_class().f.remote() == "class"
    with pytest.raises(NotFoundError, match="is a class"):
        as_function.remote()


def test_a_redeploy_is_picked_up_by_handles() -> None:
    def deployed(said: str) -> None:
        one = nbfn.App("renewed")

        @one.cls()
        class Thing:
            x: int = nbfn.parameter(default=0)

            @nbfn.method()
            def f(self) -> str:
                return f"{said} {self.x}"

        if said == "new":
            Thing._raw.g = nbfn.method()(_g)
            Thing._raw.g.__set_name__(Thing._raw, "g")
        one.deploy()

    deployed("old")
    handle = nbfn.Cls.from_name("renewed", "Thing")(x=3)
    assert handle.f.remote() == "old 3"
    deployed("new")
    assert handle.f.remote() == "new 3"
    assert handle.g.remote() == 4


def test_handles_find_the_successor_of_a_stopped_app() -> None:
    def deployed(said: str) -> nbfn.App:
        one = nbfn.App("succeeded")

        @one.cls()
        class Thing:
            x: int = nbfn.parameter(default=0)

            @nbfn.method()
            def f(self) -> str:
                return f"{said} {self.x}"

        return one.deploy()

    first = deployed("old")
    found = nbfn.Cls.from_name("succeeded", "Thing")
    handle, late = found(x=1), found(x=2)
    assert handle.f.remote() == "old 1"
    assert first.app_id is not None
    nbfn.Client.attach().stop_app(first.app_id)
    with pytest.raises(NotFoundError):
        late.f.remote()
    deployed("new")
    assert late.f.remote() == "new 2"
    assert handle.f.remote() == "new 1"


def test_values_of_any_size_and_kind_are_shown_short() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert len(repr(Model(name="x" * 1000))) < 80
    assert "Shy" in repr(Model(name=Shy()))


def _g(self: Any) -> int:
    return int(self.x) + 1


def test_from_another_process() -> None:
    app.deploy()
    code = "import nbfn; print(nbfn.Cls.from_name('classes', 'Model')(name='p').what.remote())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "p/7/b'\\x00'/False/none\n"


# --- 5.3 pools ---------------------------------------------------------------------------------------


def test_each_set_of_parameters_has_workers_of_its_own() -> None:
    first, other = Model(name="a").where.remote(), Model(name="b").where.remote()
    assert first != other
    assert Model(name="a").where.remote() == first


def test_an_explicit_default_is_the_implicit_one() -> None:
    implicit = Model(name="same").where.remote()
    assert Model(size=7, deep=False, name="same", raw=b"\x00").where.remote() == implicit


def test_a_class_without_parameters_has_one_pool_for_all_methods() -> None:
    single = Counter.with_options(max_containers=1)()
    assert single.where.remote()[0] == single.where.remote()[0]
    assert single.up.remote(3) == 3
    assert single.aup.remote(3) == 6


def test_keep_warm_is_the_objects_and_not_its_methods_or_its_class() -> None:
    model = Model(name="warm")
    model.keep_warm(1)
    wait_until(lambda: model.get_current_stats().num_total_runners == 1)
    assert rows()["Model(name='warm')"].min_containers == 1
    assert rows()["Model"].min_containers == 0
    with pytest.raises(InvalidError, match=r"call this on Model\(name='warm'\), not on its method"):
        model.what.keep_warm(1)
    with pytest.raises(InvalidError, match="call this on"):
        model.what.update_autoscaler(min_containers=1)
    now = model.update_autoscaler(min_containers=0, max_containers=2, scaledown_window=3)
    assert (now.max_containers, now.scaledown_window) == (2, 3)
    assert model.what.get_current_stats().backlog == 0


def test_min_containers_of_a_class_warms_its_workers() -> None:
    warm = nbfn.App("warm")

    @warm.cls(min_containers=1)
    class Warm:
        @nbfn.method()
        def f(self) -> int:
            return os.getpid()

    with warm.run():
        wait_until(lambda: Warm().get_current_stats().num_total_runners == 1)
        assert Warm().f.remote() > 0


def test_with_options_of_a_class() -> None:
    variant = Model.with_options(max_containers=1)
    assert isinstance(variant, nbfn.Cls)
    assert variant(name="a").what.remote() == Model(name="a").what.remote()
    assert variant(name="a").where.remote() != Model(name="a").where.remote()
    assert variant(name="a").where.remote() == variant(name="a").where.remote()
    assert rows()["Model.with_options(max_containers=1)(name='a')"].max_containers == 1
    stacked = variant.with_options(buffer_containers=1)(name="a")
    stacked.what.remote()
    names = rows()
    name = "Model.with_options(max_containers=1).with_options(buffer_containers=1)(name='a')"
    assert names[name[:85]].max_containers == 1
    assert (
        nbfn.Cls.from_name("classes", "Model")
        .with_options(timeout=9)(name="z")
        .what.remote()
        .startswith("z/7")
    )
    with pytest.raises(InvalidError, match="make the variant of its class"):
        Model(name="a").what.with_options(timeout=3)


def test_with_concurrency_of_a_class() -> None:
    @app.cls(max_containers=1)
    class Meeting:
        @nbfn.enter()
        def open(self) -> None:
            self.there = 0

        @nbfn.method()
        async def meet(self, count: int) -> int:
            self.there += 1
            while self.there < count:
                await asyncio.sleep(0.005)
            return os.getpid()

    met = list(Meeting.with_concurrency(max_inputs=3)().meet.map([3, 3, 3]))
    assert len(set(met)) == 1

    @app.cls(max_containers=1)
    @nbfn.concurrent(max_inputs=2)
    class Pair:
        @nbfn.enter()
        async def open(self) -> None:
            self.loop, self.there = asyncio.get_running_loop(), 0

        @nbfn.method()
        async def meet(self) -> bool:
            self.there += 1
            while self.there < 2:
                await asyncio.sleep(0.005)
            return self.loop is asyncio.get_running_loop()

    assert list(Pair().meet.starmap([(), ()])) == [True, True]


def test_batched_methods() -> None:
    @app.cls(max_containers=1)
    class Doubler:
        @nbfn.enter()
        def begin(self) -> None:
            self.by = 2

        @nbfn.batched(max_batch_size=4, wait_ms=100)
        def double(self, xs: list[int]) -> list[tuple[int, int]]:
            return [(self.by * x, len(xs)) for x in xs]

        @nbfn.method()
        def plain(self, x: int) -> int:
            return self.by * x

    assert sorted(Doubler().double.map([1, 2, 3, 4])) == [(2, 4), (4, 4), (6, 4), (8, 4)]
    assert Doubler().plain.remote(3) == 6
    smaller = Doubler.with_batching(max_batch_size=2, wait_ms=100)()
    assert {size for _, size in smaller.double.map([1, 2, 3, 4])} == {2}
    assert smaller.plain.remote(3) == 6
    assert Doubler().double.local([1]) == [(2, 1)]


# --- 5.4 life cycle ----------------------------------------------------------------------------------


def test_hooks_inputs_and_the_end_come_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"

    class Noting:
        def note(self, what: str) -> None:
            with log.open("a") as file:
                file.write(what + "\n")

        def __enter__(self) -> None:
            self.note("legacy")

        def __exit__(self, *_: object) -> None:
            self.note("legacy-exit")

        @nbfn.enter()
        def second(self) -> None:
            self.note("second")

        @nbfn.enter(snap=True)
        def first(self) -> None:
            self.note("first")

        @nbfn.enter()
        async def third(self) -> None:
            self.loop = asyncio.get_running_loop()
            self.note("third")

        @nbfn.method()
        def work(self, x: int) -> int:
            self.note(f"work-{x}")
            if x == 2:
                raise ValueError("two")
            return x

        @nbfn.method()
        async def same_loop(self) -> bool:
            return self.loop is asyncio.get_running_loop()

        @nbfn.exit()
        def exit_one(self) -> None:
            self.note("exit-one")
            raise RuntimeError("the other hooks run all the same")

        @nbfn.exit()
        async def exit_two(self) -> None:
            self.note(f"exit-two-{self.loop is asyncio.get_running_loop()}")

    one = nbfn.App()
    noting = one.cls(enable_memory_snapshot=True, max_containers=1, scaledown_window=0.2)(Noting)()
    assert noting.work.remote(1) == 1
    with pytest.raises(ValueError, match="two"):
        noting.work.remote(2)
    assert noting.same_loop.remote()
    wait_until(lambda: "legacy-exit" in read(log))  # it was scaled down
    assert read(log) == [
        *("legacy", "first", "second", "third", "work-1", "work-2"),
        *("exit-one", "exit-two-True", "legacy-exit"),
    ]


def a_leaver(log: Path, **options: Any) -> tuple[nbfn.App, Any]:
    """Return a class that writes a file when its worker ends."""
    one = nbfn.App("leaving")

    @one.cls(**options)
    class Leaver:
        @nbfn.method()
        def pid(self) -> int:
            return os.getpid()

        @nbfn.method()
        def stay(self) -> None:
            with contextlib.suppress(BaseException):
                time.sleep(60)

        @nbfn.exit()
        def leave(self) -> None:
            time.sleep(0.3)
            log.write_text("left\n")

    return one, Leaver


def test_exit_hooks_run_when_the_app_stops(tmp_path: Path) -> None:
    one, leaver = a_leaver(tmp_path / "log")
    with one.run():
        leaver().pid.remote()
    wait_until(lambda: read(tmp_path / "log") == ["left"])


def test_exit_hooks_run_on_sigterm(tmp_path: Path) -> None:
    _, leaver = a_leaver(tmp_path / "log")
    os.kill(leaver().pid.remote(), signal.SIGTERM)
    wait_until(lambda: read(tmp_path / "log") == ["left"])


def test_exit_hooks_run_when_a_new_version_takes_over(tmp_path: Path) -> None:
    _, leaver = a_leaver(tmp_path / "log")
    leaver().pid.remote()
    leaver.extra = 1
    leaver().pid.remote()
    wait_until(lambda: read(tmp_path / "log") == ["left"])


def test_an_exception_in_enter_is_that_of_the_inputs() -> None:
    @app.cls()
    class Broken:
        @nbfn.enter()
        def load(self) -> None:
            raise LookupError("no weights")

        @nbfn.method()
        def f(self) -> None: ...

    with pytest.raises(LookupError, match="no weights"):
        Broken().f.remote()
    with pytest.raises(LookupError, match="no weights"):
        list(Broken().f.starmap([(), ()]))


def test_an_object_lives_from_input_to_input_and_after_exceptions() -> None:
    single = Counter.with_options(max_containers=1, timeout=111)()
    assert single.up.remote() == 1
    with pytest.raises(TypeError):
        single.up.remote("x")
    assert single.up.remote() == 2


def test_a_sync_body_is_on_the_main_thread_without_a_loop() -> None:
    _, on_main_thread, looping = Counter().where.remote()
    assert (on_main_thread, looping) == (True, False)


def test_system_exit_reaches_the_caller_and_the_worker_goes_on() -> None:
    @app.cls(max_containers=1)
    class Quitter:
        @nbfn.method()
        def quit(self) -> None:
            sys.exit(3)

        @nbfn.method()
        def pid(self) -> int:
            return os.getpid()

    before = Quitter().pid.remote()
    with pytest.raises(nbfn.exception.RemoteError, match="SystemExit"):
        Quitter().quit.remote()
    assert Quitter().pid.remote() == before


def test_spawned_methods_are_calls_as_any_other() -> None:
    call = Counter().add.spawn(20, 22)
    assert nbfn.FunctionCall.from_id(call.object_id).get() == 42
