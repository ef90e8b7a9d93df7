"""Saved notebooks: nbfn's own live widgets are removed, everything else stays."""

from __future__ import annotations

import copy
from typing import Any

from nbfn.jupyter.server.pre_save_hook import SAVED_STATIC, WIDGET, without_widgets
from nbfn.jupyter.views import widget_output


def output(metadata: dict[str, Any]) -> dict[str, Any]:
    data = {WIDGET: {"model_id": "1"}, "text/html": "<b>static</b>", "text/plain": "static"}
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def test_only_our_widgets_are_taken_out() -> None:
    ours, theirs = output(widget_output.LIVE), output({})
    stream = {"output_type": "stream", "name": "stdout", "text": "x"}
    cells = [{"cell_type": "code", "outputs": [ours, theirs, stream]}, {"cell_type": "markdown"}]
    without_widgets(model={"type": "notebook", "content": {"cells": cells}}, path="x.ipynb")
    assert set(ours["data"]) == {"text/html", "text/plain"}
    assert WIDGET in theirs["data"]


def test_other_files_are_left_alone() -> None:
    for model in ({"type": "file", "content": "text"}, {"type": "notebook", "content": None}, {}):
        before = copy.deepcopy(model)
        without_widgets(model=model, path="x")
        assert model == before


def test_both_halves_mean_the_same_variable() -> None:
    assert widget_output.SAVED_STATIC == SAVED_STATIC
