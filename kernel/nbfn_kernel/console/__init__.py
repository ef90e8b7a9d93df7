"""Consoles: a Jupyter kernel in a running worker, to look at what it runs."""
