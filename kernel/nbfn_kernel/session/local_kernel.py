"""The kernel of the kernelspec "Python 3 (nbfn)": an IPython kernel with the nbfn extension loaded.

It runs notebooks, not Functions, and does not import nbfn before IPython loads the extension.
"""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp
from traitlets import List, Unicode


class LocalKernelApp(IPKernelApp):
    """An IPython kernel that loads the nbfn extension at its start.

    If an extension fails to load, the kernel logs the error and starts nevertheless.
    """

    default_extensions = List(
        Unicode(), ["storemagic", "nbfn"], help="Extensions loaded before the first cell."
    ).tag(config=True)


main = LocalKernelApp.launch_instance

if __name__ == "__main__":
    main()
