"""What a Function may be told, and what is said of the rest."""

from __future__ import annotations

import warnings
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import nbfn
from nbfn import App, Mount, Secret, Volume
from nbfn.declarations import options
from nbfn.declarations.options import Options, Retries
from nbfn.exception import InvalidError
from nbfn.protocol.codec import find_problem
from nbfn.protocol.messages import Definition, Environment, GetOverview, Payload, Register


def test_the_older_names_mean_the_same_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = Options.read(
            {
                "keep_warm": 1,
                "concurrency_limit": 4,
                "_experimental_buffer_containers": 2,
                "container_idle_timeout": 30,
            }
        )
    assert (read.min_containers, read.max_containers) == (1, 4)
    assert (read.buffer_containers, read.scaledown_window) == (2, 30.0)


def test_a_number_of_retries_is_a_second_apart() -> None:
    assert Options.read({"retries": 3}).retries == Retries(
        max_retries=3, backoff_coefficient=1.0, initial_delay=1.0
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", None),
        ("timeout", 90000),
        ("timeout", "5"),
        ("retries", -1),
        ("retries", "twice"),
        ("min_containers", -1),
        ("min_containers", 1.5),
        ("max_containers", 0),
        ("scaledown_window", 0),
        ("scaledown_window", 1201),
        ("buffer_containers", True),
        ("name", "no spaces"),
        ("name", 7),
        ("is_generator", "yes"),
        ("timeout", float("nan")),
        ("retries", True),
        ("retries", 10**30),
        ("cpu", "2"),
        ("cpu", True),
        ("cpu", float("inf")),
        ("cpu", 10**400),
        ("memory", "512"),
        ("memory", 10**30),
        ("gpu", 1),
        ("min_containers", 2**63),
        ("allow_concurrent_inputs", 2**64),
        ("schedule", "0 9 * * *"),
        ("image", "debian"),
        ("volumes", {1: Volume.from_name("v")}),
        ("volumes", {"/data": "v"}),
        ("mounts", Mount.from_local_dir(".")),
        ("proxy", "p"),
        ("region", 5),
        ("cloud", ["aws"]),
        ("block_network", "yes"),
        ("ephemeral_disk", "1 GB"),
        ("experimental_options", ["x"]),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        Options.read({name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


def test_bounds_that_do_not_fit_together() -> None:
    with pytest.raises(InvalidError, match="above max_containers"):
        Options.read({"min_containers": 3, "max_containers": 2})


def test_an_unknown_option_gets_a_suggestion() -> None:
    with pytest.raises(InvalidError, match="Did you mean 'timeout'"):
        Options.read({"timout": 3})


def test_what_only_means_something_in_a_cloud_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_warned", set())
    with pytest.warns(
        UserWarning, match="Option 'region' has no effect in nbfn: workers run on this machine"
    ):
        Options.read({"region": "eu"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Options.read({"region": "us"})
        Options.read({"image": None, "volumes": {}, "secrets": []})


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_retries": -1},
        {"max_retries": 1, "backoff_coefficient": 11},
        {"max_retries": 1, "initial_delay": 61},
        {"max_retries": 1, "max_delay": 0.5},
    ],
)
def test_retries_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        Retries(**wrong)


class TestDecorator:
    """What the decorator refuses."""

    app = nbfn.App()

    def test_forgotten_parentheses(self) -> None:
        with pytest.raises(InvalidError, match="forget parentheses"):

            @self.app.function  # type: ignore[arg-type]
            def f() -> None: ...

    def test_a_positional_option(self) -> None:
        with pytest.raises(InvalidError, match="keywords"):
            self.app.function("image")

    def test_a_class(self) -> None:
        with pytest.raises(TypeError, match="cannot decorate class"):

            @self.app.function()
            class C: ...

    def test_a_method(self) -> None:
        with pytest.raises(InvalidError, match="method 'C.m'"):

            class C:
                @TestDecorator.app.function()
                def m(self) -> None: ...

    def test_a_lambda_without_a_name(self) -> None:
        with pytest.raises(InvalidError, match="name="):
            self.app.function()(lambda x: x)
        assert self.app.function(name="same")(lambda x: x).local(3) == 3

    def test_retries_of_a_generator(self) -> None:
        with pytest.raises(InvalidError, match="cannot have retries"):

            @self.app.function(retries=1)
            def g() -> Any:
                yield 1

    def test_a_function_twice(self) -> None:
        function = self.app.function(name="once")(lambda: 1)
        with pytest.raises(InvalidError, match="already"):
            self.app.function()(function)

    def test_another_of_the_same_name_replaces_it_and_says_so(self) -> None:
        self.app.function(name="twice")(lambda: 1)
        with pytest.warns(UserWarning, match="'twice' of App\\(\\) is replaced"):
            second = self.app.function(name="twice")(lambda: 2)
        assert self.app.registered_functions["twice"] is second


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, 3])
def test_the_name_of_an_app(name: Any) -> None:
    with pytest.raises(InvalidError):
        nbfn.App(name)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("env", {"A": "\ud800"}, "env has characters for 'A' that are no text"),
        ("secrets", "token", "secrets is an object of type str; it must be a list"),
        ("secrets", {"A": "1"}, "secrets is an object of type dict; it must be a list"),
        ("secrets", ["token"], "secrets has an object of type str; it must be a list"),
        (
            "volumes",
            {"data": Volume.from_name("v")},
            "volumes has the path 'data'; it must be absolute",
        ),
        ("volumes", {"/": Volume.from_name("v")}, "volumes has the path '/', which is taken"),
    ],
)
def test_what_may_be_secret_or_is_but_a_part_is_not_shown_whole(
    name: str, value: Any, said: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        Options.read({name: value})
    assert str(caught.value).startswith(said)


def test_paths_of_volumes_may_be_paths() -> None:
    volume = Volume.from_name("v")
    for path in ("/data", PurePosixPath("/data"), Path("/data")):
        options._warned.discard("volumes")
        with pytest.warns(UserWarning, match="'volumes' has no effect"):
            Options.read({"volumes": {path: volume}})


def test_a_secret_is_given_in_a_list() -> None:
    secret = Secret.from_dict({"A": "1"})
    with pytest.raises(InvalidError, match=r"secrets is a single Secret; it must be a list"):
        Options.read({"secrets": secret})
    with pytest.raises(InvalidError, match=r"secrets is a single Secret; it must be a list"):
        App(secrets=secret)
    assert Options.read({"secrets": [secret]}).secrets == (secret,)


def test_an_unknown_experimental_option_is_said_to_have_no_effect() -> None:
    with pytest.warns(UserWarning, match="'_experimental_spin' has no effect in nbfn"):
        Options.read({"_experimental_spin": 3})


def test_a_message_with_a_value_of_a_wrong_type_is_explained_without_the_value() -> None:
    wrong: Any = {"A": 7}
    sent = Definition("f", Payload(b""), "", Environment("", (), "", "", ""), env=wrong)
    said = find_problem(Register(1, "app", sent))
    assert said == "env has a part of a wrong type; each must be a string."
    assert not find_problem(GetOverview(1))
    number: Any = 2**70
    assert "cannot be sent to the hub" in find_problem(GetOverview(number))
