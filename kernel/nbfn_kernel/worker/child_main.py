"""What multiprocessing runs as `__main__` in a process that user code starts with ``spawn`` or ``forkserver``."""

from nbfn_kernel.worker import main_module

globals().update(main_module.inherited())
