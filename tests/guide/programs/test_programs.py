"""Each program of this folder, run as its user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_until

HERE = Path(__file__).parent


def run(*argv: object, **variables: object) -> str:
    """Run a command line to its end and return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, argv)],
        env=os.environ | {name: str(value) for name, value in variables.items()},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def nbfn(*argv: object, **variables: object) -> str:
    return run("-m", "nbfn", *argv, **variables)


def program(name: str, *argv: object, **variables: object) -> list[str]:
    """Run a program by ``nbfn run`` and return the lines it printed."""
    return nbfn("run", HERE / name, *argv, **variables).splitlines()


def test_hello_world() -> None:
    said = program("hello_world.py")
    assert "here: 1000000" in said
    assert "on a worker: 1000000" in said
    assert "on many: 285" in said
    assert {f"{'world' if n % 2 else 'hello'} {n}" for n in range(10)} <= set(said)


def test_generators() -> None:
    said = program("generators.py")
    assert "counted [3, 2, 1]" in said
    assert "spelt n-b-f-n" in said
    assert "left at 1000000" in said


def test_grid_search() -> None:
    said = program("grid_search.py", "--count", 10)
    assert "best: {'degree': 3, 'penalty': 0.0, 'scale': 2.0, 'loss': 0.0}" in said


def test_dynamic_batching() -> None:
    said = program("dynamic_batching.py")
    assert "lengths: [1, 2, 3, 4]" in said
    assert "largest batch: 4" in said
    assert "scores: [12, 34, 56]" in said


def test_web_endpoint() -> None:
    said = program("web_endpoint.py")
    assert "GET {'hello': 'ada'}" in said
    assert "POST 6" in said
    assert "PAGE <h1>Page 7</h1>" in said
    assert "WRONG 405" in said


def test_poll_a_delayed_result() -> None:
    said = program("poll_delayed_result.py")
    assert "accepted fc-" in said
    assert "had to wait: True" in said
    assert "result 6" in said


def test_job_queue() -> None:
    nbfn("deploy", HERE / "job_queue.py")
    first = run(HERE / "job_queue.py", "submit", 3, 4).strip()
    second = run(HERE / "job_queue.py", "submit", -3, 4).strip()
    assert run(HERE / "job_queue.py", "result", first) == "12\n"
    assert run(HERE / "job_queue.py", "result", second) == "failed: no root of -3\n"


def test_cron(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    assert "called as any other: hello\n" in run(HERE / "cron.py", DIARY=diary)
    nbfn("deploy", HERE / "cron.py", DIARY=diary)
    try:
        wait_until(lambda: diary.exists() and diary.read_text().count("tick") >= 2, 20)
    finally:
        nbfn("app", "stop", "guide-cron", "--yes")


def test_parametrised_class() -> None:
    said = program("parametrised_class.py")
    assert "de: Katze" in said
    assert "fr: CHAT" in said
    assert "many: ['Katze', 'Katze']" in said
    assert "here: Katze" in said
    assert "loaded once: True" in said
    assert "apart: True" in said


def test_parallel_map_with_retries(tmp_path: Path) -> None:
    said = program("parallel_map.py", "--folder", tmp_path, "--pages", 200)
    assert "pages: 200 failed: [\"ValueError('there is no page 13')\"]" in said
    assert "mended: 4" in said
    assert "raised: there is no page 13" in said
    assert "done" in said


def test_concurrent_async_function() -> None:
    said = program("concurrent_async.py")
    assert "20 half seconds in one worker took less than 5 s: True" in said
    assert "several at once: True" in said
    assert "gathered: 3" in said


def test_secrets() -> None:
    nbfn("secret", "create", "guide-token", "TOKEN=xyzzy")
    said = program("stored_secrets.py")
    assert "login: (5, 'here', 'fast')" in said
    assert "not here: True" in said
    assert "xyzzy" not in nbfn("secret", "list")


def test_call_graph() -> None:
    said = program("call_graph.py")
    assert "result: 6" in said
    assert "root: root SUCCESS" in said
    assert "under it: ['leaf', 'leaf', 'leaf']" in said


def test_modal_names() -> None:
    said = program("modal_names.py")
    assert '{"x": 3, "mode": "image"}' in said
    text = "\n".join(said)
    assert text.count("apt_install('ffmpeg')") == 1
    assert text.count("no-such-package") == 1
    assert "Option 'volumes' has no effect" in text
    assert "Option 'region' has no effect" in text


def test_every_program_is_run_here() -> None:
    text = Path(__file__).read_text("utf-8")
    programs = {path.name for path in HERE.glob("*.py")} - {"__init__.py", Path(__file__).name}
    assert {name for name in programs if f'"{name}"' not in text} == set()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the programs see warnings as a user does, whatever pytest was told."""
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
