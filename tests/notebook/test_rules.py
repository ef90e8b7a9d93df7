"""The page of rules: each row names tests that are there, or says that it has none yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import evidence

ROWS = [row for row in evidence.rows(Path(__file__).with_name("rules.md")) if row[0] != "Rule"]
#: What a rule without a test has in its place.
NONE = "not yet"
#: Characters by which a rule is known below.
HEAD = 60
#: The rules that have none.
OPEN: list[str] = [
    "NAME renames one `def`",
    "Imports and constants above a def run once in each worker",
    "`%%nbfn` is the same magic",
    "`--env` registers in an environment",
    "`--cpu --memory --gpu --warm --max --buffer --idle --concurr",
    "Variables in the line are not expanded",
    "A module beside the notebook counts as code: when its file c",
    "... with a last line that says where and at which attempt",
    "A map that is dropped unused warns",
    "`%remote connect URL` and `disconnect` choose a hub",
    "... spawned and `--bg` calls go on; what a cell waited for i",
    'Hub killed: "hub restarting" meanwhile; none lost, none coun',
    "Hub gone for long: `.remote` waits `connect_timeout`, then s",
    "Worker killed: the row says how, the peak, and the next atte",
    'Function redefined during a map: "running on v4, v5 exists",',
    "Nothing can run it: it says what it waits for, and stays que",
    "What no machine can hold is refused with numbers",
    "Another Python: an error that names both, nothing is sent",
    "Queue full: the submit is refused with numbers",
    "Disk full: the submit is refused with numbers, accepted work",
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_rule_names_tests_that_are_there(row: list[str]) -> None:
    _, tests = row
    assert evidence.missing(tests) == []
    assert tests == NONE or "::" in tests


def test_the_rules_without_a_test_are_these() -> None:
    assert [rule[:HEAD] for rule, tests in ROWS if tests == NONE] == OPEN
