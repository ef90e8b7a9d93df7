"""`%fn attach`: handles after a restart of the kernel display the same as before."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from nbfn.config import Places
from tests.conftest import a_home, stop_hub
from tests.notebook.kernel import Kernel

Start = Callable[..., Kernel]

CELL = """%%remote --quiet --app attach --max 2
import os, time, nbfn
def pick(x, gate):
    if x > 2:
        for step in nbfn.progress(range(2), desc='step'):
            while step == 1 and not os.path.exists(gate): time.sleep(0.01)
    if x == 4: raise ValueError('four')
    return x
"""
SPAWN = """one, bad = pick.spawn(1, '/'), pick.spawn(4, '/')
one.get()
try: bad.get()
except ValueError: pass
many = pick.spawn_map([1, 2, 3, 4], [{gate!r}] * 4)
many.get(index=0), many.get(index=1)
print('IDS', many.object_id, one.object_id, bad.object_id)
"""
SCRIPT = """%%remote --bg --app attach -i gate={gate!r}
import os, time
print('in the background')
while not os.path.exists(gate): time.sleep(0.01)
6 * 7
"""


def test_handles_come_back_after_a_restart_and_show_the_same(
    start_kernel: Start, tmp_path: Path
) -> None:
    gate = str(tmp_path / "gate")
    kernel = start_kernel(JPY_SESSION_NAME=str(tmp_path / "mine.ipynb"))
    kernel.execute(CELL)
    made = kernel.execute(SPAWN.format(gate=gate))
    many, one, bad = kernel.text(made).split("IDS ")[1].split()[:3]
    script = kernel.execute(SCRIPT.format(gate=gate))
    kernel.until(lambda: "in the background" in kernel.text(script))
    (background,) = re.findall(r"fc-\w{22}", kernel.text(kernel.execute("print(repr(_))")))
    kernel.restart()
    loaded = kernel.execute("%load_ext nbfn")
    assert "2 calls of this notebook are still running" in kernel.text(loaded)
    assert f"{many} · pick · 2 succeeded, 2 running" in kernel.text(loaded)
    assert background in kernel.text(loaded)

    ended = kernel.execute(f"%fn attach {one}")
    assert re.match(
        r"✓ pick v\d+ · succeeded · fc-\w{4} · wk-\w+ · kept until .*\n  1$", kernel.shown(ended)[0]
    )
    failed = kernel.execute(f"%fn attach {bad}")
    assert re.match(
        r"✗ pick v\d+ · failed · fc-\w{4} · wk-.*\n  ValueError: four$", kernel.shown(failed)[0]
    )
    going = kernel.execute(f"many = %fn attach {many}\nmany")
    assert re.match(r"● pick v\d+ · running .* · 2 succeeded, 2 running · ", kernel.shown(going)[0])
    bg = kernel.execute(f"bg = %fn attach {background}\nbg")
    assert re.match(r"● cell v\d+ · running .* · wk-\w+ · attempt 1", kernel.shown(bg)[0])
    (tmp_path / "gate").touch()
    kernel.until(lambda: kernel.shown(bg)[-1].startswith("✓ cell"))
    kernel.until(lambda: kernel.shown(going)[-1].startswith("▲ pick"))
    assert "3 succeeded, 1 failed" in kernel.shown(going)[-1]
    got = kernel.execute("import pickle\n(await bg, pickle.loads(pickle.dumps(many)).get(index=2))")
    assert kernel.shown(got)[-1].endswith(", 3)")


def test_a_call_whose_results_are_gone_says_so(start_kernel: Start) -> None:
    with a_home() as home:
        kernel = start_kernel(NBFN_HOME=str(home))
        kernel.execute("%%remote --quiet --app attach\ndef f(): return 1")
        made = kernel.execute("call = f.spawn()\ncall.get()\nprint('ID', call.object_id)")
        call = kernel.text(made).split("ID ")[1].split()[0]
        kernel.manager.shutdown_kernel(now=True)
        stop_hub(Places.of(home))
        later = start_kernel(NBFN_HOME=str(home), NBFN_RETENTION="0")
        shown = later.execute(f"%fn attach {call}")
        assert re.match(
            r"○ f v1 · expired · fc-\w{4}\n  its results have expired",
            later.shown(shown)[0],
        )
        retried = later.execute(f"%fn retry {call}")
        assert "were deleted (setting retention)" in later.text(retried) + later.traceback(retried)
        later.manager.shutdown_kernel(now=True)
        stop_hub(Places.of(home))
