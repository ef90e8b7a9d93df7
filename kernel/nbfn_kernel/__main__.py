"""Runs a worker as ``python -m nbfn_kernel DESCRIPTOR``, for launchers that do not fork.

DESCRIPTOR is the descriptor of a file that is mapped as memory shared with the launcher; see `WorkerState`.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import sys
import traceback
from typing import NoReturn

from nbfn.protocol import worker_state
from nbfn_kernel.worker import main as worker


def _run(descriptor: int) -> NoReturn:
    code = 1
    try:
        memory = mmap.mmap(descriptor, worker_state.SIZE)
        os.close(descriptor)
        sys.argv[:] = [""]
        faulthandler.enable(
            all_threads=False
        )  # the output of the other thread would displace it in the reported tail
        worker.preload()
        worker.main(memory)
        code = 0
    except BaseException:  # noqa: BLE001 - printed, and the process ends
        traceback.print_exc(file=sys.__stderr__)
    finally:
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
        os._exit(code)  # does not wait for threads of user code


if __name__ == "__main__":
    _run(int(sys.argv[1]))
