"""The kernel of the kernelspec "Python 3 (nbfn)": an IPython kernel with nbfn already loaded.

It runs a notebook, not a Function. It imports IPython only, and has nbfn as the name of an extension.
"""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp
from traitlets import List, Unicode


class LocalKernelApp(IPKernelApp):
    """An ordinary IPython kernel that starts with ``%load_ext nbfn`` done.

    An extension that fails to load is reported in the log and the kernel starts all the same.
    """

    default_extensions = List(
        Unicode(), ["storemagic", "nbfn"], help="Extensions loaded before the first cell."
    ).tag(config=True)


main = LocalKernelApp.launch_instance

if __name__ == "__main__":
    main()
