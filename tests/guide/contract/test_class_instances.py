"""Tests of objects and their methods in the process that uses them (docs/function-api.md#instances)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

import nbfn
from nbfn.exception import (
    ExecutionError,
    InvalidError,
    NotFoundError,
)
from tests.guide.contract.classes import Counter, Model, app, rows

pytestmark = pytest.mark.filterwarnings("ignore:Option 'enable_memory_snapshot'")


# --- use -----------------------------------------------------------------------------------------


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


def _thing_of(one: nbfn.App, said: str) -> Any:
    @one.cls()
    class Thing:
        x: int = nbfn.parameter(default=0)

        @nbfn.method()
        def f(self) -> str:
            return f"{said} {self.x}"

    return Thing


def test_a_redeploy_is_picked_up_by_handles() -> None:
    def deployed(said: str) -> None:
        one = nbfn.App("renewed")
        Thing = _thing_of(one, said)
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
        _thing_of(one, said)
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
