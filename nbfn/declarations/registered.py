"""`Registered`: the common base of objects that the decorators of an App return."""

from __future__ import annotations


class Registered:
    """Base of Functions, classes of an App, objects of those and local entrypoints."""
