"""The `__main__` module of processes that user code starts by multiprocessing's ``spawn`` or ``forkserver``."""

from nbfn_kernel.worker import main_module

globals().update(main_module.inherited_names())
