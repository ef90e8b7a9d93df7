"""What user code writes arrives before its result, under its lease, whoever wrote it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nbfn.protocol.messages import Emitted, Results
from tests.unit.kernel.fake_hub import FakeHub


def test_prints_arrive_in_order_before_the_result(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "def f(n):\n    for i in range(n): print(i)")
    (entry,) = hub.run(worker, (5000,))
    hub.until(lambda: any(isinstance(m, Results) for m in hub.seen))
    assert isinstance(hub.seen[-1], Results)
    assert hub.text() == "".join(f"{i}\n" for i in range(5000))
    assert {m.lease for m in hub.seen if isinstance(m, Emitted)} == {entry.lease}
    assert len(hub.seen) < 500


def test_both_streams_logging_and_warnings(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker,
        "import sys, logging, warnings\ndef f():\n    print('out', end='')\n    print('err', file=sys.stderr)\n"
        "    logging.warning('logged')\n    warnings.warn('warned')\n    sys.stdout.buffer.write('ä'.encode())\n"
        "    return sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.fileno(), sys.stderr.fileno()",
    )
    assert hub.call(worker) == (False, "utf-8", 1, 2)
    assert hub.text() == "outä"
    assert all(word in hub.text("stderr") for word in ("err\n", "warned"))
    assert hub.text("log").startswith("WARNING:root:logged\n\0")


def test_text_of_threads_counts_to_the_running_input(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker,
        "import threading\ndef f():\n    t = threading.Thread(target=print, args=('thread',))\n"
        "    t.start()\n    t.join()",
    )
    hub.call(worker)
    assert hub.text() == "thread\n"


def test_subprocesses_and_c_code_are_heard_too(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker,
        "import ctypes, os\ndef f():\n    os.system('echo shell; echo oops >&2')\n"
        "    ctypes.CDLL(None).puts(b'c code')",
    )
    hub.call(worker)
    assert hub.text() == "shell\nc code\n"
    assert hub.text("stderr") == "oops\n"


def test_a_subprocess_is_heard_while_it_runs(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "import os\ndef f(): os.system('echo now; sleep 60')")
    hub.run(worker, ())
    hub.until(lambda: hub.text() == "now\n")
    assert not any(isinstance(m, Results) for m in hub.seen)


def test_closed_descriptors_end_no_worker(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "import os\ndef f(n):\n    os.close(n)\n    print('closed', n)")
    hub.call(worker, 1)
    hub.call(worker, 2)
    assert hub.text() == "closed 1\nclosed 2\n"


def test_a_flood_is_cut_with_one_line(hub: FakeHub, worker: str) -> None:
    hub.bind(worker, "def f():\n    for _ in range(40): print('x' * 2**20)\n    print('late')")
    hub.call(worker)
    text = hub.text()
    assert len(text) < 17 * 2**20
    assert text.count("is cut here") == 1
    assert "late" not in text


def test_displays_travel_as_jupyter_sends_them(hub: FakeHub, worker: str) -> None:
    hub.bind(
        worker,
        "from IPython.display import display, clear_output, HTML\ndef f():\n"
        "    handle = display(HTML('<b>a</b>'), display_id=True)\n    handle.update(HTML('<b>b</b>'))\n"
        "    clear_output(wait=True)\n    display({'image/png': b'\\x89PNG'}, raw=True)\n"
        "    return type(get_ipython()).__name__",
    )
    assert hub.call(worker) == "WorkerShell"
    shown = [
        json.loads(m.data) for m in hub.seen if isinstance(m, Emitted) and m.channel == "display"
    ]
    assert [s["data"].get("text/html") for s in shown] == ["<b>a</b>", "<b>b</b>", None]
    assert [s["update"] for s in shown] == [False, True, False]
    assert shown[0]["transient"] == shown[1]["transient"] != {}
    assert shown[2]["data"]["image/png"] == "iVBORw=="
    assert [
        json.loads(m.data) for m in hub.seen if isinstance(m, Emitted) and m.channel == "clear"
    ] == [{"wait": True}]


def test_figures_left_open_arrive_before_the_result(hub: FakeHub, worker: str) -> None:
    pytest.importorskip("matplotlib")
    hub.bind(
        worker,
        "def f():\n    import matplotlib.pyplot as plt\n    plt.plot([1, 2])\n    return len(plt.get_fignums())",
    )
    for _ in range(2):
        hub.seen.clear()
        assert hub.call(worker) == 1
        shown = [
            json.loads(m.data)
            for m in hub.seen
            if isinstance(m, Emitted) and m.channel == "display"
        ]
        assert len(shown) == 1
        assert shown[0]["data"]["image/png"].startswith("iVBOR")


def test_the_log_of_a_worker_without_inputs_stays_small(tmp_path: Path) -> None:
    code = (
        "import os\nfrom nbfn_kernel.worker import log_files\nlog_files.MAX_LOG = 10\nfiles = log_files.LogFiles()\n"
        "os.write(1, b'x' * 8)\nfiles.advance(0)\nassert not files.needs_truncation()\n"
        "os.write(1, b'y' * 8)\nassert files.truncate() == [], 'not read to its end'\n"
        "assert files.read(0, *files.advance(0)) == 'y' * 8\nassert files.truncate() == [0]\n"
        "os.write(1, b'after')\nassert files.has_grown(0)\nassert files.read(0, *files.advance(0)) == 'after'"
    )
    path = tmp_path / "worker.out"
    with path.open("a+") as log:
        done = subprocess.run([sys.executable, "-c", code], stdout=log, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr, path.read_text()) == (0, b"", "after")
