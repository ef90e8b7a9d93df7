"""The calls of a notebook after its kernel or the hub restarted; in real kernels."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbfn.client import discovery
from nbfn.config import Places
from tests.notebook.kernel import Kernel

Start = Callable[..., Kernel]
Run = Callable[..., list[Any]]

CELL = """%%remote --quiet --app restart
import os, time
def wait_for(path):
    print('waiting')
    while not os.path.exists(path): time.sleep(0.01)
    print('it came')
    return 'ready'
"""


def spawned(kernel: Kernel, gate: Path) -> str:
    """Spawn a call that waits for a file; return its id once it runs."""
    kernel.execute(CELL)
    cell = kernel.execute(f"call = wait_for.spawn({str(gate)!r})\nprint(call.object_id)")
    kernel.until(lambda: "waiting" in kernel.text(cell))
    (found,) = re.findall(r"fc-\w{22}", kernel.text(cell))
    return str(found)


def test_loading_nbfn_tells_of_calls_that_still_run_and_attach_brings_the_handle_back(
    start_kernel: Start, tmp_path: Path
) -> None:
    notebook = str(tmp_path / "mine.ipynb")
    kernel = start_kernel(JPY_SESSION_NAME=notebook)
    call = spawned(kernel, tmp_path / "gate")
    kernel.restart()
    loaded = kernel.execute("%load_ext nbfn")
    assert "1 call of this notebook is still running; %fn attach ID" in kernel.text(loaded)
    assert f"  {call} · wait_for · " in kernel.text(loaded)
    attached = kernel.execute(f"call = %fn attach {call}\ncall")
    assert "wait_for" in kernel.shown(attached)[0]
    (tmp_path / "gate").touch()
    kernel.until(lambda: "it came" in kernel.text(attached))
    got = kernel.execute("call.get()")
    assert kernel.shown(got) == ["'ready'"]
    kernel.until(lambda: kernel.shown(attached)[-1].startswith("✓ wait_for"))
    again = kernel.execute("%reload_ext nbfn")
    assert kernel.text(again) == ""


def test_calls_of_other_notebooks_are_not_told_but_can_be_attached_to(
    start_kernel: Start, tmp_path: Path
) -> None:
    mine = start_kernel(JPY_SESSION_NAME=str(tmp_path / "mine.ipynb"))
    call = spawned(mine, tmp_path / "gate")
    other = start_kernel(JPY_SESSION_NAME=str(tmp_path / "other.ipynb"))
    loaded = other.execute("%reload_ext nbfn")
    assert other.text(loaded) == ""
    attached = other.execute(f"%fn attach {call}")
    assert other.shown(attached)[0].startswith(("○ ", "◌ ", "● "))
    (tmp_path / "gate").touch()
    got = other.execute("_.get()")
    assert other.shown(got) == ["'ready'"]


def test_the_hub_knows_the_notebook_of_a_call_also_after_it_was_killed(
    start_kernel: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    kernel = start_kernel(JPY_SESSION_NAME=str(tmp_path / "mine.ipynb"))
    call = spawned(kernel, tmp_path / "gate")
    kernel.manager.shutdown_kernel(now=True)
    found: Any = discovery.read_connection_file(Places.of(Path(environment["NBFN_HOME"])))
    os.kill(found["pid"], signal.SIGKILL)
    # Another notebook brings up the next hub.
    start_kernel().execute("import nbfn\nnbfn.Client.attach().overview()")
    again = start_kernel(JPY_SESSION_NAME=str(tmp_path / "mine.ipynb"))
    loaded = again.execute("%reload_ext nbfn")
    assert call in again.text(loaded)
    (tmp_path / "gate").touch()
    again.execute(f"call = %fn attach {call}")
    got = again.execute("call.get()")
    assert again.shown(got) == ["'ready'"]


#: What nbfn has installed in the shell.
KNOWN = """
import nbfn
_ip = get_ipython()
_formatter = _ip.display_formatter.ipython_display_formatter
(
    sorted(n for kind in _ip.magics_manager.magics.values() for n in kind if n in ('fn', 'nbfn', 'remote')),
    [m.__name__ for m in _ip.Completer.custom_matchers],
    sum('nbfn' in repr(c) or 'Observer' in repr(c) for c in _ip.events.callbacks['post_run_cell']),
    [kind.__name__ for kind in (nbfn.Function, nbfn.Cls, nbfn.FunctionCall) if kind in _formatter],
    len(_ip.display_formatter.formatters['image/png'].deferred_printers),
    'showtraceback' in vars(_ip),
)
"""


def test_unloading_nbfn_takes_away_what_loading_brought_and_loading_again_brings_it_once(
    run: Run,
) -> None:
    before, _, loaded, _, gone, magic, called, _, _, again, _ = run(
        # The fixture has loaded it: this is what IPython is without it.
        "%unload_ext nbfn\n" + KNOWN,
        "%load_ext nbfn",
        KNOWN,
        "%%remote --app unloaded --quiet\ndef f():\n    print('said')\n    return 1\n%local\nnbfn_f = f",
        "%unload_ext nbfn\n" + KNOWN,
        "%remote",
        "f.remote()",
        "%load_ext nbfn",
        "%reload_ext nbfn\n%reload_ext nbfn",
        KNOWN,
        "%%remote --app unloaded\ndef f():\n    print('said')\n    return 1\n%local\nf.remote()",
    )
    assert before.result == "([], [], 0, [], 0, False)"
    assert loaded.result == (
        "(['fn', 'nbfn', 'nbfn', 'remote', 'remote'],\n ['nbfn_options'],\n 1,\n"
        " ['Function', 'Cls', 'FunctionCall'],\n 1,\n True)"
    )
    assert gone.result == before.result
    assert "%remote` not found" in magic.stderr
    assert called.result == "1"
    assert again.result == loaded.result
