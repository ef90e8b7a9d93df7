"""A thread of the hub that ends by an error ends the hub, which is started again: no call waits for ever."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import nbfn
from nbfn.client.discovery import read_connection_file
from nbfn.config import Places
from nbfn.exception import ConnectionError
from tests.conftest import wait_until

app = nbfn.App()


@app.function()
def same(number: int) -> int:
    print("ran", number)
    return number


#: Has a method of the hub raise, once the file `mark` is there, and never again.
DEFECT = """
    import pathlib, sys
    from nbfn.hub.{module} import {kind}
    method, mark = {kind}.{method}, pathlib.Path(sys.argv.pop(1))
    def defect(*args, **kwargs):
        if mark.exists():
            mark.unlink()
            raise KeyError("a defect")
        return method(*args, **kwargs)
    {kind}.{method} = defect
    from nbfn.hub.__main__ import main
    sys.exit(main())
"""


@pytest.mark.parametrize(
    ("module", "kind", "method"),
    [("writer", "Writer", "_commit"), ("log_store", "LogStore", "_collect"), ("broker", "Broker", "_check_idle")],
)  # fmt: skip
def test_a_thread_that_ends_ends_the_hub_and_the_next_one_goes_on(
    home: Path, tmp_path: Path, module: str, kind: str, method: str
) -> None:
    mark = tmp_path / "mark"
    code = textwrap.dedent(DEFECT).format(module=module, kind=kind, method=method)
    with Places.of().create().hub_log.open("ab") as log:
        hub = subprocess.Popen(
            [sys.executable, "-c", code, str(mark), "--embedded"], stderr=log, cwd=home
        )
    wait_until(lambda: read_connection_file(Places.of()).get("pid") == hub.pid)
    before = [same.spawn(number) for number in range(20)]
    assert [call.get(timeout=30) for call in before] == list(range(20))
    mark.touch()
    calls = [same.spawn(number) for number in range(100, 120)]
    assert list(same.map(range(50))) == list(range(50))
    assert hub.wait(30) == 1
    assert [call.get(timeout=30) for call in calls] == list(range(100, 120))
    stored = [nbfn.FunctionCall.from_id(call.object_id) for call in before]
    assert [call.get(timeout=30) for call in stored] == list(range(20)), "what was accepted is kept"
    written = Places.of().hub_log.read_text()
    assert "KeyError: 'a defect'" in written
    assert "Traceback" in written
    assert "Traceback" not in written.partition("KeyError: 'a defect'")[2]


def test_a_request_of_which_every_hub_dies_fails_in_the_end(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent("""
        import os, sys
        if "nbfn.hub" in sys.orig_argv:
            from nbfn.hub.queries import Queries
            from nbfn.protocol import messages
            answer = Queries.answer
            def deadly(self, message):
                if isinstance(message, messages.GetOverview):
                    os._exit(3)
                return answer(self, message)
            Queries.answer = deadly
    """)
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    client = nbfn.Client.attach()
    monkeypatch.delenv("PYTHONPATH")
    assert same.remote(1) == 1
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        ConnectionError, match=r"ended 10 times before it answered\. See .*hub\.log"
    ):
        client.overview()
    monkeypatch.delenv("PYTHONPATH")
    assert same.remote(2) == 2, "the next hub is another"
