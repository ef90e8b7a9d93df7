"""Pages whose tables name the test of each row: that the tests are there."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


@functools.cache
def tests_in(path: Path) -> frozenset[str]:
    """Return the names of the tests that a file defines, those of its classes as well."""
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.startswith("Test")
    }
    return frozenset(defined | assigned)


def rows(page: Path) -> list[list[str]]:
    """Return the cells of all rows of a page's tables, without those that rule the heads off."""
    lines = re.findall(r"^\| (.+) \|$", page.read_text("utf-8"), re.M)
    return [re.split(r" (?<!\\)\| ", line) for line in lines]


def named(text: str) -> list[str]:
    """Return the tests that a text names, as ``path::name`` in backquotes."""
    return re.findall(r"`([^`]+::[^`]+)`", text)


def missing(tests: str, folder: Path = ROOT) -> list[str]:
    """Return which of the tests that a cell names, as ``path::name``, are not there."""
    parts = [(name, *name.partition("::")[::2]) for name in named(tests)]
    return [name for name, path, test in parts if test not in tests_in(folder / path)]
