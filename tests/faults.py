"""``python -m tests.faults [P1 F9 S ...]``: run the test of each guarantee and print what was observed.

The rows are those of the tables in ``docs/guarantees.md``. Names select rows, single letters whole tables. The exit
code is 1 if a row does not pass.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import evidence

PAGE = evidence.ROOT / "docs" / "guarantees.md"
#: Characters of the column that says what is expected.
WIDTH = 78

_ANCHOR = re.compile(r'<a id="\w+"></a>')
_MARKUP = re.compile(r"\*\*|`")


@dataclass(slots=True)
class Guarantee:
    """One row of the page.

    Attributes:
        name: Such as P4, F9 or S1.
        text: What happens, for a failure or a threat with what it is about.
        tests: The node ids of its tests.
        seconds: How long they took, set-up included.
        outcomes: What pytest said of each phase of them that did not pass.
    """

    name: str
    text: str
    tests: list[str]
    seconds: float = 0.0
    outcomes: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return the row as it is printed."""
        observed = ", ".join(self.outcomes) or "passed"
        shown = self.text if len(self.text) <= WIDTH else f"{self.text[: WIDTH - 1]}…"
        return f"{self.name:4} {shown:{WIDTH}}  {observed:8} {self.seconds:6.1f} s"


def guarantees(page: Path = PAGE) -> Iterator[Guarantee]:
    """Yield the rows of the page's tables."""
    for cells in evidence.rows(page):
        name = _ANCHOR.sub("", cells[0]).strip()
        if re.fullmatch(r"[PFS]\d+", name):
            text = " → ".join(_MARKUP.sub("", cell).strip() for cell in cells[1:-1])
            yield Guarantee(name, text, evidence.named(cells[-1]))


def selected(rows: Sequence[Guarantee], names: Sequence[str]) -> list[Guarantee]:
    """Return the rows of these names, all when none is given.

    Raises:
        SystemExit: If there is no row of a name.
    """
    unknown = [name for name in names if not any(_is_of(row, name) for row in rows)]
    if unknown:
        raise SystemExit(f"{PAGE.name} has no row {', '.join(unknown)}.")
    return [row for row in rows if not names or any(_is_of(row, name) for name in names)]


def _is_of(row: Guarantee, name: str) -> bool:
    return row.name == name or (len(name) == 1 and row.name.startswith(name))


class Recorder:
    """A pytest plugin that adds up the outcomes and durations of the tests of each row."""

    def __init__(self, rows: Sequence[Guarantee]) -> None:
        self._rows: dict[str, list[Guarantee]] = defaultdict(list)
        for row in rows:
            for test in row.tests:
                self._rows[test].append(row)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the phase of a test: a parametrized one, and those of a class, belong to what the page names."""
        named = re.sub(r"\[.*\]$", "", report.nodeid)
        while named and named not in self._rows:
            named = named.rpartition("::")[0]
        for row in self._rows.get(named, ()):
            row.seconds += report.duration
            if not report.passed:
                why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
                row.outcomes.append(f"{report.outcome}{f' ({why})' if why else ''}")


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="ROW", help="such as P4, F9, S1, or F for all of them"
    )
    rows = selected(list(guarantees()), parser.parse_args().names)
    tests = list(dict.fromkeys(test for row in rows for test in row.tests))
    began = time.monotonic()
    pytest.main(["-q", "-rN", "--no-header", *tests], plugins=[Recorder(rows)])
    for row in rows:
        if not row.tests or not row.seconds:
            row.outcomes.append("not run")
        print(row.line())
    bad = [row.name for row in rows if any(not said.startswith("skipped") for said in row.outcomes)]
    print(
        f"\n{len(rows)} rows, {len(tests)} tests, {time.monotonic() - began:.0f} s. "
        + (f"Not passed: {', '.join(bad)}." if bad else "Every row passes.")
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
