"""Who can reach the processes, on real ones; names of tests cite docs/guarantees.md."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import zmq

import nbfn
from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.exception import InvalidError
from nbfn.protocol import codec
from nbfn.protocol import messages as m
from tests.conftest import processes_of

app = nbfn.App()


@app.function()
def double(number: object) -> object:
    return number + number  # type: ignore[operator]


def everything(places: Places) -> list[Path]:
    roots = (places.home, places.runtime, places.shm)
    return [path for root in roots for path in (root, *root.rglob("*"))]


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv"
)
def test_s1_another_user_reaches_nothing(home: Path, open_umask: None) -> None:
    double.remote(b"x" * 400_000)
    double.spawn(b"x" * 400_000).get()
    found = everything(Places.of())
    assert any(stat.S_ISSOCK(path.lstat().st_mode) for path in found), (
        "the hub's socket is among them"
    )
    code = """
        import os, socket, sys
        for path in sys.stdin.read().split("\\n"):
            for way in (os.listdir, open, lambda p: socket.socket(socket.AF_UNIX).connect(p)):
                try:
                    way(path)
                except OSError:
                    continue
                print(path)
    """
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    tried = subprocess.run(
        [*argv, python, "-c", textwrap.dedent(code)],
        input="\n".join(map(str, found)),
        capture_output=True,
        text=True,
        cwd="/",
        timeout=30,
    )
    assert (tried.returncode, tried.stdout) == (0, ""), tried.stderr


def test_s1_nobody_listens_on_the_network(home: Path) -> None:
    double.remote(1)
    pids = processes_of(home)
    assert len(pids) >= 3
    for pid in pids:
        found = psutil.Process(pid).net_connections("inet")
        assert not [c for c in found if c.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)]


def test_s5_files_are_their_owner_s_whatever_the_umask(home: Path, open_umask: None) -> None:
    double.spawn(b"x" * 400_000).get()
    places = Places.of()
    for directory in (places.home, places.runtime, places.shm, places.blobs, places.logs):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory
    kept = (places.connection_file, places.database, places.lock_file, *places.blobs.iterdir())
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_s8_the_hub_unpickles_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent(
            f"""
            import os, sys
            if "hub" in sys.orig_argv:
                def say(text):
                    descriptor = os.open({str(seen)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                    os.write(descriptor, text.encode())
                    os.close(descriptor)
                sys.addaudithook(lambda event, a: event == "pickle.find_class" and say(f"{{a}}\\n"))
                say("watched\\n")
                import pickle, collections
                pickle.loads(pickle.dumps(collections.OrderedDict()))
                say("begin\\n")
            """
        )
    )
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{path}" if path else str(tmp_path))

    class Odd(Exception):
        pass

    @app.function(name="odd")
    def odd(path: Path) -> Path:
        if path.name == "bad":
            raise Odd(path)
        return path

    assert odd.remote(Path("a")) == Path("a")
    assert list(odd.map([Path("b")])) == [Path("b")]
    assert odd.spawn(Path("c")).get() == Path("c")
    with pytest.raises(Odd):
        odd.remote(Path("bad"))
    before, _, after = seen.read_text().partition("begin\n")
    assert "OrderedDict" in before, "the hook works"
    assert after == ""


def test_s9_garbage_is_told_and_then_not_listened_to_and_hurts_nobody(home: Path) -> None:
    assert double.remote(1) == 2
    context = zmq.Context()
    bad = context.socket(zmq.DEALER)
    bad.linger = 0
    bad.connect(Places.of().endpoint)
    try:
        answers = []
        for garbage in (b"", b"\xc1" * 100, os.urandom(1000)):
            bad.send(garbage)
            assert bad.poll(5000)
            answers.append(codec.decode(bad.recv(), codec.TO_CLIENT))
        assert all(
            isinstance(said, m.Refused) and "Not a message" in said.message for said in answers
        )
        for garbage in (b"\x93\x01", b"\x81" * 10_000, b"x" * 1_000_000):
            bad.send(garbage)
        bad.send_multipart([b"a"] * 1000)
        # Struck out: not even a word that makes sense is answered.
        bad.send(codec.encode(m.GetOverview(1)))
        assert double.remote(4) == 8
        assert not bad.poll(200)
    finally:
        bad.close()
        context.term()
    log = (Places.of().logs / "hub.log").read_text()
    assert log.count("refused a message") == 3
    assert "further messages of" in log


@pytest.mark.parametrize("kind", ["link", "foreign"])
def test_s22_a_runtime_directory_that_somebody_else_made_is_refused(
    home: Path, tmp_path: Path, kind: str
) -> None:
    places = Places.of()
    if kind == "link":
        places.runtime.parent.mkdir(parents=True, exist_ok=True)
        places.runtime.symlink_to(tmp_path)
    elif os.getuid() == 0:
        places.runtime.mkdir(parents=True)
        os.chown(places.runtime, 65534, 65534)
    else:
        pytest.skip("needs root")
    try:
        with pytest.raises(InvalidError, match="is a link or belongs to somebody else"):
            Client.attach()
        argv = [sys.executable, "-m", "nbfn", "hub", "start"]
        started = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        assert started.returncode
        assert "is a link or belongs to somebody else" in started.stderr
    finally:
        places.runtime.unlink() if kind == "link" else places.runtime.rmdir()
