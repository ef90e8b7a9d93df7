"""The text that a FunctionCall displays in a real kernel without a front end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., list[Any]]

CELL = "%%remote --quiet --app handles\ndef work(x):\n    print('epoch', x)\n    return 10 // x"


def test_a_handle_shows_what_became_of_the_call(one_kernel: Run) -> None:
    _, _, shown, failed, elsewhere = one_kernel(
        CELL,
        "call = work.spawn(5)\nbad = work.spawn(0)\ncall.get()",
        "call",
        "try: bad.get()\nexcept ZeroDivisionError: pass\nbad",
        "import nbfn\nnbfn.FunctionCall.from_id(call.object_id)",
    )
    text = shown.shown[-1]["text/plain"]
    assert re.match(r"✓ work v1 · succeeded \d+\.\d s · fc-\w{4}", text)
    assert text.endswith("\n  2")
    assert "jp-nbfn-snapshot" in shown.shown[-1]["text/html"]
    assert failed.shown[-1]["text/plain"].startswith("✗ work v1 · failed")
    assert "ZeroDivisionError" in failed.shown[-1]["text/plain"]
    assert elsewhere.shown[-1]["text/plain"].endswith("\n  2")


GATED = (
    "%%remote --quiet --app handles --max 1\nimport os, time\ndef gated(path):\n"
    "    while not os.path.exists(path): time.sleep(0.01)\n    return 'ready'"
)


def test_a_handle_becomes_its_end_in_its_cell_while_later_cells_run(
    one_kernel: Run, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    _, shown, *_ = one_kernel(
        GATED,
        f"call = gated.spawn({str(gate)!r})\ncall",
        f"open({str(gate)!r}, 'w').close()\ncall.get()",
        "1 + 1",
    )
    (display,) = shown.shown
    assert re.match(r"✓ gated v1 · succeeded \d+\.\d s · fc-\w{4} · wk-\w+", display["text/plain"])
    assert re.search(r" · kept until \d+ \w+ \d\d:\d\d\n  'ready'$", display["text/plain"])
    assert "succeeded" in display["text/html"]


def test_what_is_said_of_calls_that_outlive_the_notebook_stays_true(
    run: Run, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    until = "import nbfn, time\nwhile not {}: time.sleep(0.01)\n"
    running = (
        "[c for c in nbfn.Client.attach().overview().calls if c.id == one.object_id and c.running]"
    )
    *_, first, second, third, last = run(
        GATED,
        f"one = gated.spawn({str(gate)!r})\none",
        f"two = gated.spawn({str(gate)!r})\n{until.format(running)}two",
        f"three = gated.spawn({str(gate)!r})\nthree",
        "def places():\n"  # what the hub has told of the last three
        "    records = [sink.record for sink in nbfn.client.call_observer.observer.handles.values()]\n"
        "    return [record.worker[:3] or record.place for record in records]\n"
        + until.format("places() == ['wk-', 1, 2]"),
    )
    gate.touch()
    assert not last.error
    texts = [cell.shown[0]["text/plain"] for cell in (first, second, third)]
    as_of = r"as of \d\d:\d\d; %fn attach fc-\w{22} shows it$"
    assert re.match(r"● gated v1 · running .* · wk-\w+ · attempt 1 · " + as_of, texts[0])
    assert re.match(r"○ gated v1 · queued .* · place 1 in the queue · .*" + as_of, texts[1])
    assert re.match(r"○ gated v1 · queued .* · place 2 in the queue · .*" + as_of, texts[2])
    assert re.search(as_of, first.shown[0]["text/html"].removesuffix("</div></div>"))


def test_a_handle_from_another_kernel_shows_the_same(run: Run) -> None:
    (_, called) = run(CELL, "call = work.spawn(2)\ncall.get()\ncall.object_id")
    (shown,) = run(f"import nbfn\nnbfn.FunctionCall.from_id({called.result})")
    assert "succeeded" in shown.shown[-1]["text/plain"]
    assert shown.shown[-1]["text/plain"].endswith("\n  5")


def test_an_unknown_call_says_so(one_kernel: Run) -> None:
    (shown,) = one_kernel("import nbfn\nnbfn.FunctionCall.from_id('fc-' + 'A' * 22)")
    assert "No call has the id" in shown.shown[-1]["text/plain"]


def test_a_handle_is_awaited_has_a_time_limit_and_can_be_pickled(one_kernel: Run) -> None:
    *_, late, awaited, copied = one_kernel(
        CELL,
        "%%remote --quiet --app handles\nimport os, time\ndef until(path):\n"
        "    while not os.path.exists(path): time.sleep(0.01)\n    return 'ready'",
        "import os, pickle, tempfile\ngate = os.path.join(tempfile.mkdtemp(), 'gate')\n"
        "call = until.spawn(gate)\n"
        "try: call.get(timeout=0.1)\nexcept TimeoutError: print('not yet')",
        "open(gate, 'w').close()\nawait call",
        "again = pickle.loads(pickle.dumps(call))\nagain.object_id == call.object_id, again.get()",
    )
    assert late.text == "not yet\n"
    assert awaited.result == "'ready'"
    assert copied.result == "(True, 'ready')"
