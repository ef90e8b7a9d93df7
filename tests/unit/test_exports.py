"""What `nbfn` exports, and what importing it costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import nbfn
import nbfn as modal


def test_all_is_sorted_complete_and_there() -> None:
    assert list(nbfn.__all__) == sorted(nbfn.__all__)
    for name in nbfn.__all__:
        assert getattr(nbfn, name) is not None
    assert set(nbfn.__all__) <= set(dir(nbfn))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = nbfn.nothing


def test_no_name_is_left_out_of_all() -> None:
    assert set(nbfn.__all__) == {*nbfn._HOMES, *nbfn._MODULES, "__version__"}


def test_checkers_see_the_same_names() -> None:
    text = Path(nbfn.__file__).read_text("utf-8")
    checked = text.partition("if TYPE_CHECKING:")[2].partition("__all__ =")[0]
    seen = {
        alias.name
        for node in ast.walk(ast.parse(textwrap.dedent(checked)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen | {"__version__"} == set(nbfn.__all__)


def test_a_name_of_the_past_says_what_it_is_called_today() -> None:
    with pytest.raises(AttributeError, match="'Stub'; an App"):
        _ = nbfn.Stub


def test_public_classes_say_they_are_of_nbfn() -> None:
    values = {"Error", "FunctionAutoscalerSettings", "FunctionStats", "InputStatus", "Tunnel"}
    for name in set(nbfn.__all__) - values:
        if isinstance(value := getattr(nbfn, name), type):
            assert value.__module__ == "nbfn", name


def test_it_can_be_imported_as_modal() -> None:
    assert modal.exception.InvalidError is nbfn.exception.InvalidError
    assert issubclass(modal.exception.NotFoundError, modal.Error)
    assert modal.Function[[int], int] is not None
    assert modal.Function[[int], int, int] is not None


def test_importing_it_imports_next_to_nothing() -> None:
    code = "import sys, json, nbfn; print(json.dumps([m for m in sys.modules]))"
    loaded = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    )
    assert not {"zmq", "cloudpickle", "asyncio", "msgspec", "IPython"} & set(loaded)


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert nbfn.__version__ == version("nbfn")


def test_jupyter_finds_its_parts() -> None:
    assert nbfn._jupyter_labextension_paths() == [{"src": "_labextension", "dest": "nbfn"}]
    (point,) = nbfn._jupyter_server_extension_points()
    assert point["module"] == "nbfn.jupyter.server.extension"
