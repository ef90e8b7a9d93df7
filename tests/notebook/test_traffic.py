"""The number and size of messages that a map sends to the front end do not depend on its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., list[Any]]

COUNT = """
import json, time
from comm import base_comm
sent = []
plain = base_comm.BaseComm.send
def send(self, data=None, metadata=None, buffers=None):
    size = len(json.dumps(data, default=str)) + sum(len(bytes(b)) for b in buffers or ())
    sent.append((time.monotonic(), size))
    return plain(self, data, metadata, buffers)
base_comm.BaseComm.send = send
"""


def test_a_map_of_2000_inputs_tells_its_page_four_times_a_second_at_most(run: Run) -> None:
    *_, told = run(
        "%%remote --quiet --app traffic --max 2\n"
        "def work(x):\n    import time\n    print('at', x)\n    time.sleep(0.002)\n    return x\n"
        "%local\nget_ipython()._nbfn_observer.quiet.clear()",
        COUNT,
        "start = time.monotonic()\nlen(list(work.map(range(2000))))",
        "took = time.monotonic() - start\n"
        "gaps = [b[0] - a[0] for a, b in zip(sent, sent[1:])]\n"
        "len(sent), min(gaps), sum(size for _, size in sent) / took, took",
        JPY_SESSION_NAME="some/notebook.ipynb",
    )
    count, least, rate, took = eval(told.result)
    assert 1 < count <= 4 * took
    assert least > 0.24
    assert rate < 64_000
