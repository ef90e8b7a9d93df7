"""The pure functions of the widgets' scripts, run by node, and the data that Python sends to them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nbfn.jupyter.views import widget_base
from nbfn.jupyter.views.calls.call_record import CallRecord, html
from nbfn.jupyter.views.calls.widget import view_of as handle_view
from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_stats import DONE, MapStats
from nbfn.jupyter.views.maps.widget import LOG_BYTES, errors_of, log_of, view_of
from nbfn.protocol.call_states import InputCounts

HERE = Path(widget_base.__file__).parent / "static"


def evaluate(expression: str) -> Any:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    # node would take the bare .js for CommonJS, so it goes in as text.
    source = widget_base.script("progress").replace("export default { render };", "")
    program = source.replace("export function", "function") + (
        f"\nconst page = {{ clock, lines, grid, seconds, bytes, filtered }};console.log(JSON.stringify({expression}))"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def view(**changes: Any) -> dict[str, Any]:
    stats = MapStats("embed", "churn", 4, "fc-7f3kAAAA", began=0.0, total=1000)
    stats.update_queue(state="running", running=8, retrying=2, workers=8, starting=2, why="")
    for second in range(1, 44):
        stats.update_counts(InputCounts(1000, int(14.2 * second) - 7, 7), float(second))
    stats.add_ended(range(100), [DONE] * 100, [0.52] * 93 + [1.9] * 7)
    return view_of(stats, 43.0) | changes


def test_the_lines_of_the_widget() -> None:
    said = evaluate(f"page.lines({json.dumps(view())})")
    assert said == {
        "done": "610 / 1,000",
        "counts": "603 succeeded · 7 failed · 8 running · 382 waiting · 2 of them to be retried",
        "pace": "14.2 items/s · 0:43 · left about 0:26 · p50 0.52 s · p95 1.9 s · workers 8 (+2 starting)",
        "value": "610 of 1,000 done, 603 succeeded, 7 failed, 8 running, 382 waiting, 2 of them to be retried",
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ("612 / 1,000", "14.2 items/s", "0:43", "left about 0:04")),
        ({"expected": None}, ("612 / ?",)),
        ({"disconnected": True}, ("reconnecting", "hub restarting", "left —")),
        ({"cancelled": 100}, ("712 / 1,000", "7 failed", "100 cancelled")),
        ({"waiting_for": "max 8 reached"}, ("max 8 reached",)),
        ({"newest_version": 5}, ("running on v4, v5 exists",)),
    ],
)
def test_widget_text_and_what_is_saved_say_the_same(
    change: dict[str, Any], says: tuple[str, ...]
) -> None:
    stats = MapStats("embed", "churn", 4, "fc-7f3kAAAA", began=0.0, total=1000)
    stats.update_queue(state="running", running=8, retrying=2, workers=8, starting=2, why="")
    stats.add_ended(range(612), [DONE] * 612, [0.08] * 612)
    gone = change.get("cancelled", 0)
    total = None if "expected" in change else 1000
    stats.total = total
    stats.update_counts(InputCounts(1000, 470), 33.0, more=total is None)
    stats.update_counts(InputCounts(1000, 605, 7, gone), 43.0, more=total is None)
    for name in change.keys() - {"expected", "cancelled"}:
        setattr(stats, name, change[name])
    stats.connected(up=not stats.disconnected)
    seen = evaluate(f"page.lines({json.dumps(view_of(stats, 43.0))})")
    told = view_of(stats, 43.0)
    widget = " · ".join([told["state"], seen["done"], seen["counts"], seen["pace"], told["why"]])
    for text in (static_render.line(stats, 43.0), static_render.html(stats, 43.0), widget):
        for said in says:
            assert said in text


def test_what_is_not_known_yet() -> None:
    unknown = view(total=None, left="", rate="", starting=0, p50=None, p95=None)
    said = evaluate(f"page.lines({json.dumps(unknown)})")
    assert said["done"] == "610 / ?"
    assert said["pace"] == "0:43 · workers 8"


def test_the_words_for_times_sizes_and_logs() -> None:
    assert evaluate("[0.003, 0.52, 12, 75].map(page.seconds)") == ["3 ms", "0.52 s", "12 s", "1:15"]
    assert evaluate("[null, 52428800, 3221225472].map(page.bytes)") == ["—", "50 MB", "3.0 GB"]
    assert evaluate("page.filtered('At 1\\nbad 2\\nat 3', 'at')") == "At 1\nat 3"


@pytest.mark.parametrize("count", [1, 10, 500, 2000])
def test_the_strip_fits(count: int) -> None:
    grid = evaluate(f"page.grid({count}, 800)")
    assert grid["columns"] * grid["size"] <= 800
    assert grid["rows"] * grid["columns"] >= count
    assert grid["rows"] * grid["size"] <= 72


@pytest.mark.parametrize("name", ["base.js", "progress.js", "handle.js", "function.js"])
def test_the_scripts_make_no_html_of_strings(name: str) -> None:
    text = (HERE / name).read_text()
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_a_spawned_call_is_told_to_the_page_and_escaped_in_its_snapshot() -> None:
    call = CallRecord(
        "fc-9qa2AAAA", "<b>train", 2, state="running", printed="<i>epoch", worker="wk-3xxxxxx9"
    )
    assert handle_view(call, 192.0)["said"] == [
        "running 3:12",
        "fc-9qa2",
        "wk-3xxxxx",
        "attempt 1",
        "“<i>epoch”",
    ]
    call.update(result="<script>")
    call.finish("success", 200.0)
    found = html(call, 300.0)
    assert "<script>" not in found
    assert "&lt;b&gt;train v2" in found
    assert "succeeded 3:20" in found


def test_the_styles_use_the_themes_colours_and_respect_reduced_motion() -> None:
    css = (
        widget_base.style("progress") + widget_base.style("handle") + widget_base.style("function")
    )
    bare = re.sub(r"var\([^()]*\)", "", css)
    assert not re.search(r"#[0-9a-f]{3,6}\b|rgb\(", bare)
    assert "prefers-reduced-motion" in css


def test_an_update_stays_small() -> None:
    stats = MapStats("f", "a", 1, "fc-1", began=0.0, total=1_000_000)
    for index in range(5000):
        stats.add_error("E" * 10, "m" * 1000, f"line {index}", index)
        stats.add_output("x" * 1000 + "\n")
    fast = len(json.dumps(view_of(stats, 1.0))) + len(stats.strip())
    slow = len(json.dumps(errors_of(stats))) + len(json.dumps(log_of(stats)))
    assert len(log_of(stats)) <= LOG_BYTES
    assert 4 * fast + slow < 64_000
