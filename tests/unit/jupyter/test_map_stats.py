"""The counters, groups, log and strip of a map, and how they read."""

from __future__ import annotations

from collections.abc import Iterable

from nbfn.jupyter.views.maps import static_render
from nbfn.jupyter.views.maps.map_stats import CANCELLED, DONE, FAILED, STRIP, Tally


def made(total: int | None = 10) -> Tally:
    return Tally("embed", "churn", 4, "fc-7f3kAAAA", began=100.0, total=total)


def took(tally: Tally, ended: Iterable[tuple[int, int, float]]) -> None:
    """Inputs have ended, each with its index, state and seconds."""
    rows = list(ended)
    tally.took(
        [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows if r[1] != CANCELLED]
    )


def running(tally: Tally, workers: int = 8, **more: int) -> None:
    places = {"queued": 900, "running": workers, "retrying": 0, "starting": 0} | more
    tally.placed(workers=workers, why="", **places)


def ended(tally: Tally, count: int, seconds: float, now: float) -> None:
    """That many inputs have ended, each of which ran so long."""
    took(tally, [(index, DONE, seconds) for index in range(count)])
    tally.counted(count, 0, tally.total, now)


def test_a_running_map_in_one_line() -> None:
    tally = made(1000)
    running(tally)
    for second in range(1, 11):
        ended(tally, 10 * second, 0.8, 100.0 + second)
    assert tally.state == "running"
    assert static_render.line(tally, 110.0) == (
        "embed v4 · running · 100 / 1,000 · 10.0 items/s · 0:10 · left about 1:30"
    )


def test_left_is_what_remains_times_the_median_by_the_workers() -> None:
    tally = made(1000)
    running(tally, 8)
    ended(tally, 4, 0.5, 101.0)
    assert tally.left(101.0) is None  # too early
    ended(tally, 5, 0.5, 101.0)
    assert tally.left(101.0) == 995 * 0.5 / 8
    running(tally, 4)
    assert tally.left(101.0) == 995 * 0.5 / 4
    running(tally, 4, running=12)  # three at once each
    assert tally.left(101.0) == 995 * 0.5 / 12
    tally.counted(105, 100, 1000, 102.0, cancelled=100)
    assert tally.left(102.0) == (900 - 5) * 0.5 / 12
    ended(tally, 999, 0.5, 103.0)
    assert tally.left(103.0) == 0.5  # the last one is on one worker, whoever is free


def test_left_is_by_the_rate_where_inputs_take_longer_on_their_way_than_they_run() -> None:
    tally = made(10_000)
    running(tally)
    for second in range(1, 6):
        ended(tally, 1000 * second, 1e-6, 100.0 + second)
    assert tally.left(105.0) == 5.0


def test_nothing_is_promised_when_nothing_moves() -> None:
    tally = made(1000)
    running(tally)
    ended(tally, 6, 0.5, 103.0)
    assert static_render.left_text(tally, 103.5) == "left about 1:03"
    assert static_render.left_text(tally, 114.0).startswith("left about")
    assert (
        static_render.left_text(tally, 115.0) == "left —"
    )  # none for longer than any of them took
    running(tally, 0)  # all its workers are gone
    assert static_render.left_text(tally, 103.5).startswith("left about")
    assert static_render.left_text(tally, 104.5) == "left —"
    assert "left —" in static_render.line(tally, 104.5)
    running(tally)
    tally.connected(up=False)
    assert static_render.left_text(tally, 103.5) == "left —"
    tally.total = None
    assert static_render.left_text(tally, 103.5) == ""


def test_it_says_why_nothing_moves_once_that_is_so() -> None:
    tally = made(None)
    ended(tally, 6, 0.5, 103.0)
    tally.held = "the next input is awaited"
    running(tally, 2, queued=0, running=0)
    assert tally.why(103.5) == ""
    assert tally.why(105.0) == "the next input is awaited"
    running(tally, 2, queued=0, running=0, retrying=2)
    assert tally.why(105.0) == "waiting to retry"
    running(tally, 0, queued=5, starting=1)
    assert tally.why(105.0) == "workers start"
    running(tally, 2)
    assert tally.why(105.0) == ""


def test_the_states_before_the_first_output() -> None:
    tally = made()
    assert tally.state == "preparing"
    tally.placed(queued=10, running=0, retrying=0, workers=0, starting=0, why="max 8 reached")
    assert tally.state == "queued"
    assert "max 8 reached" in static_render.line(tally, 101.0)
    tally.placed(queued=10, running=0, retrying=0, workers=0, starting=3, why="")
    assert tally.state == "starting workers"


def test_the_end_of_a_map() -> None:
    tally = made(1000)
    tally.placed(queued=0, running=8, retrying=0, workers=8, starting=0, why="")
    tally.counted(1000, 7, 1000, 170.0)
    tally.finish("done", "", 172.0)
    assert static_render.line(tally, 999.0) == (
        "✓ embed.map · 993 ok, 7 failed · 1:12 · 8 workers · fc-7f3k"
    )


def test_a_cancelled_map_says_what_did_not_run() -> None:
    tally = made(10)
    tally.counted(4, 0, 10, 101.0)
    tally.finish("cancelled", "", 102.0)
    assert (
        static_render.line(tally, 102.0)
        == "■ embed.map · cancelled · 4 ok, 6 not done · 2.0 s · fc-7f3k"
    )


def test_an_unknown_total() -> None:
    tally = made(None)
    tally.counted(3, 0, None, 101.0)
    assert "3 / ?" in static_render.line(tally, 101.0)


def test_errors_are_grouped_by_type_shape_and_line() -> None:
    tally = made()
    for index in range(5):
        tally.fault("ValueError", f"bad shape {index}", "Cell In[12], line 4", index)
    tally.fault("ValueError", "bad shape 1", "Cell In[12], line 9", 5)
    tally.fault("KeyError", "'a'", "Cell In[12], line 4", 6)
    assert [(g.kind, g.count) for g in tally.groups.values()] == [
        ("ValueError", 5),
        ("ValueError", 1),
        ("KeyError", 1),
    ]


def test_kinds_of_errors_are_bounded() -> None:
    tally = made()
    for index in range(500):
        tally.fault("ValueError", "same", f"line {index}", index)
    assert len(tally.groups) == 51
    assert sum(g.count for g in tally.groups.values()) == 500


def test_the_log_keeps_whole_lines_and_the_last_of_them() -> None:
    tally = made()
    tally.printed("one\ntw", 0)
    tally.printed("other\n", 1)
    tally.printed("o\n", 0)
    assert list(tally.log) == ["one", "other", "two"]
    tally.printed(" 10%\r 50%\r100%\n\x1b[31mred\x1b[0m\n", 0)
    assert list(tally.log)[3:] == ["100%", "red"]
    tally.printed("x" * 10_000 + "\n" + "y\n" * 10_000)
    assert len(tally.log) == 200
    assert tally.lines == 10_006


def test_what_is_half_written_is_in_the_log_at_the_end() -> None:
    tally = made()
    tally.printed("no newline")
    tally.finish("done", "", 101.0)
    assert list(tally.log) == ["no newline"]


def test_few_log_lines_are_all_shown_and_of_many_the_last() -> None:
    tally = made()
    tally.printed("a\nb\n")
    assert static_render.log_text(tally) == "a\nb\n"
    tally.printed("c\n" * 98)
    text = static_render.log_text(tally)
    assert text.startswith("… 95 lines printed before these:\nc\n")
    assert text.count("\n") == 6


def test_a_byte_an_input_by_its_own_index() -> None:
    tally = made(5)
    took(tally, [(3, DONE, 0.1)])
    took(tally, [(0, FAILED, 0.1), (4, CANCELLED, 0.0)])
    assert list(tally.strip()) == [255, 0, 0, 100, 254]


def test_bins_above_show_their_worst() -> None:
    tally = made(4 * STRIP)
    took(tally, [(index, DONE, 0.1) for index in range(6)])
    took(tally, [(9, FAILED, 0.1), (10, DONE, 0.1)])
    took(tally, [(index, CANCELLED, 0.0) for index in range(12, 16)])
    assert list(tally.strip()[:4]) == [100, 50, 255, 254]
    assert len(tally.strip()) == STRIP


def test_the_strip_grows_while_the_total_is_not_known() -> None:
    tally = made(None)
    took(tally, [(2, DONE, 0.1)])
    assert list(tally.strip()) == [0, 0, 100]


def test_cancelled_inputs_leave_the_total_and_are_no_failures() -> None:
    tally = made(10)
    took(tally, [(4, CANCELLED, 0.0)])
    tally.counted(6, 3, 10, 101.0, cancelled=2)
    assert (tally.done, tally.failed, tally.whole) == (4, 1, 8)
    assert "4 / 8 · 1 failed" in static_render.line(tally, 101.0)
    tally.fault("RemoteError", "cancelled", "", 4)
    assert not tally.groups


def test_percentiles_of_how_long_inputs_ran() -> None:
    tally = made(100)
    assert tally.percentile(0.5) is None
    took(tally, [(index, DONE, index / 100) for index in range(100)])
    assert (tally.percentile(0.5), tally.percentile(0.95)) == (0.5, 0.95)


def test_a_lost_hub_and_a_newer_version_are_said() -> None:
    tally = made(10)
    tally.placed(queued=1, running=2, retrying=0, workers=2, starting=0, why="", newest=5)
    assert "running on v4, v5 exists" in static_render.line(tally, 101.0)
    tally.connected(up=False)
    assert "reconnecting" in static_render.line(tally, 101.0)
    assert "hub restarting" in static_render.line(tally, 101.0)
    tally.counted(1, 0, 10, 101.0)
    assert tally.state == "reconnecting"
    tally.connected(up=True)
    assert tally.state == "running"


def test_inputs_that_run_again_leave_their_group() -> None:
    tally = made(3)
    took(tally, [(0, FAILED, 0.1), (1, FAILED, 0.1), (2, DONE, 0.1)])
    tally.counted(3, 2, 3, 101.0)
    for index in (0, 1):
        tally.fault("ValueError", f"bad {index}", "line 1", index, lambda: "the trace")
    (group,) = tally.groups.values()
    assert (group.indices, group.trace) == ({0, 1}, "the trace")
    tally.again(0, good=True)
    assert (tally.failed, group.count, list(tally.strip())) == (1, 1, [100, 255, 100])
    tally.counted(3, 2, 3, 102.0)
    assert tally.failed == 1  # what the hub counted is what it was
    tally.again(1, good=False)
    assert not tally.groups
    tally.fault("KeyError", "'a'", "line 2", 1)
    assert [g.kind for g in tally.groups.values()] == ["KeyError"]


def test_lines_that_never_end_are_bounded() -> None:
    tally = made()
    for index in range(5000):
        tally.printed(".", index)
    tally.finish("done", "", 101.0)
    assert tally.lines == 5000
    assert len(tally.log) == 200


def test_html_escapes_what_users_made() -> None:
    tally = Tally("<b>", "<i>", 1, "fc-<", began=0.0, total=1)
    tally.fault("<E>", "<script>", "<where>", 0)
    tally.printed("<script>alert(1)</script>\n")
    tally.finish("failed", "<script>", 1.0)
    shown = static_render.html(tally, 1.0)
    assert "<script" not in shown
    assert "<E>" not in shown
    assert "&lt;script&gt;alert" in shown


def test_a_line_that_is_written_over_is_shown_while_it_moves_and_logged_once() -> None:
    tally = made()
    tally.printed("\r 1/3\r 2/3", 0)
    tally.printed("begun", 1)
    assert tally.moving == [" 2/3"]
    assert not tally.log
    tally.printed("\r 3/3\n", 0)
    assert tally.moving == []
    assert list(tally.log) == [" 3/3"]
