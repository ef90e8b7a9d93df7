"""The examples in the docstrings of public names are true."""

from __future__ import annotations

import doctest
import sys
from typing import Any

import pytest

import nbfn

FINDER = doctest.DocTestFinder(exclude_empty=True)


def examples(name: str) -> list[doctest.DocTest]:
    """Return the examples of a public name, and those of its members where it is a class."""
    value: Any = getattr(nbfn, name)
    if not isinstance(value, type) and not callable(value):
        return []
    home = sys.modules[f"nbfn.{nbfn._HOMES[name]}"]
    return FINDER.find(value, name, module=False, globs={**vars(home), "nbfn": nbfn})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(nbfn._HOMES))
@pytest.mark.filterwarnings("ignore:Function .* is replaced")
def test_the_examples_of(name: str) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    for example in examples(name):
        runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_there_are_some() -> None:
    found = sum(len(case.examples) for name in nbfn._HOMES for case in examples(name))
    assert found >= 15
