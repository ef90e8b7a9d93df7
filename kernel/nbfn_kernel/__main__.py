"""``python -m nbfn_kernel``: a worker from nothing, where no fork server makes one."""

from __future__ import annotations

from nbfn_kernel.worker.main import main, preload

if __name__ == "__main__":
    preload()
    main()
