"""What `nbfn` exports, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys

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


def test_public_classes_say_they_are_of_nbfn() -> None:
    for name in ("App", "Client", "Function", "FunctionCall", "Retries"):
        assert getattr(nbfn, name).__module__ == "nbfn", name


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
    assert point["module"] == "nbfn.lab.extension"
