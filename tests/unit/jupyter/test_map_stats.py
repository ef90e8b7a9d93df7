"""The statistics of a map: counters, groups of errors, log and heat strip, and their text."""

from __future__ import annotations

from collections.abc import Iterable

from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_stats import CANCELLED, DONE, FAILED, STRIP_CELLS, MapStats
from nbfn.protocol.call_states import InputCounts


def made(total: int | None = 10) -> MapStats:
    return MapStats("embed", "churn", 4, "fc-7f3kAAAA", began=100.0, total=total)


def took(stats: MapStats, ended: Iterable[tuple[int, int, float]]) -> None:
    """Add inputs that ended, each with its index, state and duration."""
    rows = list(ended)
    stats.add_ended(
        [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows if r[1] != CANCELLED]
    )


def running(stats: MapStats, workers: int = 8, **more: int) -> None:
    places = {"running": workers, "retrying": 0, "starting": 0} | more
    state = "running" if places["running"] else "starting" if places["starting"] else "queued"
    stats.update_queue(state=state, workers=workers, why="", **places)


def counted(
    stats: MapStats, succeeded: int, failed: int = 0, now: float = 101.0, **others: int
) -> None:
    """Set the numbers of inputs that have ended."""
    ended = succeeded + failed + sum(others.values())
    known = ended if stats.total is None else stats.total
    counts = InputCounts(known, succeeded, failed, **others)
    stats.update_counts(counts, now, more=stats.total is None)


def ended(stats: MapStats, count: int, seconds: float, now: float) -> None:
    """Add successful inputs, each with the same duration."""
    took(stats, [(index, DONE, seconds) for index in range(count)])
    counted(stats, count, now=now)


def test_a_running_map_in_one_line() -> None:
    stats = made(1000)
    running(stats)
    for second in range(1, 11):
        ended(stats, 10 * second, 0.8, 100.0 + second)
    assert stats.state == "running"
    assert static_render.line(stats, 110.0) == (
        "embed v4 · running · 100 / 1,000 · 10.0 items/s · 0:10 · left about 1:30"
    )


def test_left_is_what_remains_times_the_median_by_the_workers() -> None:
    stats = made(1000)
    running(stats, 8)
    ended(stats, 4, 0.5, 101.0)
    assert stats.remaining(101.0) is None  # too early
    ended(stats, 5, 0.5, 101.0)
    assert stats.remaining(101.0) == 995 * 0.5 / 8
    running(stats, 4)
    assert stats.remaining(101.0) == 995 * 0.5 / 4
    running(stats, 4, running=12)  # three at once each
    assert stats.remaining(101.0) == 995 * 0.5 / 12
    counted(stats, 5, now=102.0, cancelled=100)
    assert stats.remaining(102.0) == (900 - 5) * 0.5 / 12
    ended(stats, 999, 0.5, 103.0)
    assert stats.remaining(103.0) == 0.5  # the last one is on one worker, whoever is free


def test_left_is_by_the_rate_where_inputs_take_longer_on_their_way_than_they_run() -> None:
    stats = made(10_000)
    running(stats)
    for second in range(1, 6):
        ended(stats, 1000 * second, 1e-6, 100.0 + second)
    assert stats.remaining(105.0) == 5.0


def test_nothing_is_promised_when_nothing_moves() -> None:
    stats = made(1000)
    running(stats)
    ended(stats, 6, 0.5, 103.0)
    assert static_render.remaining_text(stats, 103.5) == "left about 1:03"
    assert static_render.remaining_text(stats, 114.0).startswith("left about")
    assert (
        static_render.remaining_text(stats, 115.0) == "left —"
    )  # none for longer than any of them took
    running(stats, 0)  # all its workers are gone
    assert static_render.remaining_text(stats, 103.5).startswith("left about")
    assert static_render.remaining_text(stats, 104.5) == "left —"
    assert "left —" in static_render.line(stats, 104.5)
    running(stats)
    stats.connected(up=False)
    assert static_render.remaining_text(stats, 103.5) == "left —"
    stats.total = None
    assert static_render.remaining_text(stats, 103.5) == ""


def test_it_says_why_nothing_moves_once_that_is_so() -> None:
    stats = made(None)
    ended(stats, 6, 0.5, 103.0)
    stats.held = "the next input is awaited"
    running(stats, 2, running=0)
    assert stats.why(103.5) == ""
    assert stats.why(105.0) == "the next input is awaited"
    stats.counts = InputCounts(8, succeeded=6)
    running(stats, 2, running=0, retrying=2)
    assert stats.why(105.0) == "waiting to retry"
    running(stats, 0, starting=1)
    assert stats.why(105.0) == "workers start"
    running(stats, 2)
    assert stats.why(105.0) == ""


def test_the_states_before_the_first_output() -> None:
    stats = made()
    assert stats.state == "queued"
    stats.update_queue(
        state="queued", running=0, retrying=0, workers=0, starting=0, why="max 8 reached"
    )
    assert stats.state == "queued"
    assert "max 8 reached" in static_render.line(stats, 101.0)
    running(stats, 0, starting=3)
    assert stats.state == "starting"


def test_the_end_of_a_map() -> None:
    stats = made(1000)
    running(stats, 8)
    counted(stats, 993, 7, 170.0)
    stats.finish("failed", "", 172.0)
    assert static_render.line(stats, 999.0) == (
        "▲ embed.map · failed · 993 succeeded, 7 failed · 1:12 · 8 workers · fc-7f3k"
    )
    counted(stats, 1000, 0)
    stats.finish("succeeded", "", 172.0)
    assert static_render.line(stats, 999.0).startswith("✓ embed.map · 1,000 succeeded · 1:12")


def test_the_hint_names_what_runs_again() -> None:
    stats = made(300)
    counted(stats, 8, 1, not_run=291)
    stats.finish("failed", "", 102.0)
    assert "▲ embed.map · failed · 8 succeeded, 1 failed, 291 not run" in static_render.text(
        stats, 102.0
    )
    assert "%fn retry" not in static_render.text(stats, 102.0)
    stats.retryable = 292
    hint = "%fn retry fc-7f3kAAAA · Retry failed and not run (292)"
    assert hint in static_render.text(stats, 102.0)
    assert hint in static_render.html(stats, 102.0)


def test_a_cancelled_map_says_what_did_not_run() -> None:
    stats = made(10)
    counted(stats, 4, cancelled=1, not_run=5)
    stats.finish("cancelled", "", 102.0)
    assert (
        static_render.line(stats, 102.0)
        == "■ embed.map · cancelled · 4 succeeded, 1 cancelled, 5 not run · 2.0 s · fc-7f3k"
    )


def test_an_unknown_total() -> None:
    stats = made(None)
    counted(stats, 3)
    assert "3 / ?" in static_render.line(stats, 101.0)


def test_errors_are_grouped_by_type_shape_and_line() -> None:
    stats = made()
    for index in range(5):
        stats.add_error("ValueError", f"bad shape {index}", "Cell In[12], line 4", index)
    stats.add_error("ValueError", "bad shape 1", "Cell In[12], line 9", 5)
    stats.add_error("KeyError", "'a'", "Cell In[12], line 4", 6)
    assert [(g.kind, g.count) for g in stats.groups.values()] == [
        ("ValueError", 5),
        ("ValueError", 1),
        ("KeyError", 1),
    ]


def test_kinds_of_errors_are_bounded() -> None:
    stats = made()
    for index in range(500):
        stats.add_error("ValueError", "same", f"line {index}", index)
    assert len(stats.groups) == 51
    assert sum(g.count for g in stats.groups.values()) == 500


def test_the_log_keeps_whole_lines_and_the_last_of_them() -> None:
    stats = made()
    stats.add_output("one\ntw", 0)
    stats.add_output("other\n", 1)
    stats.add_output("o\n", 0)
    assert list(stats.log) == ["one", "other", "two"]
    stats.add_output(" 10%\r 50%\r100%\n\x1b[31mred\x1b[0m\n", 0)
    assert list(stats.log)[3:] == ["100%", "red"]
    stats.add_output("x" * 10_000 + "\n" + "y\n" * 10_000)
    assert len(stats.log) == 200
    assert stats.lines == 10_006


def test_what_is_half_written_is_in_the_log_at_the_end() -> None:
    stats = made()
    stats.add_output("no newline")
    stats.finish("succeeded", "", 101.0)
    assert list(stats.log) == ["no newline"]


def test_few_log_lines_are_all_shown_and_of_many_the_last() -> None:
    stats = made()
    stats.add_output("a\nb\n")
    assert static_render.log_text(stats) == "a\nb\n"
    stats.add_output("c\n" * 98)
    text = static_render.log_text(stats)
    assert text.startswith("… 95 lines printed before these:\nc\n")
    assert text.count("\n") == 6


def strip_of(stats: MapStats, count: int | None = None) -> list[tuple[int, ...]]:
    """Return the cells of the strip: the percentages of succeeded, failed, and cancelled or not run."""
    found = stats.strip()
    cells = [tuple(found[place : place + 3]) for place in range(0, len(found), 3)]
    return cells[:count]


def test_a_cell_for_each_input_by_its_own_index() -> None:
    stats = made(5)
    took(stats, [(3, DONE, 0.1)])
    took(stats, [(0, FAILED, 0.1), (4, CANCELLED, 0.0)])
    none = (0, 0, 0)
    assert strip_of(stats) == [(0, 100, 0), none, none, (100, 0, 0), (0, 0, 100)]


def test_bins_show_shares() -> None:
    stats = made(50 * STRIP_CELLS)
    took(stats, [(index, DONE, 0.1) for index in range(99)])
    took(stats, [(99, FAILED, 0.1)])
    took(stats, [(index, CANCELLED, 0.0) for index in range(100, 125)])
    took(stats, [(150, DONE, 0.1)])
    assert strip_of(stats, 4) == [(100, 0, 0), (98, 2, 0), (0, 0, 50), (2, 0, 0)]
    assert len(stats.strip()) == 3 * STRIP_CELLS


def test_the_strip_grows_while_the_total_is_not_known() -> None:
    stats = made(None)
    took(stats, [(2, DONE, 0.1)])
    assert strip_of(stats) == [(0, 0, 0), (0, 0, 0), (100, 0, 0)]


def test_cancelled_inputs_are_no_failures() -> None:
    stats = made(10)
    took(stats, [(4, CANCELLED, 0.0)])
    counted(stats, 3, 1, cancelled=1, not_run=1)
    running(stats, 3)
    assert (stats.done, stats.failed, stats.all_counts.waiting) == (6, 1, 1)
    assert "6 / 10 · 1 failed, 1 cancelled, 1 not run" in static_render.line(stats, 101.0)
    stats.add_error("RemoteError", "cancelled", "", 4)
    assert not stats.groups


def test_no_more_inputs_run_than_have_no_outcome() -> None:
    stats = made(10)
    running(stats, 8)
    counted(stats, 7)  # since the hub's report
    assert stats.all_counts == InputCounts(10, succeeded=7, running=3)


def test_percentiles_of_how_long_inputs_ran() -> None:
    stats = made(100)
    assert stats.percentile(0.5) is None
    took(stats, [(index, DONE, index / 100) for index in range(100)])
    assert (stats.percentile(0.5), stats.percentile(0.95)) == (0.5, 0.95)


def test_a_lost_hub_and_a_newer_version_are_said() -> None:
    stats = made(10)
    running(stats, 2, newest=5)
    assert "running on v4, v5 exists" in static_render.line(stats, 101.0)
    stats.connected(up=False)
    assert "reconnecting" in static_render.line(stats, 101.0)
    assert "hub restarting" in static_render.line(stats, 101.0)
    counted(stats, 1)
    assert stats.state == "reconnecting"
    stats.connected(up=True)
    assert stats.state == "running"


def test_inputs_that_run_again_leave_their_group() -> None:
    stats = made(3)
    took(stats, [(0, FAILED, 0.1), (1, FAILED, 0.1), (2, DONE, 0.1)])
    counted(stats, 1, 2)
    for index in (0, 1):
        stats.add_error("ValueError", f"bad {index}", "line 1", index, lambda: "the trace")
    (group,) = stats.groups.values()
    assert (group.indices, group.trace, group.inputs) == ({0, 1}, "the trace", "inputs 0, 1")
    stats.finish("failed", "", 102.0)
    stats.restart([1], 110.0)
    counted(stats, 1, 1)
    assert (group.count, group.inputs, stats.state) == (1, "input 0", "running")
    assert stats.elapsed(111.0) == 1.0
    assert strip_of(stats) == [(0, 100, 0), (0, 0, 0), (100, 0, 0)]
    stats.restart([0], 112.0)
    assert not stats.groups


def test_of_many_inputs_of_a_group_the_first_are_named() -> None:
    stats = made()
    for index in range(20):
        stats.add_error("ValueError", "bad", "line 1", index)
    (group,) = stats.groups.values()
    assert group.inputs == "inputs 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"
    assert group.inputs in static_render.errors(stats)


def test_lines_that_never_end_are_bounded() -> None:
    stats = made()
    for index in range(5000):
        stats.add_output(".", index)
    stats.finish("succeeded", "", 101.0)
    assert stats.lines == 5000
    assert len(stats.log) == 200


def test_html_escapes_what_users_made() -> None:
    stats = MapStats("<b>", "<i>", 1, "fc-<", began=0.0, total=1)
    stats.add_error("<E>", "<script>", "<where>", 0)
    stats.add_output("<script>alert(1)</script>\n")
    stats.finish("failed", "<script>", 1.0)
    shown = static_render.html(stats, 1.0)
    assert "<script" not in shown
    assert "<E>" not in shown
    assert "&lt;script&gt;alert" in shown


def test_a_line_that_is_written_over_is_shown_while_it_moves_and_logged_once() -> None:
    stats = made()
    stats.add_output("\r 1/3\r 2/3", 0)
    stats.add_output("begun", 1)
    assert stats.rewritten_lines == [" 2/3"]
    assert not stats.log
    stats.add_output("\r 3/3\n", 0)
    assert stats.rewritten_lines == []
    assert list(stats.log) == [" 3/3"]
