"""The peers: each a pool of processes on this machine, started and ended here.

Start them before the home of a hub: what they start keeps the environment it finds.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from typing import Any

from loky import ProcessPoolExecutor

from tests.bench.options import Options
from tests.bench.table import Row


@contextlib.contextmanager
def loky(workers: int = 1) -> Iterator[ProcessPoolExecutor]:
    """Have a loky executor."""
    executor = ProcessPoolExecutor(workers)
    try:
        executor.submit(abs, 1).result()  # it starts its processes with its first input
        yield executor
    finally:
        executor.shutdown(wait=True, kill_workers=True)


@contextlib.contextmanager
def ipyparallel(engines: int = 1) -> Iterator[Any]:
    """Have a connected ipyparallel client."""
    import ipyparallel as ipp

    cluster = ipp.Cluster(n=engines, log_level=logging.ERROR)
    cluster.start_cluster_sync()
    client = None
    try:
        client = cluster.connect_client_sync()
        client.wait_for_engines(engines, interactive=False)
        yield client
    finally:
        if client is not None:
            client.close()
        cluster.stop_cluster_sync()


@contextlib.contextmanager
def ray(options: Options, workers: int = 1) -> Iterator[Any]:
    """Have a local Ray if it is asked for and installed: gives the module, or None."""
    if not options.with_ray or importlib.util.find_spec("ray") is None:
        yield None
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    module = importlib.import_module("ray")
    module.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        yield module
    finally:
        module.shutdown()


def no_ray(options: Options) -> Iterator[Row]:
    """Yield a row that says so when Ray was asked for and is not there."""
    if options.with_ray and importlib.util.find_spec("ray") is None:
        yield Row("", "", "Ray is not installed here (uv pip install ray)")
