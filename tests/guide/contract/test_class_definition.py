"""Tests of the definition of classes, and of its errors (docs/function-api.md#definition-of-classes)."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path

import pytest

import nbfn
from nbfn.exception import (
    DeprecationError,
    InvalidError,
)
from tests.guide.contract.classes import Counter, Model, app

pytestmark = pytest.mark.filterwarnings("ignore:Option 'enable_memory_snapshot'")


# --- definition ----------------------------------------------------------------------------------


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
    missing = Model()  # raises at the first remote use
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
