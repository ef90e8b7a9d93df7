"""Kernels of notebooks: the local one, the one that forwards cells to a session on a worker, and that session."""
