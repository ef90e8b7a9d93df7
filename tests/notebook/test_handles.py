"""What a FunctionCall displays, in a real kernel without a page: the text twin."""

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
    assert re.match(r"✓ work v1 · done \d+\.\d s · fc-\w{4}", text)
    assert text.endswith("\n  2")
    assert "jp-nbfn-snapshot" in shown.shown[-1]["text/html"]
    assert failed.shown[-1]["text/plain"].startswith("✗ work v1 · failed")
    assert "ZeroDivisionError" in failed.shown[-1]["text/plain"]
    assert elsewhere.shown[-1]["text/plain"].endswith("\n  2")


def test_a_handle_that_still_runs_becomes_its_end_in_place(one_kernel: Run, tmp_path: Path) -> None:
    """By a word of a later cell: who runs a notebook without a page hears only the cell that runs."""
    gate = str(tmp_path / "gate")
    made, shown = one_kernel(
        "%%remote --quiet --app handles\nimport os, time\ndef wait_for(path):\n"
        "    while not os.path.exists(path): time.sleep(0.01)\n    return 'ready'",
        f"call = wait_for.spawn({gate!r})\ncall",
    )
    assert made.error == ""
    assert re.match(
        r"(○|◌|●) wait_for v1 · (queued|starting workers|running)", shown.shown[0]["text/plain"]
    )
    one_kernel(f"open({gate!r}, 'w').close()\ncall.get()")
    (text,) = [data["text/plain"] for data in shown.shown]
    assert text.startswith("✓ wait_for v1 · done ")
    assert text.endswith("  'ready'")


def test_a_handle_from_another_kernel_shows_the_same(run: Run) -> None:
    (_, called) = run(CELL, "call = work.spawn(2)\ncall.get()\ncall.object_id")
    (shown,) = run(f"import nbfn\nnbfn.FunctionCall.from_id({called.result})")
    assert "done" in shown.shown[-1]["text/plain"]
    assert shown.shown[-1]["text/plain"].endswith("\n  5")


def test_an_unknown_call_says_so(one_kernel: Run) -> None:
    (shown,) = one_kernel("import nbfn\nnbfn.FunctionCall.from_id('fc-' + 'A' * 22)")
    assert "No call has the id" in shown.shown[-1]["text/plain"]
