"""`Image`: what of it is honoured, and what is said of the rest."""

from __future__ import annotations

import pickle
import platform
import warnings
from pathlib import Path
from typing import Any

import pytest

import nbfn as modal
from nbfn.declarations import options
from nbfn.exception import InvalidError


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_warned", set())


def test_steps_chain_and_leave_the_image_before_as_it_was() -> None:
    base = modal.Image.debian_slim()
    ready = base.apt_install("git", "ffmpeg").run_commands("make", gpu="any").a_step_of_next_year(1)
    assert base.unmet == ()
    assert ready.unmet == (
        "apt_install('git', 'ffmpeg')",
        "run_commands('make', gpu='any')",
        "a_step_of_next_year(1)",
    )


def test_variables_add_up_and_stay_through_later_steps() -> None:
    image = modal.Image.debian_slim().env({"A": "1"}).apt_install("git").env({"B": "2", "A": "3"})
    assert image.variables == {"A": "3", "B": "2"}
    with pytest.raises(InvalidError, match="Image.env\\['A'\\] must be a string, not int"):
        modal.Image.debian_slim().env({"A": 1})  # type: ignore[dict-item]


def test_packages_that_are_installed_are_as_asked_for() -> None:
    image = modal.Image.debian_slim().pip_install("pyzmq>=20", ["msgspec", "click"])
    assert image.unmet == ()
    assert image.uv_pip_install("packaging").unmet == ()


def test_packages_that_are_missing_or_too_old_are_named() -> None:
    image = modal.Image.debian_slim().pip_install("pyzmq", "no-such-package", "click>=999")
    assert image.unmet == ("pip_install('no-such-package', 'click>=999'), not installed here",)


def test_another_python_is_named() -> None:
    ours = ".".join(platform.python_version_tuple()[:2])
    assert modal.Image.debian_slim(python_version=ours).unmet == ()
    assert modal.Image.debian_slim("2.7").unmet == (f"debian_slim('2.7'), this is {ours}",)


@pytest.mark.parametrize("start", ["from_registry", "from_dockerfile", "from_name", "from_aws_ecr"])
def test_every_way_to_begin_is_there(start: str) -> None:
    assert getattr(modal.Image, start)("x").unmet == (f"{start}('x')",)
    with pytest.raises(InvalidError, match="debian_slim"):
        modal.Image("x")


def test_imports_lets_a_missing_module_pass_with_a_word() -> None:
    with (
        pytest.warns(UserWarning, match="no_such_module.*Install it here"),
        modal.Image.debian_slim().imports(),
    ):
        import no_such_module  # type: ignore[import-not-found] # noqa: F401
    with modal.Image.debian_slim().imports():
        import json

        assert json
    with pytest.raises(ZeroDivisionError), modal.Image.debian_slim().imports():
        _ = 1 / 0


def test_an_option_says_once_which_steps_have_no_effect_and_what_happens_instead() -> None:
    image = modal.Image.debian_slim().apt_install("git").pip_install("no-such-package")
    with pytest.warns(UserWarning) as said:  # noqa: PT030 - looked at below
        modal.App().function(image=image)
    assert str(said[0].message) == (
        "Of option 'image' this has no effect in nbfn: apt_install('git'); "
        "pip_install('no-such-package'), not installed here. "
        "Instead, workers run in this notebook's own Python environment, as it is."
    )
    assert Path(said[0].filename) == Path(__file__)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        modal.App().function(image=image)
        modal.App().function(image=modal.Image.debian_slim().pip_install("pyzmq"))


def test_the_apps_image_is_that_of_its_functions() -> None:
    app = modal.App(image=modal.Image.debian_slim().env({"MODE": "app"}))

    def noop() -> None: ...

    own = modal.Image.debian_slim().env({"MODE": "own"})
    assert app.function(name="one")(noop).spec.image.variables == {"MODE": "app"}  # type: ignore[union-attr]
    assert app.function(name="two", image=own)(noop).spec.image is own


@pytest.mark.parametrize("wrong", ["debian", 3, object()])
def test_what_is_no_image_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidError, match=r"must be nbfn\.Image"):
        modal.App().function(image=wrong)


def test_it_can_be_pickled_and_looked_at() -> None:
    image = modal.Image.debian_slim().apt_install("git").env({"A": "1"})
    again = pickle.loads(pickle.dumps(image))
    assert (again.unmet, again.variables) == (image.unmet, image.variables)
    assert repr(image) == "<Image apt_install('git')>"
    assert not hasattr(image, "_repr_html_")
