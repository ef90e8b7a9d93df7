"""Each row of the list of rules names existing tests, or says that there is none yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import evidence

ROWS = [row for row in evidence.rows(Path(__file__).with_name("rules.md")) if row[0] != "Rule"]
#: The text of a rule without a test.
NONE = "not yet"
#: Number of characters that identify a rule below.
HEAD = 60
#: The rules without a test.
OPEN: list[str] = []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_rule_names_tests_that_are_there(row: list[str]) -> None:
    _, tests = row
    assert evidence.missing(tests) == []
    assert tests == NONE or "::" in tests


def test_the_rules_without_a_test_are_these() -> None:
    assert [rule[:HEAD] for rule, tests in ROWS if tests == NONE] == OPEN
