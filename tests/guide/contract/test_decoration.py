"""Tests of the errors and warnings of `@app.function` (docs/function-api.md#decoration)."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nbfn as modal
from nbfn.declarations import options
from nbfn.exception import InvalidError


@pytest.fixture
def app() -> modal.App:
    return modal.App("contract-4-1")


def noop() -> None: ...


# --- forms of the decorator ----------------------------------------------------------------------


def test_forgotten_parentheses_are_told(app: modal.App) -> None:
    with pytest.raises(InvalidError, match=r"forget parentheses.*@app\.function\(\) above 'noop'"):
        app.function(noop)


def test_a_positional_image_is_refused(app: modal.App) -> None:
    with pytest.raises(InvalidError, match=r"keywords.*image="):
        app.function(object())


def test_a_class_is_a_type_error(app: modal.App) -> None:
    with pytest.raises(TypeError, match="'Model'"):

        @app.function()
        class Model: ...


def test_a_method_is_refused(app: modal.App) -> None:
    with pytest.raises(InvalidError, match=r"method 'Model\.predict'"):

        class Model:
            @app.function()
            def predict(self) -> None: ...


def test_what_is_a_function_already_is_refused(app: modal.App) -> None:
    once = app.function()(noop)
    with pytest.raises(InvalidError, match="decorate it once"):
        app.function()(once)  # type: ignore[call-overload]


def test_what_cannot_be_called_is_a_type_error(app: modal.App) -> None:
    with pytest.raises(TypeError, match="'int' objects"):
        app.function()(3)  # type: ignore[call-overload]


def test_a_function_need_not_be_global(app: modal.App) -> None:
    offset = 10

    @app.function()
    def shifted(x: int) -> int:
        return x + offset

    assert shifted.remote(1) == 11


def test_serialized_is_what_every_function_is(app: modal.App) -> None:
    assert app.function(serialized=True, name="s")(lambda x: x + 1).remote(1) == 2


# --- names ---------------------------------------------------------------------------------------


def test_a_lambda_needs_a_name(app: modal.App) -> None:
    with pytest.raises(InvalidError, match=r"'<lambda>' cannot be a Function's name.*name='"):
        app.function()(lambda: 1)
    assert app.function(name="one")(lambda: 1).remote() == 1


@pytest.mark.parametrize("name", ["", "a b", "a/b", "🎉", "x" * 65, 3])
def test_a_name_has_letters_digits_and_little_else(app: modal.App, name: Any) -> None:
    with pytest.raises(InvalidError):
        app.function(name=name)(noop)


def test_a_name_may_have_dashes_dots_and_64_characters(app: modal.App) -> None:
    for name in ("a-b_c.d", "x" * 64):
        assert app.function(name=name)(noop).tag == name


def test_a_second_function_of_that_name_replaces_and_warns_of_both(app: modal.App) -> None:
    app.function(name="same")(noop)

    def other() -> int:
        return 2

    with pytest.warns(UserWarning, match=r"'same'.*test_decoration\.noop.*<locals>\.other"):
        second = app.function(name="same")(other)
    assert app.registered_functions["same"] is second
    assert second.remote() == 2


def test_in_a_notebook_a_cell_that_is_run_again_replaces_silently() -> None:
    code = """
import warnings
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
warnings.simplefilter("error")
shell.run_cell("import nbfn as modal; app = modal.App()").raise_error()
for body in (1, 2):
    shell.run_cell(f"@app.function()\\ndef f(): return {body}").raise_error()
print(shell.user_ns["f"].local())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "2\n", done.stderr


# --- options that do not fit the function --------------------------------------------------------


def test_a_generator_cannot_have_retries(app: modal.App) -> None:
    def items() -> Iterator[int]:
        yield 1

    with pytest.raises(InvalidError, match="Generator function 'items' cannot have retries"):
        app.function(retries=1)(items)
    with pytest.raises(InvalidError, match="Generator function 'noop' cannot have retries"):
        app.function(retries=1, is_generator=True)(noop)
    app.function(retries=1, is_generator=False)(items)


@pytest.mark.parametrize("wrong", ["3", 1.5, -1, [1]])
def test_retries_are_a_number_or_retries(app: modal.App, wrong: Any) -> None:
    with pytest.raises(InvalidError, match="retries"):
        app.function(retries=wrong)


def test_a_schedule_needs_a_function_that_can_be_called_without_arguments(app: modal.App) -> None:
    def needs(a: int, b: int = 1, *, c: int) -> None: ...

    def fine(b: int = 1, *more: int, **others: int) -> None: ...

    with pytest.raises(InvalidError, match=r"schedule.*'a', 'c'"):
        app.function(schedule=modal.Period(hours=1))(needs)
    app.function(schedule=modal.Cron("0 9 * * *"))(fine)
    with pytest.raises(InvalidError, match="schedule"):
        app.function(schedule="0 9 * * *")


def test_a_batched_function_returns_a_list_and_has_no_defaults(app: modal.App) -> None:
    with pytest.raises(InvalidError, match="yields"):

        @app.function()
        @modal.batched(max_batch_size=2, wait_ms=1)
        def items(xs: list[int]) -> Iterator[int]:  # type: ignore[misc]
            yield from xs

    with pytest.raises(InvalidError, match="default"):

        @app.function()
        @modal.batched(max_batch_size=2, wait_ms=1)
        def doubled(xs: list[int], by: tuple[int, ...] = ()) -> list[int]:
            return xs


# --- options with a wrong value ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"min_containers": 3, "max_containers": 2}, "above"),
        ({"keep_warm": 3, "concurrency_limit": 2}, "above"),
        ({"min_containers": "1"}, "whole number"),
        ({"min_containers": -1}, "0 or more"),
        ({"max_containers": 0}, "1 or more"),
        ({"buffer_containers": True}, "whole number"),
        ({"scaledown_window": 0}, "> 0"),
        ({"container_idle_timeout": -1}, "> 0"),
        ({"scaledown_window": 1201}, "1200"),
        ({"timeout": None}, "timeout is None"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": 86401}, "a day"),
        ({"cpu": (2, 1)}, "limit is below"),
        ({"memory": (512, 256)}, "limit is below"),
        ({"memory": "1G"}, "memory"),
        ({"gpu": []}, "empty list"),
        ({"gpu": 3}, "gpu is 3"),
        ({"max_inputs": 2}, "only 1"),
        ({"env": {"A": 1}}, "must be a string"),
        ({"secrets": ["token"]}, "Secret"),
        (
            {"volumes": dict.fromkeys(("/a", "/b"), modal.Volume.from_name("v"))},
            "same Volume at two paths",
        ),
        ({"volumes": ["/a"]}, "dict from paths"),
    ],
)
def test_a_wrong_value_is_refused_by_name(app: modal.App, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        app.function(**wrong)


@pytest.mark.filterwarnings("ignore:nbfn counts GPUs")
def test_kinds_of_gpu_are_not_judged_here(app: modal.App) -> None:
    for number, (gpu, kind, count) in enumerate(
        (
            ("A100", "A100", 1),
            ("H100:2", "H100", 2),
            ("any", "any", 1),
            (["H100", "A100:2"], "H100|A100", 1),
            ("not-made-yet", "not-made-yet", 1),
        )
    ):
        needs = app.function(gpu=gpu, name=f"f{number}")(print).spec.resources
        assert (needs.gpu, needs.gpus) == (kind, count)


def test_an_unknown_option_names_the_nearest(app: modal.App) -> None:
    with pytest.raises(InvalidError, match="Did you mean 'max_containers'"):
        app.function(max_container=2)
    with pytest.raises(InvalidError, match="Options are: name, timeout"):
        app.function(zzz=1)


# --- older names, and options of Modal's cloud ---------------------------------------------------


def test_names_of_both_generations_are_understood_without_a_word(app: modal.App) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        old = app.function(
            name="old",
            keep_warm=1,
            concurrency_limit=3,
            container_idle_timeout=40,
            _experimental_buffer_containers=2,
            allow_concurrent_inputs=5,
        )(noop)
        new = app.function(
            name="new",
            min_containers=1,
            max_containers=3,
            scaledown_window=40,
            buffer_containers=2,
        )(noop)
    for name in ("min_containers", "max_containers", "scaledown_window", "buffer_containers"):
        assert getattr(old.spec, name) == getattr(new.spec, name)
    assert old.spec.concurrency is not None
    assert old.spec.concurrency.max_inputs == 5


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("region", "us-east", "this machine"),
        ("cloud", "aws", "this machine"),
        ("proxy", modal.Proxy.from_name("p"), "network"),
        ("volumes", {"/data": modal.Volume.from_name("v")}, "files"),
        ("mounts", [modal.Mount.from_local_dir(".")], "environment"),
        ("ephemeral_disk", 1024, "files"),
        ("enable_memory_snapshot", True, "forked"),
        ("experimental_options", {"x": 1}, "no meaning"),
        ("checkpointing_enabled", True, "forked"),
    ],
)
def test_a_name_of_the_cloud_says_once_what_happens_instead(
    app: modal.App, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, instead: str
) -> None:
    monkeypatch.setattr(options, "_warned", set())
    with pytest.warns(UserWarning, match=f"{name!r} has no effect in nbfn.*{instead}"):
        app.function(**{name: value})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app.function(**{name: value})


def test_the_warning_points_at_the_program(app: modal.App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_warned", set())
    with pytest.warns(UserWarning, match="region") as caught:
        app.function(region="us-east")
    assert Path(caught[0].filename) == Path(__file__)


def test_the_variables_of_an_image_reach_the_worker_and_everything_else_wins_over_them(
    app: modal.App,
) -> None:
    image = modal.Image.debian_slim().env({"FROM_IMAGE": "1", "COLOR": "image", "SHAPE": "image"})
    secret = modal.Secret.from_dict({"COLOR": "secret", "SHAPE": "secret"})

    @app.function(image=image, secrets=[secret], env={"SHAPE": "env"})
    def seen() -> list[str | None]:
        return [os.environ.get(name) for name in ("FROM_IMAGE", "COLOR", "SHAPE")]

    assert seen.remote() == ["1", "secret", "env"]


def test_what_decorates_methods_is_refused_on_a_function() -> None:
    app = modal.App()
    for name, decorator in {
        "enter": modal.enter(),
        "exit": modal.exit(),
        "method": modal.method(),
    }.items():
        with pytest.raises(InvalidError, match=rf"@nbfn.{name}\(\) decorates methods of a class"):

            @app.function()
            @decorator
            def plain() -> int:
                return 1


def test_a_function_that_is_defined_twice_is_named_with_both_places() -> None:
    app = modal.App()

    def define() -> None:
        @app.function()
        def same() -> int:
            return 1

    define()
    with pytest.warns(UserWarning, match=r"defined twice, at test_decoration.py:\d+ and test_"):
        define()
