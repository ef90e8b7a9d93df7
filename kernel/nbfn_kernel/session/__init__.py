"""The kernels of notebooks: a local kernel, and a kernel that forwards cells to a session on a worker."""
