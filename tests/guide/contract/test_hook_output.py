"""Tests that the output of hooks is shown in order and stored, also if a hook raises or ends the process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import nbfn
from nbfn import cli
from nbfn.exception import WorkerCrashed
from tests.conftest import wait_until

PROGRAM = """
import os, sys
import nbfn

app = nbfn.App("hooked")

@app.cls()
class Model:
    how: str = nbfn.parameter(default="")

    @nbfn.enter()
    def load(self):
        print("loading")
        print("warning", file=sys.stderr)
        os.system("echo child")
        print("loaded")
        if self.how == "raise":
            raise ValueError("no weights")

    @nbfn.method()
    def predict(self, x):
        print("predicting")
        return x

    @nbfn.exit()
    def close(self):
        print("closing")
        os.system("echo child closes")

@app.local_entrypoint()
def main(how: str = ""):
    Model(how=how).predict.remote(1)
"""


def lines(function: nbfn.Function[..., object, object] | nbfn.App, source: str = "stdout") -> str:
    return "".join(entry.message for entry in function.logs.fetch(source=source))  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["", "raise"])
def test_nbfn_run_shows_all_of_it_in_order(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    program = tmp_path / "hooked.py"
    program.write_text(PROGRAM)
    code = cli.main(["run", str(program), "--how", how])
    out, err = capfd.readouterr()
    method = [] if how else ["predicting"]
    assert out.splitlines() == [
        "loading",
        "child",
        "loaded",
        *method,
        "closing",
        "child closes",
    ]
    assert "warning\n" in err
    assert (code != 0) == bool(how)
    assert ("ValueError: no weights" in err) == bool(how)
    assert err.find("warning") < (err.find("ValueError") if how else len(err))


def test_each_call_that_waits_is_shown_what_loading_writes_while_it_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    app = nbfn.App("slow-loader")

    @app.cls(max_containers=1)
    class Slow:
        @nbfn.enter()
        def load(self) -> None:
            print("loading", flush=True)
            while not (tmp_path / "go").exists():
                time.sleep(0.005)

        @nbfn.method()
        def which(self) -> int:
            return os.getpid()

    seen = ""

    def is_shown_twice() -> bool:
        nonlocal seen
        seen += capfd.readouterr().out
        return seen.count("loading\n") == 2

    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(Slow().which.remote) for _ in range(2)]  # type: ignore[attr-defined]
        try:
            wait_until(is_shown_twice)
        finally:
            (tmp_path / "go").touch()
        assert calls[0].result() == calls[1].result()
    assert "loading" not in capfd.readouterr().out
    assert lines(app) == "loading\n"


def test_what_a_warm_worker_wrote_is_logged_at_once_and_shown_to_its_first_call(
    capfd: pytest.CaptureFixture[str],
) -> None:
    app = nbfn.App("warm")

    @app.cls(min_containers=1, max_containers=1)
    class Warm:
        @nbfn.enter()
        def load(self) -> None:
            print("warmed up")

        @nbfn.method()
        def work(self) -> None:
            print("working")

    warm = Warm()
    warm.keep_warm(1)  # type: ignore[attr-defined]
    wait_until(lambda: lines(app) == "warmed up\n")
    assert capfd.readouterr().out == ""
    warm.work.remote()  # type: ignore[attr-defined]
    warm.work.remote()  # type: ignore[attr-defined]
    assert capfd.readouterr().out == "warmed up\nworking\nworking\n"


def test_imports_of_a_function_are_heard_as_well(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noisy_module_of_mine.py").write_text("print('importing')\nvalue = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    @nbfn.App("noisy").function()
    def use() -> int:
        import noisy_module_of_mine  # type: ignore[import-not-found]

        return noisy_module_of_mine.value  # type: ignore[no-any-return]

    assert use.remote() == 3
    assert capfd.readouterr().out == "importing\n"


def test_a_process_that_ends_in_an_enter_hook_is_told_with_what_it_wrote(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    app = nbfn.App("crash-loop")

    @app.cls()
    class Dies:
        @nbfn.enter()
        def load(self) -> None:
            with (tmp_path / "starts").open("a") as file:
                file.write("one\n")
            print("loading", flush=True)
            print("cannot go on", file=sys.stderr, flush=True)
            os._exit(9)

        @nbfn.method()
        def work(self) -> None: ...

    began = time.monotonic()
    with pytest.raises(
        WorkerCrashed, match="5 workers in a row ended while loading 'Dies'"
    ) as caught:
        Dies().work.remote()  # type: ignore[attr-defined]
    assert time.monotonic() - began > 14, "1, 2, 4 and 8 seconds between them"
    assert (caught.value.exit_code, caught.value.stderr) == (9, "cannot go on")
    assert (tmp_path / "starts").read_text().count("one") == 5
    out, err = capfd.readouterr()
    assert out == "loading\n" * 5
    assert "A worker ended while loading 'Dies' (exit code 9); the next one starts in 8 s." in err
    assert lines(app) == "loading\n" * 5


def test_a_background_thread_of_an_enter_hook_is_in_the_logs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    app = nbfn.App("background")

    @app.cls()
    class Background:
        @nbfn.enter()
        def start(self) -> None:
            self.child = subprocess.Popen(["sh", "-c", "sleep 0.2; echo from the child"])

        @nbfn.method()
        def work(self) -> int:
            return self.child.wait()

    assert Background().work.remote() == 0  # type: ignore[attr-defined]
    assert capfd.readouterr().out == "from the child\n"
    assert lines(app) == "from the child\n"
