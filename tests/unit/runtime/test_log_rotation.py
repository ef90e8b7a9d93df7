"""Logs of long-lived processes begin anew when they are large, whoever else writes to them."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbfn.runtime.log_rotation import LogFile
from tests.conftest import wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.log"


@pytest.fixture
def log(path: Path) -> Iterator[logging.Logger]:
    """Log to a file as a process does that has it as its standard error."""
    handler = LogFile(path, largest=1000)
    logger = logging.getLogger("of a test")
    logger.addHandler(handler)
    with path.open("a") as stream:
        handler.setStream(stream)
        yield logger
    logger.removeHandler(handler)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_large_log_begins_anew_and_what_was_before_is_beside_it(
    path: Path, log: logging.Logger
) -> None:
    for number in range(150):
        log.warning("line %d", number)
        assert path.stat().st_size <= 1000
    aside = path.with_name("hub.log.1")
    last = lines(aside) + lines(path)
    assert last == [f"line {number}" for number in range(150 - len(last), 150)]
    assert len(last) > 100
    assert sorted(path.parent.iterdir()) == [path, aside]


def test_a_process_that_shares_it_goes_on_at_its_new_end(path: Path, log: logging.Logger) -> None:
    with path.open("a") as shared:
        echo = subprocess.Popen(
            [sys.executable, "-c", "import sys\nfor line in sys.stdin: sys.stderr.write(line)"],
            stdin=subprocess.PIPE,
            stderr=shared,
            text=True,
            bufsize=1,
        )
    with echo:
        assert echo.stdin is not None
        echo.stdin.write("before\n")
        wait_until(lambda: lines(path) == ["before"])
        log.warning("x" * 1000)
        assert lines(path) == []
        echo.stdin.write("after\n")
        wait_until(lambda: lines(path) == ["after"])


def test_a_file_that_is_none_of_ours_is_left_alone(
    path: Path, log: logging.Logger, tmp_path: Path
) -> None:
    path.rename(tmp_path / "elsewhere.log")
    path.touch()
    log.warning("x" * 2000)
    assert (tmp_path / "elsewhere.log").stat().st_size == 2001
    path.unlink()
    log.warning("and this")


def test_where_no_copy_can_be_made_it_begins_anew_all_the_same(
    path: Path, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    log.warning("x" * 2000)
    log.warning("it goes on")
    assert lines(path) == ["it goes on"]
