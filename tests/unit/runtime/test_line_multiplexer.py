"""Several who write to one place."""

from __future__ import annotations

from nbfn.runtime.line_multiplexer import LONGEST, LineMultiplexer


def test_who_writes_alone_is_heard_at_once_others_in_whole_lines() -> None:
    heard: list[str] = []
    voices = LineMultiplexer(heard.append)
    voices.say("a", "one ", alone=True)
    voices.say("b", "two ", alone=False)
    assert heard == ["one "]
    voices.say("a", "more\n", alone=True)
    voices.say("b", "more\nrest", alone=False)
    assert "".join(heard) == "one more\ntwo more\n"
    voices.end()
    assert "".join(heard) == "one more\ntwo more\nrest"


def test_no_line_is_of_two_also_when_one_was_begun_at_once() -> None:
    heard: list[str] = []
    voices = LineMultiplexer(heard.append)
    voices.say("a", "begun", alone=True)
    voices.say("b", "whole\n", alone=False)
    voices.say("a", " goes on\n", alone=True)
    assert "".join(heard).splitlines() == ["begun", "whole", " goes on"]


def test_carriage_returns_end_a_line_and_long_lines_are_not_held() -> None:
    heard: list[str] = []
    voices = LineMultiplexer(heard.append)
    voices.say("a", "\r1/2\r2/2", alone=False)
    assert heard == ["\r1/2\r"]
    voices.say("b", "x" * LONGEST, alone=False)
    assert heard[-1] == "x" * LONGEST
