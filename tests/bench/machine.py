"""From a machine where nothing runs to the first result: in a fresh script, and in a fresh notebook kernel."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from jupyter_client.manager import start_new_kernel

from tests.bench.home import home
from tests.bench.options import Options
from tests.bench.table import Row, seconds

BUDGET = 3.0

_SCRIPT = """
import nbfn
app = nbfn.App("bench")

@app.function()
def square(x):
    return x * x

assert square.remote(3) == 9
"""
_CELLS = (
    "%load_ext nbfn",
    "%%remote\ndef square(x):\n    return x * x",
    "assert square.remote(3) == 9",
)


def measure(options: Options) -> Iterator[Row]:
    """Yield both."""
    count = options.count(3, 1)
    script = min(_script() for _ in range(count))
    yield Row(
        "import nbfn to first result, fresh script (interpreter included)",
        seconds(script),
        "",
        "",
        "≤ 3 s",
        script <= BUDGET,
    )
    kernel = min(_kernel() for _ in range(count))
    yield Row(
        "%load_ext to first %%remote result, fresh kernel",
        seconds(kernel),
        "",
        "",
        "≤ 3 s",
        kernel <= BUDGET,
    )


def _script() -> float:
    with home():
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT + "\nprint('done', flush=True)"], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        said = process.stdout.readline()
        took = time.perf_counter() - began
        process.wait()
        process.stdout.close()
        assert said == b"done\n", said
        return took


def _kernel() -> float:
    with home():
        manager, client = start_new_kernel(kernel_name="python3")
        try:
            began = time.perf_counter()
            for cell in _CELLS:
                reply = client.execute_interactive(cell, timeout=60, output_hook=lambda _: None)
                assert reply["content"]["status"] == "ok", reply["content"]
            return time.perf_counter() - began
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
