"""Checks the environment variables of workers. Error messages never contain values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from nbfn.exception import InvalidError

#: Prefixes of names that only nbfn sets.
RESERVED = ("MODAL_", "NBFN_")
#: The most characters of all names and values together. Most systems cannot start a program with more.
MOST_CHARACTERS = 1024 * 1024


def check_variables(what: str, given: Any) -> Mapping[str, str]:
    """Check environment variables for a worker.

    Args:
        what: The name of the option or method that received them, for error messages.
        given: The variables.

    Returns:
        A read-only copy.

    Raises:
        InvalidError: If it is not a dict of strings, or a name is not valid or reserved.
    """
    if not isinstance(given, Mapping):
        raise InvalidError(f"{what} must be a dict of strings, not {type(given).__name__}.")
    for name, value in given.items():
        _check_variable(what, name, value)
    size = sum(len(name) + len(value) for name, value in given.items())
    if size > MOST_CHARACTERS:
        raise InvalidError(
            f"{what} has {size:,} characters in all; {MOST_CHARACTERS:,} is the most. Put large values into "
            "files and pass their paths."
        )
    return MappingProxyType(dict(given))


def _check_variable(what: str, name: Any, value: Any) -> None:
    if not isinstance(name, str):
        raise InvalidError(f"{what} has the name {name!r}; names are strings.")
    if not isinstance(value, str):
        raise InvalidError(f"{what}[{name!r}] must be a string, not {type(value).__name__}.")
    if not re.fullmatch(r"[^=\0]+", name):
        raise InvalidError(
            f"{what} has {name!r}, which cannot be the name of an environment variable."
        )
    if "\0" in value:
        raise InvalidError(f"{what} has a value with a null character for {name!r}.")
    if not _is_text(name + value):
        raise InvalidError(f"{what} has characters for {name!r} that are no text (not UTF-8).")
    if name.startswith(RESERVED):
        raise InvalidError(
            f"{what} sets {name!r}; names that begin with MODAL_ or NBFN_ are reserved. Choose another."
        )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class EnvVars:
    """Environment variables for the workers of a Function: their values, or the name of a stored secret.

    Attributes:
        name: The name of the stored secret; empty if `values` are given.
        environment_name: The environment that stores the secret; empty for the environment of the App.
        required_keys: Variables that the stored secret must contain.
        values: The values, by name.
        withheld: Whether the values are missing because the object was unpickled; secret values are never pickled.
    """

    name: str = ""
    environment_name: str = ""
    required_keys: tuple[str, ...] = ()
    values: Mapping[str, str] = MappingProxyType({})
    withheld: bool = False
    _shown: str = ""

    def __repr__(self) -> str:
        return self._shown
