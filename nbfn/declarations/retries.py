"""Provides `Retries`, the policy by which failed inputs are retried, and checks of numbers in options."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

from nbfn.exception import InvalidError
from nbfn.runtime.traceback_filter import trimmed_init

#: The largest number of workers, of concurrent inputs, or of retries.
LARGEST_COUNT = 1_000_000


def is_int(value: Any) -> bool:
    """Return whether a value is a whole number; True and False do not count."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a real number; True and False do not count."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_at_most(name: str, value: Any, most: int) -> None:
    """Check that a number is not too large.

    Args:
        name: The name of the option, for the error message.
        value: The number.
        most: The largest valid number.

    Raises:
        InvalidError: If it is above ``most``.
    """
    if value > most:
        raise InvalidError(f"{name} is {value!r}; it must be at most {most}.")


@trimmed_init
@dataclass(frozen=True, slots=True, init=False)
class Retries:
    """The retry policy of a Function: the number of retries of a failed input, and the delays before them.

    The delay before retry n is ``initial_delay * backoff_coefficient ** (n - 1)`` seconds, at most ``max_delay``.

    Args:
        max_retries: The most retries of an input; 2 means up to three attempts.
        backoff_coefficient: The factor from one delay to the next, from 1 to 10.
        initial_delay: Seconds before the first retry, from 0 to 60.
        max_delay: The most seconds before a retry, from 1 to 60.

    Raises:
        InvalidError: If a number is out of range.

    Examples:
        >>> Retries(max_retries=3, initial_delay=0.5).max_retries
        3
    """

    __module__ = "nbfn"

    max_retries: int
    backoff_coefficient: float
    initial_delay: float
    max_delay: float

    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
    ) -> None:
        if not is_int(max_retries) or max_retries < 0:
            raise InvalidError(
                f"max_retries is {max_retries!r}; it must be a whole number, 0 or more."
            )
        check_at_most("max_retries", max_retries, LARGEST_COUNT)
        for name, value, low, high in (
            ("backoff_coefficient", backoff_coefficient, 1, 10),
            ("initial_delay", initial_delay, 0, 60),
            ("max_delay", max_delay, 1, 60),
        ):
            if not is_number(value) or not low <= value <= high:
                raise InvalidError(f"{name} is {value!r}; it must be between {low} and {high}.")
        object.__setattr__(self, "max_retries", int(max_retries))
        object.__setattr__(self, "backoff_coefficient", float(backoff_coefficient))
        object.__setattr__(self, "initial_delay", float(initial_delay))
        object.__setattr__(self, "max_delay", float(max_delay))

    @classmethod
    def read(cls, name: str, value: Any) -> Retries:
        """Return the policy for the value of an option.

        Args:
            name: The name of the option, for the error message.
            value: A policy, or a number of retries with a constant delay of one second.

        Raises:
            InvalidError: If the value is neither.
        """
        if isinstance(value, Retries):
            return value
        if not is_int(value) or value < 0:
            raise InvalidError(
                f"{name} is {value!r}; it must be a whole number, 0 or more, or nbfn.Retries(...)."
            )
        check_at_most(name, value, LARGEST_COUNT)
        return cls(max_retries=int(value), backoff_coefficient=1.0, initial_delay=1.0)
