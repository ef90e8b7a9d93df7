"""What the workers of an App write, line by line."""

from __future__ import annotations

import pytest

from nbfn.client.app_output import LONGEST, AppOutputWriter
from nbfn.protocol.messages import AppOutput


def output(text: str, function: str = "f", channel: str = "stdout", index: int = 0) -> AppOutput:
    return AppOutput("ap-1", function, "fc-1", index, channel, text.encode())


def test_lines_come_whole_and_those_of_several_inputs_are_not_mixed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = AppOutputWriter()
    lines.take(output("be"))
    lines.take(output("other\n", index=1))
    lines.take(output("gun\nnext"))
    assert capsys.readouterr().out == "other\nbegun\n"
    lines.close()
    assert capsys.readouterr().out == "next\n"


def test_the_name_stands_before_each_line_where_several_functions_write(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = AppOutputWriter(named=True)
    lines.take(output("one\n\ntwo\n"))
    lines.take(output("failed\n", "Model.predict", "stderr"))
    lines.take(output("worker lost\n", "g", "system"))
    assert capsys.readouterr() == (
        "f | one\nf | \nf | two\n",
        "Model.predict | failed\ng | worker lost\n",
    )


def test_a_progress_bar_moves_on(capsys: pytest.CaptureFixture[str]) -> None:
    lines = AppOutputWriter(named=True)
    lines.take(output("10%\r20%\r"))
    lines.take(output("done\r\n"))
    assert capsys.readouterr().out == "f | 10%\rf | 20%\rf | done\r\n"


def test_a_line_without_end_is_not_kept_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    lines = AppOutputWriter()
    for _ in range(3):
        lines.take(output("x" * LONGEST))
    assert len(capsys.readouterr().out) >= 2 * LONGEST
