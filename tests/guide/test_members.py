"""Tests that the page of members has a row for each public name, and that each row names an existing test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import nbfn
from tests import evidence

HERE = Path(__file__).parent
ROWS = re.findall(
    r"^\| (`.+?) \| (.+) \| `(.+)` \|$", (HERE / "members.md").read_text("utf-8"), re.M
)
NAMES = {name for names, *_ in ROWS for name in re.findall(r"`([^`]+)`", names)}


def public(kind: Any) -> set[str]:
    return {f"{kind.__name__}.{name}" for name in dir(kind) if not name.startswith("_")}


def test_every_name_of_the_module_has_a_row() -> None:
    assert set(nbfn.__all__) - NAMES - {"__version__"} == {"Function", "FunctionCall"}


@pytest.mark.parametrize("kind", [nbfn.App, nbfn.Cls, nbfn.Function, nbfn.FunctionCall])
def test_every_public_member_has_a_row(kind: Any) -> None:
    assert public(kind) - NAMES == set()


@pytest.mark.parametrize("kind", [nbfn.App, nbfn.Cls, nbfn.Function, nbfn.FunctionCall])
def test_every_member_that_has_a_row_is_there(kind: Any) -> None:
    gone = {"FunctionCall.get_gen"}
    named = {name for name in NAMES if re.fullmatch(rf"{kind.__name__}\.\w+", name)}
    there = public(kind) | {f"App.{name}" for name in vars(nbfn.App())}
    assert named - gone - there == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_names_a_test_that_is_there(row: tuple[str, str, str]) -> None:
    assert evidence.missing(f"`{row[2]}`", HERE) == []
