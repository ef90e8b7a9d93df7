"""What a worker says when it cannot become a Function."""

from __future__ import annotations

import msgspec
import pytest

from nbfn.client.process_info import this_environment
from nbfn.exception import DeserializationError
from nbfn.protocol.messages import Definition, Payload
from nbfn_kernel.worker import function_loader

HERE = this_environment()
BROKEN = DeserializationError("A value could not be rebuilt.")


def said(**other: str) -> str:
    environment = msgspec.structs.replace(HERE, **other)
    definition = Definition("f", Payload(b""), "", environment)
    return str(function_loader.version_mismatch(definition, BROKEN))


def test_another_python_is_named_with_this_one() -> None:
    told = said(python="3.9")
    assert f"'f' was registered with Python 3.9 (here: {HERE.python})" in told
    assert "Deploy it again" in told
    assert str(BROKEN) in told


def test_another_cloudpickle_is_named_with_this_one() -> None:
    assert f"cloudpickle 1.6 (here: {HERE.cloudpickle})" in said(cloudpickle="1.6")


@pytest.mark.parametrize("other", [{}, {"python": "", "cloudpickle": ""}])
def test_otherwise_it_names_the_function_and_the_error(other: dict[str, str]) -> None:
    assert said(**other) == f"'f' cannot be loaded. {BROKEN}"
