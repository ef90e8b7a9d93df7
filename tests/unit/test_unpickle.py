"""Pickles of nbfn's objects name nothing that may move."""

from __future__ import annotations

import contextlib
import functools
import importlib
import pickle
import pickletools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest

import nbfn
from nbfn import _unpickle
from nbfn.api.variants import ConstructorArguments, VariantRef
from nbfn.client.registration.remote_ref import by_id, by_name
from nbfn.protocol.messages import Payload, Variant
from nbfn.serialization import pickler

#: What a pickle may name: the package itself, whose names are public, and public modules.
STABLE = {"nbfn", "nbfn.exception", "nbfn.types", "nbfn._unpickle"}

app = nbfn.App("unpickle")


@app.function()
def square(x: int) -> int:
    return x * x


@app.cls()
class Model:
    size: int = nbfn.parameter(default=3)

    @nbfn.enter()
    def load(self) -> None:
        self.loaded = True

    @nbfn.batched(max_batch_size=4, wait_ms=20)
    def predict(self, values: list[int]) -> list[int]:
        return [self.size * value for value in values]


def module_names(pickled: bytes) -> set[str]:
    """Return the modules of nbfn that a pickle names."""
    strings: list[str] = []
    found: set[str] = set()
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            found.add(argument.split()[0])
        elif opcode.name == "STACK_GLOBAL":
            found.add(strings[-2])
        elif isinstance(argument, str):
            strings.append(argument)
    return {name for name in found if name.partition(".")[0] in ("nbfn", "nbfn_kernel")}


@contextlib.contextmanager
def cloudpickle_by_value() -> Iterator[None]:
    """Pickle what this module defines by value, as what a notebook defines."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def a_variant() -> VariantRef:
    changes = Variant(timeout=5.0, arguments=Payload(b"packed"))
    return VariantRef(
        by_id("fu-1", "square", 0), changes, "(...)", ConstructorArguments((1,), {"size": 2})
    )


OBJECTS: dict[str, Callable[[], Any]] = {
    "function": lambda: nbfn.Function.from_name("unpickle", "square"),
    "class": lambda: nbfn.Cls.from_name("unpickle", "Model"),
    "object": lambda: nbfn.Cls.from_name("unpickle", "Model")(size=4),
    "reference by id": lambda: by_id("fu-1", "square", 0),
    "reference by name": lambda: by_name("unpickle", "square", "", 0, "Function"),
    "variant": a_variant,
    "stored secret": lambda: nbfn.Secret.from_name("key"),
    "secret": lambda: nbfn.Secret.from_dict({"A": "1"}),
    "call": lambda: nbfn.FunctionCall.from_id("fc-0123456789abcdefghijkl"),
    "the class itself": lambda: Model._raw,
    "cache": lambda: functools.lru_cache(lambda x: x),
    "cached property": lambda: functools.cached_property(lambda self: 1),
    "single dispatch": lambda: functools.singledispatch(lambda x: x),
    "app": lambda: nbfn.App("other"),
}


#: The functions of the API, which what a notebook defines may refer to.
FUNCTIONS = [
    name
    for name in nbfn.__all__
    if callable(value := getattr(nbfn, name)) and not isinstance(value, type)
]


@pytest.mark.parametrize("kind", OBJECTS)
def test_a_pickle_names_only_what_does_not_move(kind: str) -> None:
    with cloudpickle_by_value():
        pickled = pickler.dumps(OBJECTS[kind]())
    assert module_names(pickled) <= STABLE
    pickle.loads(pickled)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_is_pickled_by_its_public_name(name: str) -> None:
    function = getattr(nbfn, name)
    pickled = pickler.dumps(function)
    assert module_names(pickled) == {"nbfn"}
    assert pickle.loads(pickled) is function


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_is_found_where_older_versions_had_it(name: str) -> None:
    (path,) = [names[name] for names in _unpickle.MOVED.values() if name in names]
    module, _, attribute = path.partition(":")
    assert getattr(importlib.import_module(module), attribute) is getattr(nbfn, name)


def test_a_variant_is_rebuilt_as_it_was() -> None:
    made, found = a_variant(), pickle.loads(pickler.dumps(a_variant()))
    assert isinstance(found, VariantRef)
    assert (found.changes, found.suffix, found._arguments) == (
        *(made.changes, made.suffix, made._arguments),
    )


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in _unpickle.MOVED.items() for name in names],
)
def test_what_pickles_of_older_versions_name_is_found(module: str, name: str) -> None:
    assert callable(pickle.loads(f"c{module}\n{name}\n.".encode()))


def test_a_module_that_does_not_exist_any_more_has_what_pickles_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        _unpickle.MOVED,
        "nbfn.gone.origin",
        {"by_id": "nbfn.client.registration.remote_ref:by_id"},
    )
    assert pickle.loads(b"cnbfn.gone.origin\nby_id\n.") is by_id
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("nbfn.gone.other")
    with pytest.raises(AttributeError):
        pickle.loads(b"cnbfn.gone.origin\nby_name\n.")
