"""What multiprocessing runs as `__main__` in a process that user code starts with ``spawn`` or ``forkserver``."""

from nbfn_kernel import program

globals().update(program.inherited())
