"""Provides `Registered`, the base class of the objects that the decorators of an App return."""

from __future__ import annotations


class Registered:
    """Base of Functions, classes of an App, objects of these classes, and local entrypoints."""
