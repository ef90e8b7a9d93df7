"""Versions, logs and calls in ``%fn``, and who may replace Functions of other notebooks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.kernel import Kernel

Run = Callable[..., list[Any]]

FIRST = (
    "%%remote --app releases\ndef tax(x: float) -> float:\n    print('taxed', x)\n    return x * 2"
)
SECOND = FIRST.replace("* 2", "* 3")
#: Nothing is captured, so both notebooks register the same name with other code.
CELL = "%%remote --app shared {}\ndef f() -> int:\n    return {}"


def magic(line: str) -> str:
    """Return code whose value is what ``%fn`` returns."""
    return f"get_ipython().run_line_magic('fn', {line!r})"


def test_a_function_goes_back_to_an_earlier_version_and_the_rest_of_its_app_stays(
    one_kernel: Run,
) -> None:
    other = "%%remote --app releases\ndef other() -> int:\n    return {}"
    *_, versions, back, called, now, stayed, again = one_kernel(
        *(FIRST, other.format(1), SECOND, other.format(2)),
        "[(row['version'], row['now'], row['by'] != '') for row in " + magic("versions tax") + "]",
        "%fn rollback tax v1",
        "nbfn = __import__('nbfn'); nbfn.Function.from_name('releases', 'tax').remote(10)",
        "[(row['version'], row['now']) for row in " + magic("versions releases/tax") + "]",
        "other.remote()",
        "%fn rollback tax 2",
    )
    assert versions.result == "[('v2', '●', True), ('v1', '', True)]"
    assert re.fullmatch(r"tax is v1 again, was v2 · app releases v\d\n", back.text)
    assert called.result == "20"
    assert now.result == "[('v2', ''), ('v1', '●')]"
    assert stayed.result == "2"
    assert again.text.startswith("tax is v2 again, was v1")


def test_fn_shows_what_a_function_or_a_call_wrote(one_kernel: Run) -> None:
    _, call, all_of_it, last, found, of_call, none = one_kernel(
        FIRST,
        "call = tax.spawn(7)\nlist(tax.map([1, 2, 3]))\ncall.get()",
        "%fn logs tax",
        "[line.message for line in " + magic("logs releases/tax -n 1") + "] != []",
        "{line.message for line in " + magic("logs tax --since 10m --grep 'taxed [12]$'") + "}",
        "[line.message for line in " + magic("logs call") + "]",
        "%fn logs tax --grep nothing",
    )
    assert call.result == "14"
    assert re.search(r"^\d\d:\d\d:\d\d  wk-\w+  taxed 7$", all_of_it.result, re.M)
    assert last.result == "True"
    assert eval(found.result) == {"taxed 1\n", "taxed 2\n"}
    assert of_call.result == r"['taxed 7\n']"
    assert none.result == "Nothing was written."


def test_calls_are_found_by_state_and_age(one_kernel: Run) -> None:
    cell = "%%remote --app states\ndef may_fail(x: int) -> int:\n    return 1 // x"
    _, _, failed, recent, stats, listed, shown = one_kernel(
        cell,
        "list(may_fail.map([1, 0, 2], return_exceptions=True))\nmay_fail.remote(1)",
        "[(row['kind'], row['failed']) for row in " + magic("calls may_fail --state failed") + "]",
        "len(" + magic("calls may_fail --since 1h") + ")",
        "(s := " + magic("stats may_fail") + "[0])['calls'], s['failed inputs'], "
        "s['cold starts'] > 0, 0 <= s['p50 (s)'] <= s['p95 (s)']",
        "{row['name']: row['last call'] for row in " + magic("list --app states") + "}",
        "%fn show may_fail",
    )
    assert failed.result == "[('map', 1)]"
    assert recent.result == "2"
    assert stats.result == "(2, 1, True, True)"
    assert re.fullmatch(r"\{'may_fail': '\d\.\d s ago'\}", listed.result)
    assert "timeout 300 s · Python 3." in shown.text
    assert "  versions v1\n" in shown.text


def test_a_function_known_by_name_only_shows_its_text_and_options(one_kernel: Run) -> None:
    cell = (
        "%%remote --app options --retries 2 --timeout 9 --concurrency 3\ndef opted() -> None: ..."
    )
    _, _, shown = one_kernel(cell, "del opted", "%fn show options/opted")
    assert "timeout 9 s · retries 2 · inputs at once 3 · Python" in shown.text
    assert "def opted() -> None: ..." in shown.text


def test_two_notebooks_that_claim_a_name_are_told_and_a_restart_is_not(
    run: Run, tmp_path: Path
) -> None:
    mine, other = tmp_path / "mine.ipynb", tmp_path / "other.ipynb"
    for path in (mine, other):
        path.touch()
    (made,) = run(CELL.format("", 1), JPY_SESSION_NAME=str(mine))
    assert made.shown[0]["text/plain"].startswith("✓ f v1")
    refused, called, taken, again = run(
        CELL.format("", 2),
        "nbfn = __import__('nbfn'); nbfn.Function.from_name('shared', 'f').remote()",
        CELL.format("--take-over", 2),
        CELL.format("", 3),
        JPY_SESSION_NAME=str(other),
    )
    assert re.fullmatch(
        r"UsageError: shared/f belongs to mine\.ipynb, which registered v1 [\d.:]+( s)? ago\. "
        r"Add --take-over to replace it, or choose another --app\.\n",
        refused.stderr,
    )
    assert called.result == "1"
    assert taken.shown[0]["text/plain"].startswith("✓ f v2")
    assert again.shown[0]["text/plain"].startswith("✓ f v3")
    other.rename(tmp_path / "renamed.ipynb")  # what is not there claims nothing
    (restarted,) = run(CELL.format("", 4), JPY_SESSION_NAME=str(tmp_path / "renamed.ipynb"))
    assert restarted.shown[0]["text/plain"].startswith("✓ f v4")


def test_an_identical_cell_in_a_second_notebook_is_let_through_and_claims_nothing(
    run: Run, tmp_path: Path
) -> None:
    mine, other = tmp_path / "mine.ipynb", tmp_path / "other.ipynb"
    for path in (mine, other):
        path.touch()
    cell = (
        "%%remote --app both {}\ndef low(): return {}\ndef f(): return 10 * low.remote()\n"
        "class C:\n    @__import__('nbfn').method()\n    def m(self): return 1\n"
    )
    (made,) = run(cell.format("", 1), JPY_SESSION_NAME=str(mine))
    assert made.shown[0]["text/plain"].count(" v1 · ") == 3
    same, called, options, another = run(
        cell.format("", 1),
        "f.remote()",
        cell.format("--timeout 7", 1),
        cell.format("", 2),
        JPY_SESSION_NAME=str(other),
    )
    assert same.shown[0]["text/plain"].count(" unchanged, v1 · ") == 3
    assert called.result == "10"
    assert "UsageError: both/low belongs to mine.ipynb, which registered v1 " in options.stderr
    assert "UsageError: both/low belongs to mine.ipynb" in another.stderr
    (own,) = run(cell.format("", 2), JPY_SESSION_NAME=str(mine))  # it is still its own
    assert own.shown[0]["text/plain"].count(" v2 · ") == 3


def test_a_rebound_name_does_not_claim_back_what_another_notebook_took_over(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    mine, other = tmp_path / "mine.ipynb", tmp_path / "other.ipynb"
    for path in (mine, other):
        path.touch()
    first = start_kernel(JPY_SESSION_NAME=str(mine))
    second = start_kernel(JPY_SESSION_NAME=str(other))
    first.execute("N = 1\n")
    first.execute("%%remote --app took\ndef f(): return N")
    taken = second.execute("%%remote --app took --take-over\ndef f(): return 'theirs'")
    assert "f v2" in second.shown(taken)[0]
    still = first.execute("f.remote()")
    assert first.shown(still) == ["1"]  # the version of its own
    refused = first.execute("N = 2\nf.remote()")
    assert first.errors(refused) == ["ConflictError"]
    assert "took/f belongs to other.ipynb, which registered v2 " in first.traceback(refused)
    by_name = second.execute("f.remote()")
    assert second.shown(by_name) == ["'theirs'"]


def test_deployed_names_complete(one_kernel: Run) -> None:
    _, _, names, logs = one_kernel(
        FIRST,
        "del tax",
        "get_ipython().kernel.do_complete('%fn show relea', 14)['matches']",
        "get_ipython().kernel.do_complete('%fn logs releases/t', 19)['matches']",
    )
    assert "releases/tax" in eval(names.result)
    assert logs.result == "['releases/tax']"


def test_rows_are_a_dataframe_where_pandas_is(one_kernel: Run, tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text(
        "class DataFrame:\n"
        "    def __init__(self, rows): self.rows = rows\n"
        "    def __repr__(self): return f'a frame of {len(self.rows)} rows'\n"
    )
    add, frame, _ = one_kernel(
        f"{FIRST}\n%local\nimport sys; sys.path.insert(0, {str(tmp_path)!r})",
        "%fn versions releases/tax",
        "sys.path.pop(0); sys.modules.pop('pandas')",
    )
    assert add.error == ""
    assert re.fullmatch(r"a frame of \d rows", frame.result)


def test_help_shows_what_a_remote_cell_can_be_told(one_kernel: Run) -> None:
    (asked,) = one_kernel("print(get_ipython().object_inspect_mime('%%remote')['text/plain'])")
    for option in ("--warm", "--take-over", "-i", "--bg", "--dry-run"):
        assert option in asked.text


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("%fn rollback releases/tax v99", "has no release of v99 (there are: v"),
        ("%fn rollback releases/tax newest", "Invalid version 'newest'; expected for example v3."),
        ("%fn logs releases/tax --since yesterday", "Pass a span like 90s, 10m, 2h or 1d."),
        ("%fn logs releases/tax --grep (", "is not a regular expression"),
        ("%fn logs releases/tax -n 0", "it must be 1 or more"),
        ("%fn logs fc-nothing", "is not a call"),
        ("%fn calls --since x", "--since x is not valid."),
        ("%%remote\ndef f(): ...\n%nosuchmagic 1", "a remote cell contains only plain Python"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(one_kernel: Run, line: str, says: str) -> None:
    _, failed = one_kernel(FIRST, line)
    assert failed.stderr.startswith("UsageError: ")
    assert says in failed.stderr
    assert failed.error == ""
