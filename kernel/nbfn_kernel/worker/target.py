"""`Target`: a function or method that inputs call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A function or method that inputs call."""

    name: str  # for messages
    function: Callable[..., Any]
    is_generator: bool
    is_async: bool
