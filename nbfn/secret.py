"""`Secret`: environment variables that are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Secret:
    """Environment variables for the workers of a Function, by value or by the name they are stored under.

    Examples:
        >>> Secret.from_dict({"TOKEN": "x"})
        Secret.from_dict({'TOKEN': ...})
    """

    __module__ = "nbfn"

    name: str  # empty where the values are at hand
    values: Mapping[str, str]

    @classmethod
    def from_dict(cls, env_dict: Mapping[str, str | None]) -> Secret:
        """Make one of values at hand; those that are None are left out."""
        self = cls.__new__(cls)
        self.name = ""
        self.values = {name: value for name, value in env_dict.items() if value is not None}
        return self

    @classmethod
    def from_name(cls, name: str, **_options: Any) -> Secret:
        """Refer to one that was stored."""
        self = cls.__new__(cls)
        self.name = name
        self.values = {}
        return self

    def __repr__(self) -> str:
        if self.name:
            return f"Secret.from_name({self.name!r})"
        names = ", ".join(f"{name!r}: ..." for name in self.values)
        return f"Secret.from_dict({{{names}}})"
