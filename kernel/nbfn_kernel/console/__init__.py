"""Consoles: a Jupyter kernel in a running worker, to inspect its code."""
