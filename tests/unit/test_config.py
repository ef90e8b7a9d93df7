"""Settings: where they come from, and what happens when one cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbfn import config
from nbfn.config import Settings
from nbfn.exception import InvalidError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBFN_HOME", str(tmp_path))
    return tmp_path


def test_the_environment_wins_over_the_file_and_arguments_over_both(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "nbfn.toml").write_text("max_workers = 3\nidle_exit = 7\nlease = 1.5\nprogress = false")
    monkeypatch.setenv("NBFN_MAX_WORKERS", "4")
    settings = Settings.load(lease=2.5)
    assert (settings.max_workers, settings.idle_exit, settings.lease) == (4, 7.0, 2.5)
    assert type(settings.idle_exit) is float
    assert settings.progress is False
    assert settings.connect_timeout == Settings().connect_timeout


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", True),
        ("TRUE", True),
        ("yes", True),
        ("On", True),
        ("0", False),
        ("no", False),
        ("off ", False),
    ],
)
def test_words_for_true_and_false(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: bool
) -> None:
    monkeypatch.setenv("NBFN_PROGRESS", text)
    assert Settings.load().progress is value


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("max_workers", "many", "a whole number"),
        ("max_workers", "1.5", "a whole number"),
        ("idle_exit", "5 s", "a number"),
        ("launcher", "thread", "'forkserver' or 'subprocess'"),
        ("progress", "maybe", "true or false (also 1, 0, yes, no, on, off)"),
    ],
)
def test_an_unreadable_variable_is_named_with_what_is_allowed(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, allowed: str
) -> None:
    monkeypatch.setenv(f"NBFN_{name.upper()}", text)
    with pytest.raises(InvalidError) as caught:
        Settings.load()
    assert (
        str(caught.value)
        == f"Setting {name!r} in NBFN_{name.upper()} is {text!r}; it must be {allowed}."
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("max_workers = [1]", "is [1]; it must be a whole number."),
        ("max_workers = true", "is True; it must be a whole number."),
        ("environment = 5", "is 5; it must be text."),
        ("max_worker = 1", "Unknown setting 'max_worker' in "),
        ("max_workers = ", "is not valid TOML"),
    ],
)
def test_an_unreadable_file_is_named(home: Path, line: str, says: str) -> None:
    (home / "nbfn.toml").write_text(line)
    with pytest.raises(InvalidError) as caught:
        Settings.load()
    assert says in str(caught.value)
    assert str(home / "nbfn.toml") in str(caught.value)


@pytest.mark.parametrize(("safe", "launcher"), [(True, "forkserver"), (False, "subprocess")])
def test_workers_are_forked_where_that_is_safe(
    home: Path, safe: bool, launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NBFN_LAUNCHER", raising=False)
    monkeypatch.setattr(config, "FORK_IS_SAFE", safe)
    assert Settings.load().worker_launcher == launcher


def test_a_launcher_is_chosen_by_variable_or_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NBFN_LAUNCHER", raising=False)
    (home / "nbfn.toml").write_text('launcher = "subprocess"')
    assert Settings.load().worker_launcher == "subprocess"
    monkeypatch.setenv("NBFN_LAUNCHER", "forkserver")
    assert Settings.load().worker_launcher == "forkserver"


def test_forks_where_they_are_not_safe_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "FORK_IS_SAFE", False)
    with pytest.raises(InvalidError, match="needs Linux. Set it to 'subprocess'"):
        _ = Settings(launcher="forkserver").worker_launcher
