"""Checks and normalizes names of Apps, Functions, classes, environments and secrets.

A name is normalized as Python does with identifiers (NFKC), so that a `def`, a file name of macOS and
what somebody typed mean the same Function.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePath
from typing import Any

from nbfn.exception import InvalidError

#: Characters of the longest name.
LONGEST = 64
#: Characters of the digest in a name that could not be kept whole.
_DIGEST = 6


def normalize(name: str) -> str:
    """Return the form in which a name is kept and compared.

    Examples:
        >>> normalized("gro\\u0308\\u00dfe") == "größe"
        True
    """
    return name if name.isascii() else unicodedata.normalize("NFKC", name)


def is_name(value: str) -> bool:
    """Return whether a normalized string may be a name: letters and digits of any script, ``-``, ``_`` and ``.``.

    Examples:
        >>> [is_name(text) for text in ("churn-2", "größe", "分析", "a b", "a/b", "🎉", "")]
        [True, True, True, False, False, False, False]
    """
    # As the second character of an identifier a letter, a digit or a combining mark may stand.
    return 0 < len(value) <= LONGEST and all(c in "-." or f"a{c}".isidentifier() for c in value)


def check_name(what: str, value: Any) -> str:
    """Return a name that may be registered, normalized.

    Raises:
        InvalidError: If it is not a string or has other characters.
    """
    if not isinstance(value, str):
        raise InvalidError(f"{what} is {value!r}; it must be a string.")
    name = normalize(value)
    if not is_name(name):
        raise InvalidError(
            f"{what} {value!r} is not a name: use letters, digits, '-', '_' and '.', at most {LONGEST} of them."
        )
    return name


def check_environment(name: Any) -> str:
    """Return the name of an environment; "" for None, the default one.

    Raises:
        InvalidError: If it is not a name.
    """
    return "" if name in (None, "") else check_name("The environment's name", name)


def app_name_of(file: str) -> str:
    """Return the name that an App has after a file; files of different names may only differ in what no name has.

    Args:
        file: The path; empty where there is none.

    Examples:
        >>> of_file("some/My notes.ipynb"), of_file("анализ.ipynb")
        ('My-notes', 'анализ')
    """
    stem = normalize(PurePath(file).stem)
    kept = "".join(c if is_name(c) else " " for c in stem)
    name = re.sub(r" +", "-", kept).strip("-.")
    if stem and (not name or len(name) > LONGEST):
        digest = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST]
        name = f"{name[: LONGEST - _DIGEST - 1].strip('-.') or 'notebook'}-{digest}"
    return name


def to_ascii(name: str) -> str:
    """Return lower-case ASCII for a name, as a URL has it: what cannot be written so is told apart by a digest.

    Examples:
        >>> to_ascii("Churn-v2"), to_ascii("größe")
        ('churn-v2', 'gro-e-d353a2')
    """
    plain = unicodedata.normalize("NFKD", name.lower())
    text = "".join(c for c in plain if not unicodedata.combining(c))
    text = re.sub(r"[^a-z0-9]+", "-", text).strip("-")
    if name.isascii():
        return text
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{text}-{digest}".lstrip("-")
