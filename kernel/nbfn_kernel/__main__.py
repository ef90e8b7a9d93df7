"""Runs a worker as ``python -m nbfn_kernel DESCRIPTOR``, where workers are not forked.

The descriptor is that of a file whose memory it shares with the process that started it; see `WorkerState`.
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
        faulthandler.enable(all_threads=False)  # the other thread would fill the tail that is told
        worker.preload()
        worker.main(memory)
        code = 0
    except BaseException:  # noqa: BLE001 - told, and the process ends
        traceback.print_exc(file=sys.__stderr__)
    finally:
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
        os._exit(code)  # not held up by threads that user code left


if __name__ == "__main__":
    _run(int(sys.argv[1]))
