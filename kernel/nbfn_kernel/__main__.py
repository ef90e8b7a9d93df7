"""Runs a worker as ``python -m nbfn_kernel``, for launchers without a fork server."""

from __future__ import annotations

from nbfn_kernel.worker.main import main, preload

if __name__ == "__main__":
    preload()
    main()
