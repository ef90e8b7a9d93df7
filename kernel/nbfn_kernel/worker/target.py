"""`Target`: a function, or a method of a class, that inputs can call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that inputs can call."""

    name: str  # for people
    function: Callable[..., Any]
    is_generator: bool
    is_async: bool
