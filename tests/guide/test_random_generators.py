"""Tests that a captured random generator causes a warning, and that those of modules differ in each worker."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbfn
from tests import program

app = nbfn.App("generators")
RNG = np.random.default_rng(1)


class Model:
    def __init__(self) -> None:
        self.generator = np.random.default_rng(2)


class Simulation:
    generator = random.Random(3)


MODEL, DRAWS, OLD, DRAW = Model(), [random.Random(4)], np.random.RandomState(5), RNG.normal


def helper() -> Any:
    return RNG.integers(1000)


def by_global() -> Any:
    return RNG.integers(1000)


def by_helper() -> Any:
    return helper()


def by_method() -> Any:
    return DRAW()


def by_attribute() -> Any:
    return MODEL.generator.integers(1000)


def by_class() -> Any:
    return Simulation.generator.random()


def by_list() -> Any:
    return DRAWS[0].random()


def by_state() -> Any:
    return OLD.randint(1000)


def by_default(rng: Any = np.random.default_rng(6)) -> Any:  # noqa: B008 - what the test is about
    return rng.integers(1000)


def by_closure() -> Any:
    rng = np.random.default_rng(7)
    return lambda: rng.integers(1000)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (by_global, "RNG"),
        (by_helper, "RNG"),
        (by_method, "DRAW.__self__"),
        (by_attribute, "MODEL.generator"),
        (by_class, "Simulation.generator"),
        (by_list, "DRAWS[0]"),
        (by_state, "OLD"),
        (by_default, "rng"),
        (by_closure(), "rng"),
    ],
)
def test_a_function_that_takes_a_generator_along_warns_once(function: Any, name: str) -> None:
    called = app.function(name=f"draws_{function.__name__.strip('<>')}")(function)
    said = f"takes the random generator {name!r} along: every worker begins with a copy of it"
    with pytest.warns(UserWarning, match=said.replace("[", r"\[")) as told:
        called.remote()
    assert "numpy.random.SeedSequence(1).spawn(n)" in str(told[0].message)
    assert told[0].filename == __file__
    with warnings.catch_warnings(record=True) as more:
        warnings.simplefilter("always")
        called.remote()
    assert more == []


def test_a_class_with_one_warns() -> None:
    @app.cls()
    class Drawing:
        rng = np.random.default_rng(8)

        @nbfn.method()
        def draw(self) -> float:
            return float(self.rng.random())

    with pytest.warns(UserWarning, match=r"takes the random generator 'Drawing\.rng' along"):
        Drawing().draw.remote()


def test_one_in_the_keyword_arguments_of_a_map_warns_and_draws_the_same_for_each() -> None:
    @app.function()
    def draw(_x: int, rng: Any) -> int:
        return int(rng.integers(10**9))

    kwargs = {"rng": np.random.default_rng(9)}
    with pytest.warns(UserWarning, match="is mapped with the random generator 'rng' in kwargs"):
        found = list(draw.map([1, 2], kwargs=kwargs))
    assert found[0] == found[1]


def test_what_the_warning_says_to_do_draws_other_numbers_and_does_not_warn() -> None:
    @app.function(name="seeded")
    def draw(seed: Any) -> int:
        return int(np.random.default_rng(seed).integers(10**9))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(draw.map(np.random.SeedSequence(1).spawn(4)))
    assert len(set(found)) == 4
    assert found == list(draw.map(np.random.SeedSequence(1).spawn(4)))


def test_workers_draw_other_numbers_from_modules_however_they_are_imported(
    hub_home: Path, tmp_path: Path
) -> None:
    text = """
        import random, secrets
        import numpy as np
        from random import Random, SystemRandom, choice, random as draw
        from numpy.random import normal, rand
        from secrets import randbelow
        system = SystemRandom()

        @app.function(single_use_containers=True)
        def drawn(_x):
            return (
                random.random(), np.random.rand(), draw(), choice(range(10**9)), rand(), normal(), system.random(),
                randbelow(10**9), random.getrandbits(64),
            )
        @app.function()
        def itself(): return draw.__self__ is random._inst
        CHECKS = {"drawn": lambda: [len(set(numbers)) for numbers in zip(*drawn.map(range(4)))],
            "itself": itself.remote}
    """
    ended = program.run(tmp_path, text)
    assert ended.told == {"drawn": str([4] * 9), "itself": "True"}
    assert "random generator" not in ended.err
