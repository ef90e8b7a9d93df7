"""`Registered`: what the decorators of an App make, told apart from functions and classes that they have not seen."""

from __future__ import annotations


class Registered:
    """Base of Functions, classes of an App, objects of those and local entrypoints."""
