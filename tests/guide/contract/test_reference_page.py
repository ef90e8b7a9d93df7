"""Tests of the examples and the members on Modal's reference page of Functions."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nbfn as modal

app = modal.App("my-app")


@app.function()
def function(x: int = 1) -> int:
    return x + 1


with pytest.warns(
    modal.exception.DeprecationError, match="parameters"
):  # a newer rule than that of the page

    @app.cls()
    class Model:
        def __init__(self, name: str) -> None:
            self.name = name

        @modal.method()
        def named(self) -> str:
            return self.name


@pytest.fixture(scope="module", autouse=True)
def deployed(hub_home: object) -> None:
    app.deploy()
    app.deploy(name="other-app")


def run(code: str, folder: Path) -> str:
    """Run the text of an example as a program, by ``nbfn run``."""
    program = folder / "example.py"
    program.write_text(f"import nbfn as modal\n\napp = modal.App()\n\n\n{code}", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "nbfn", "run", "-q", str(program)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- the examples --------------------------------------------------------------------------------


def test_keep_warm_on_a_function() -> None:
    f = modal.Function.from_name("my-app", "function")
    f.keep_warm(2)
    assert f.update_autoscaler().min_containers == 2
    f.keep_warm(0)


def test_keep_warm_on_a_parametrised_class() -> None:
    Model = modal.Cls.from_name("my-app", "Model")
    Model("fine-tuned-model").keep_warm(2)  # this applies to the class instance, not a method
    assert Model("fine-tuned-model").update_autoscaler().min_containers == 2
    assert Model("other").update_autoscaler().min_containers == 0
    assert Model("fine-tuned-model").named.remote() == "fine-tuned-model"
    Model("fine-tuned-model").keep_warm(0)


def test_from_name() -> None:
    f = modal.Function.from_name("other-app", "function")
    assert not f.is_hydrated
    assert f.remote(1) == 2


def test_lookup() -> None:
    f = modal.Function.lookup("other-app", "function")
    assert f.is_hydrated
    assert f.remote(1) == 2


def test_map(tmp_path: Path) -> None:
    code = """
@app.function()
def my_func(a):
    return a ** 2


@app.local_entrypoint()
def main():
    assert list(my_func.map([1, 2, 3, 4])) == [1, 4, 9, 16]
    print("held")
"""
    assert run(code, tmp_path) == "held\n"


def test_map_with_return_exceptions(tmp_path: Path) -> None:
    code = """
@app.function()
def my_func(a):
    if a == 2:
        raise Exception("ohno")
    return a ** 2


@app.local_entrypoint()
def main():
    print(list(my_func.map(range(3), return_exceptions=True)))
"""
    assert run(code, tmp_path) == "[0, 1, Exception('ohno')]\n"  # not wrapped, as in today's Modal


def test_starmap(tmp_path: Path) -> None:
    code = """
@app.function()
def my_func(a, b):
    return a + b


@app.local_entrypoint()
def main():
    assert list(my_func.starmap([(1, 2), (3, 4)])) == [3, 7]
    print("held")
"""
    assert run(code, tmp_path) == "held\n"


# --- the members ---------------------------------------------------------------------------------

#: Each member of the page, and parameters in the order the page has them.
MEMBERS: dict[str, list[str]] = {
    "hydrate": ["client"],
    "keep_warm": ["warm_pool_size"],
    "from_name": ["app_name", "name", "namespace", "environment_name"],
    "lookup": ["app_name", "name", "namespace", "client", "environment_name"],
    "remote": ["args", "kwargs"],
    "remote_gen": ["args", "kwargs"],
    "local": ["args", "kwargs"],
    "spawn": ["args", "kwargs"],
    "get_raw_f": [],
    "get_current_stats": [],
    "map": ["input_iterators", "kwargs", "order_outputs", "return_exceptions"],
    "starmap": ["input_iterator", "kwargs", "order_outputs", "return_exceptions"],
    "for_each": ["input_iterators", "kwargs", "ignore_exceptions"],
}


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_takes_what_the_page_says_in_that_order(member: str) -> None:
    static = inspect.getattr_static(modal.Function, member)
    declared: Any = getattr(static, "_method", None) or getattr(static, "_function", static)
    parameters = list(inspect.signature(getattr(declared, "__func__", declared)).parameters)
    ours = [name for name in parameters if name not in ("self", "cls")]
    wanted = MEMBERS[member]
    assert ours[: len(wanted)] == wanted


def test_it_is_generic() -> None:
    assert modal.Function[[int], int, int] is not None


def test_the_constructor_takes_anything_and_says_what_to_use() -> None:
    with pytest.raises(modal.exception.InvalidError, match=r"App|app\.function"):
        modal.Function(1, two=2)


def test_hydrate_returns_the_function_itself() -> None:
    f = modal.Function.from_name("my-app", "function")
    assert f.hydrate(None) is f
    assert f.object_id.startswith("fu-")


def test_web_url_is_a_property() -> None:
    assert isinstance(inspect.getattr_static(modal.Function, "web_url"), property)
    assert function.web_url is None


def test_remote_remote_gen_local_and_spawn() -> None:
    own = modal.App()

    @own.function()
    def items(upto: int) -> Any:
        yield from range(upto)

    assert function.remote(1) == function.local(1) == function.spawn(1).get(timeout=30) == 2
    assert list(items.remote_gen(3)) == [0, 1, 2]


def test_get_raw_f_is_the_inner_object() -> None:
    assert function.get_raw_f()(1) == 2


def test_get_current_stats_describes_queue_and_runners() -> None:
    stats = function.get_current_stats()
    assert (stats.backlog, stats.num_total_runners >= 0) == (0, True)


def test_results_come_as_they_are_completed_when_order_does_not_matter() -> None:
    assert sorted(function.map(range(5), order_outputs=False)) == [1, 2, 3, 4, 5]


def test_for_each_ignores_outputs_and_if_told_exceptions(tmp_path: Path) -> None:
    own = modal.App()

    @own.function()
    def touch(name: str) -> None:
        (tmp_path / name).touch()
        if name == "bad":
            raise ValueError(name)

    touch.for_each(["bad", "good"], ignore_exceptions=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good"]
    with pytest.raises(ValueError, match="bad"):
        touch.for_each(["bad"])
