"""Tests of the pools of classes and the life cycle of their objects (docs/function-api.md#life-cycle)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import nbfn
from nbfn.exception import (
    InvalidError,
)
from tests.conftest import wait_until
from tests.guide.contract.classes import Counter, Model, app, read, rows

pytestmark = pytest.mark.filterwarnings("ignore:Option 'enable_memory_snapshot'")


# --- pools ---------------------------------------------------------------------------------------


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
    app.deploy()
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


# --- life cycle ----------------------------------------------------------------------------------


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
