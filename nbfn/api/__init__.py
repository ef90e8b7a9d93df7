"""The Python API: Apps, Functions, classes, calls and secrets, and the decorators that make them."""
