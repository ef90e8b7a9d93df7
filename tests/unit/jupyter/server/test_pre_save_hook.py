"""Saved notebooks: nbfn's own live widgets are removed, and calls have their state at the save."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from nbfn.jupyter.server import schema
from nbfn.jupyter.server.pre_save_hook import SAVED_STATIC, WIDGET, PreSaveHook
from nbfn.jupyter.views import widget_output
from nbfn.jupyter.views.display_registry import CALL_MIME

ID = "fc-" + 22 * "a"


def row(**given: Any) -> schema.CallRow:
    """A row of a spawned map of 4 inputs that has run for a minute."""
    zeros = {f.name: "" for f in msgspec.structs.fields(schema.CallRow) if f.type is str}
    counts = {"total": 4, "succeeded": 2, "failed": 1, "cancelled": 0}
    more = {"running": 1, "waiting": 0, "not_run": 0, "version": 3, "more": False}
    rest = {"purpose": "function", "state": "running", "started": 940.0, "ended": None}
    return msgspec.convert(
        zeros
        | counts
        | more
        | rest
        | {"id": ID, "function": "<b>train</b>", "durable": True, "notify": False}
        | given,
        schema.CallRow,
    )


def hook(*rows: schema.CallRow, connection: str = "running") -> PreSaveHook:
    hub: Any = None
    overview = schema.Overview(
        stream="",
        revision=1,
        now=1000.0,
        hub=hub,
        unfinished=1,
        functions=(),
        calls=rows,
        workers=(),
    )
    reply: Any = schema.OverviewReply(connection=connection, message="", overview=overview)  # type: ignore[arg-type]
    return PreSaveHook(lambda: reply)


def output(metadata: dict[str, Any], **call: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        WIDGET: {"model_id": "1"},
        "text/html": "<b>static</b>",
        "text/plain": "static",
    }
    if call:
        data[CALL_MIME] = {"call": ID, "kind": "spawn", "at": 1.0, "display": "d"} | call
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def saved(hook: PreSaveHook, *outputs: dict[str, Any]) -> None:
    cells = [{"cell_type": "code", "outputs": list(outputs)}, {"cell_type": "markdown"}]
    hook(model={"type": "notebook", "content": {"cells": cells}}, path="x.ipynb")


def test_only_our_widgets_are_taken_out() -> None:
    ours, theirs = output(widget_output.LIVE), output({})
    saved(hook(), ours, theirs, {"output_type": "stream", "name": "stdout", "text": "x"})
    assert set(ours["data"]) == {"text/html", "text/plain"}
    assert WIDGET in theirs["data"]


def test_a_call_that_runs_is_saved_with_its_state_at_the_save() -> None:
    shown = output(widget_output.LIVE, ended=False)
    saved(hook(row()), shown)
    text, html = shown["data"]["text/plain"], shown["data"]["text/html"]
    assert text.startswith(
        "● <b>train</b> v3 · running 1:00 · fc-aaaa · 2 succeeded, 1 failed, 1 running of 4 · as of "
    )
    assert text.endswith(f"; %fn attach {ID} shows it")
    assert "&lt;b&gt;train&lt;/b&gt; v3</b> · running 1:00" in html
    assert "<b>train" not in html
    assert shown["data"][CALL_MIME]["at"] == 1000.0
    assert shown["data"][CALL_MIME]["ended"] is False  # so that a page looks for its result


def test_a_call_that_has_ended_unseen_says_how_to_get_its_result() -> None:
    good, bad = output({}, ended=False), output({}, ended=False)
    saved(hook(row(state="succeeded", total=1, ended=950.0)), good)
    saved(hook(row(state="failed", total=1, ended=950.0)), bad)
    got = f'nbfn.FunctionCall.from_id("{ID}").get()'
    assert good["data"]["text/plain"] == (
        f"✓ <b>train</b> v3 · succeeded 0:10 · fc-aaaa · {got} returns its result"
    )
    assert bad["data"]["text/plain"].endswith(f"{got} raises its error")


@pytest.mark.parametrize(
    ("hook", "call"),
    [
        (hook(), {"ended": False}),  # the hub does not know it
        (hook(row(), connection="absent"), {"ended": False}),
        (hook(row()), {"ended": True}),
        (hook(row()), {"ended": False, "call": ["fc"]}),
        (hook(row()), {"ended": None}),
    ],
)
def test_what_the_server_does_not_know_better_stays(hook: PreSaveHook, call: Any) -> None:
    shown = output(widget_output.LIVE, **call)
    before = copy.deepcopy(shown)
    del before["data"][WIDGET]
    saved(hook, shown)
    assert shown == before


def test_an_error_does_not_prevent_the_save(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> schema.OverviewReply:
        raise ValueError("broken")

    shown = output(widget_output.LIVE, ended=False)
    saved(PreSaveHook(broken), shown)
    assert WIDGET not in shown["data"]
    assert "could not be updated" in caplog.text


def test_other_files_are_left_alone() -> None:
    for model in ({"type": "file", "content": "text"}, {"type": "notebook", "content": None}, {}):
        before = copy.deepcopy(model)
        hook()(model=model, path="x")
        assert model == before


def test_both_halves_mean_the_same_variable() -> None:
    assert widget_output.SAVED_STATIC == SAVED_STATIC
