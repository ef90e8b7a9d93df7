"""Checks the option ``callback_url``: an address to which the hub posts when a call ends."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from nbfn.exception import InvalidError

#: A URL without user and password. What follows the host may not have spaces or control characters.
PATTERN = r"https?://[^\s\x00-\x20@/?#\\]+([/?][^\s\x00-\x20#]*)?"
#: The most characters of such a URL.
LONGEST = 2048


def check_callback_url(name: str, value: Any) -> str:
    """Check the URL of an option.

    Args:
        name: The name of the option, for the error message.
        value: The value.

    Returns:
        The URL.

    Raises:
        InvalidError: If it is not an http or https URL, or has a user, a password or a fragment.
    """
    if not isinstance(value, str) or len(value) > LONGEST or not _is_url(value):
        shown = repr(value) if len(repr(value)) <= 100 else f"{repr(value)[:99]}…"
        raise InvalidError(
            f"{name} is {shown}; it must be an http or https URL without user, password and fragment, "
            f"of at most {LONGEST} characters."
        )
    return value


def _is_url(value: str) -> bool:
    if not value.isascii() or re.fullmatch(PATTERN, value) is None:
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is not valid
        return False
