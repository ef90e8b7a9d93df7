"""The pages of ``docs/``: what code and tests cite is there, and so are the tests and pages that they name."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import evidence, faults

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
#: A page with a heading of it, or with entries of its tables (`docs/guarantees.md`, P1 and F22).
CITED = re.compile(r"docs/([\w-]+\.md)(?:#([\w-]+))?((?:,? (?:and )?[PFS]\d+\b)*)")


def anchors(page: Path) -> set[str]:
    """Return what can be cited of a page: its headings, as GitHub names them, and the entries of its tables."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)
    return {*slugs, *re.findall(r'<a id="(\w+)"></a>', text)}


@functools.cache
def sources() -> list[tuple[Path, str]]:
    """Return the files of the repository that may cite a page, and their text."""
    found = []
    for folder in ("nbfn", "kernel", "tests", "labextension/src"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".ts", ".tsx", ".md"} and "node_modules" not in path.parts:
                found.append(path)
    for name in ("README.md", "CONTRIBUTING.md"):
        found.append(ROOT / name)
    return [(path, " ".join(path.read_text("utf-8").split())) for path in found]


def test_what_is_cited_is_there() -> None:
    known = {page.name: anchors(page) for page in PAGES}
    missing, found = [], 0
    for path, text in sources():
        for name, heading, entries in CITED.findall(text):
            cited = {*re.findall(r"[PFS]\d+", entries), *([heading] if heading else [])}
            found += len(cited)
            if lost := cited - known.get(name, set()) or name not in known:
                missing.append((str(path.relative_to(ROOT)), name, lost))
    assert missing == []
    assert found > 50, "what is cited is found at all"


def test_what_names_of_tests_cite_is_there() -> None:
    entries = anchors(ROOT / "docs" / "guarantees.md")
    named = {
        found[1].upper()
        for path in (ROOT / "tests" / "system").glob("test_*.py")
        for test in evidence.tests_in(path)
        if (found := re.match(r"test_([pfs]\d+)_", test))
    }
    assert named - entries == set()
    assert len(named) > 20


def test_make_faults_has_a_row_with_a_test_for_each_guarantee() -> None:
    rows = list(faults.guarantees())
    assert {row.name for row in rows} == {
        name for name in anchors(ROOT / "docs" / "guarantees.md") if re.fullmatch(r"[PFS]\d+", name)
    }
    assert [row.name for row in rows if not row.tests] == []
    assert [row.name for row in faults.selected(rows, ["P", "F9"])] == [
        *(f"P{n}" for n in range(1, 11)),
        "F9",
    ]


def test_pytest_finds_the_tests_that_make_faults_runs() -> None:
    tests = [test for row in faults.guarantees() for test in row.tests]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [*command, *tests], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]


def test_nothing_is_cited_that_is_not_in_the_repository() -> None:
    private = re.compile(r"\bpromises\.md|\b[Ss]ections? \d|\b[Cc]ontract \d|\(promises? [A-Z]")
    assert [path for path, text in sources() if private.search(text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    assert evidence.missing(" ".join(re.findall(r"`tests/[^`]+::[^`]+`", text))) == []
    guides = {path.name for path in (ROOT / "tests/guide/contract").glob("test_*.py")}
    named = set(re.findall(r"`(?:tests/[\w/]+/)?(test_\w+\.py)`", text))
    others = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert named - guides - others == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#\s]+)(?:#([\w-]+))?\)", page.read_text("utf-8")):
        path = page.parent / target
        assert path.exists(), target
        assert not heading or heading in anchors(path), f"{target}#{heading}"


def test_every_file_of_the_guide_has_a_place_in_the_api() -> None:
    text = (ROOT / "docs" / "function-api.md").read_text("utf-8")
    guides = {path.name for path in (ROOT / "tests/guide/contract").glob("test_*.py")}
    named = set(re.findall(r"`(test_\w+\.py)`", text))
    assert guides - named == set()
