"""Where output of remote code appears, and the displays of maps, in a real kernel."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.kernel import Kernel

Run = Callable[..., list[Any]]

SLOW = """%%remote --app output
import time
def slow(x):
    time.sleep(0.05)
    print("did", x)
    if x % 10 == 9:
        raise ValueError(f"bad {x}")
    return x
"""


def test_prints_and_displays_of_a_call_are_under_its_cell(one_kernel: Run) -> None:
    _, called = one_kernel(
        "%%remote --app output\n"
        "import sys\n"
        "def talk(x):\n"
        "    from IPython.display import HTML, display\n"
        "    print('out', x)\n"
        "    display(HTML('<b>shown</b>'))\n"
        "    print('err', x, file=sys.stderr)\n"
        "    return x",
        "print('before')\ntalk.remote(1)\nprint('after')",
    )
    assert called.text == "before\nout 1\nafter\n"
    assert called.stderr == "err 1\n"
    assert called.shown[0]["text/html"] == "<b>shown</b>"
    kinds = [output.output_type for output in called.outputs if output.get("name") != "stderr"]
    assert [kind for kind, _ in itertools.groupby(kinds)] == ["stream", "display_data", "stream"]


def test_a_captured_cell_captures_remote_output_too(one_kernel: Run) -> None:
    _, _, found = one_kernel(
        "%%remote --app output\ndef say(x): print('said', x)",
        "%%capture caught\nsay.remote(1)",
        "caught.stdout",
    )
    assert found.result == repr("said 1\n")


def test_a_short_map_shows_its_prints(one_kernel: Run) -> None:
    _, mapped = one_kernel(
        "%%remote --app output\ndef say(x): print('said', x)", "list(say.map(range(3)))"
    )
    assert sorted(mapped.text.splitlines()) == ["said 0", "said 1", "said 2"]
    assert len(mapped.outputs) == 2


def test_a_long_map_without_a_page_writes_lines(one_kernel: Run) -> None:
    _, mapped = one_kernel(SLOW, "len(list(slow.map(range(40), return_exceptions=True)))")
    lines = mapped.text.splitlines()
    assert mapped.result == "40"
    assert any(line.startswith("slow v1 · running · ") for line in lines)
    assert "… 35 lines printed before these:" in lines
    assert any(line.startswith("▲ slow.map · failed · 36 succeeded, 4 failed · ") for line in lines)


def test_progress_can_be_turned_off(run: Run) -> None:
    _, mapped = run(
        SLOW, "r = list(slow.map(range(30), return_exceptions=True))", NBFN_PROGRESS="0"
    )
    assert "running" not in mapped.text
    assert "did 29" in mapped.text


def test_a_page_gets_a_widget_that_becomes_a_snapshot(run: Run) -> None:
    _, mapped = run(
        SLOW,
        "r = list(slow.map(range(40), return_exceptions=True))",
        JPY_SESSION_NAME="some/notebook.ipynb",
    )
    assert mapped.text == ""
    (shown,) = mapped.shown
    assert set(shown) == {"text/plain", "text/html", "application/vnd.nbfn.call+json"}
    assert shown["text/plain"].startswith("▲ slow.map · failed · 36 succeeded, 4 failed · ")
    assert "Logs (40 lines)" in shown["text/html"]


def test_the_notebooks_name_is_the_apps(run: Run) -> None:
    (card,) = run("%%remote\ndef named(x): return x", JPY_SESSION_NAME="some/My notes.ipynb")
    assert card.shown[0]["text/plain"] == "✓ named v1 · app My-notes"


# --- what nbclient cannot see: output after the end of a cell, and interrupts --------------------


def test_what_a_spawned_call_prints_later_is_under_the_cell_that_spawned_it(
    kernel: Kernel, tmp_path: Any
) -> None:
    gate = tmp_path / "gate"
    kernel.execute(
        "%%remote --app output\n"
        "import os, time\n"
        "def wait_for(path):\n"
        "    while not os.path.exists(path): time.sleep(0.01)\n"
        "    print('it came')\n"
    )
    spawned = kernel.execute(f"call = wait_for.spawn({str(gate)!r})")
    other = kernel.execute("print('another cell')")
    gate.touch()
    kernel.until(lambda: "it came" in kernel.text(spawned))
    assert kernel.text(other) == "another cell\n"


# --- each rule of where output goes --------------------------------------------------------------


def bundles(kernel: Kernel, cell: str) -> list[dict[str, Any]]:
    """Return the messages of a cell that show something."""
    kinds = ("stream", "display_data", "update_display_data", "clear_output", "execute_result")
    return [m for m in kernel.said.get(cell, []) if m["msg_type"] in kinds]


def test_ten_calls_at_once_print_each_under_its_own_cell_in_whole_lines(
    kernel: Kernel, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    kernel.execute(
        "%%remote --quiet --app output --max 10\n"
        "import os, sys, time, warnings, logging\n"
        "def chat(n, path):\n"
        "    while not os.path.exists(path): time.sleep(0.01)\n"
        "    for i in range(20):\n"
        "        print('call', n, end=' ')\n"
        "        print('line', i)\n"
        "        time.sleep(0.002)\n"
        "    warnings.warn(f'warned by {n}')\n"
        "    logging.getLogger('mine').warning('logged by %d', n)\n"
    )
    cells = [kernel.execute(f"c{n} = chat.spawn({n}, {str(gate)!r})") for n in range(10)]
    gate.touch()
    kernel.execute("import nbfn\nfor n in range(10): globals()[f'c{n}'].get()")
    for n, cell in enumerate(cells):
        kernel.until(lambda cell=cell, n=n: f"logged by {n}" in kernel.text(cell, "stderr"))
        lines = kernel.text(cell, "stdout").splitlines()
        assert lines == [f"call {n} line {i}" for i in range(20)]
        assert f"warned by {n}" in kernel.text(cell, "stderr")


def test_threads_of_the_notebook_print_under_the_cell_that_started_them(kernel: Kernel) -> None:
    kernel.execute("%%remote --quiet --app output\ndef say(x): print('said', x)")
    started = kernel.execute(
        "import threading\n"
        "go = threading.Event()\n"
        "def later():\n"
        "    go.wait()\n"
        "    say.remote(1)\n"
        "thread = threading.Thread(target=later); thread.start()"
    )
    other = kernel.execute("go.set(); thread.join()")
    kernel.until(lambda: "said 1" in kernel.text(started))
    assert "said" not in kernel.text(other)


def test_threads_inside_a_function_never_share_a_line(one_kernel: Run) -> None:
    _, called = one_kernel(
        "%%remote --quiet --app output\n"
        "import threading, time\n"
        "def threads():\n"
        "    def talk(n):\n"
        "        for i in range(30):\n"
        "            print('thread', n, end=' ')\n"
        "            time.sleep(0.001)\n"
        "            print('says', i)\n"
        "    all = [threading.Thread(target=talk, args=(n,)) for n in range(4)]\n"
        "    for t in all: t.start()\n"
        "    for t in all: t.join()\n",
        "threads.remote()",
    )
    lines = called.text.splitlines()
    assert sorted(lines) == sorted(f"thread {n} says {i}" for n in range(4) for i in range(30))


def test_a_function_called_by_a_function_prints_under_the_cell_too(one_kernel: Run) -> None:
    _, _, called, spawned = one_kernel(
        "%%remote --quiet --app output\n"
        "def inner(x):\n"
        "    from IPython.display import HTML, display\n"
        "    print('inner', x)\n"
        "    display(HTML('<i>inner</i>'))\n"
        "    return x + 1",
        "%%remote --quiet --app output\n"
        "def outer(x):\n"
        "    print('outer', x)\n"
        "    got = [inner.remote(x), *inner.map([10]), inner.spawn(20).get()]\n"
        "    print('outer again')\n"
        "    return got",
        "outer.remote(1)",
        "outer.spawn(5).get()",
    )
    assert called.text.splitlines() == ["outer 1", "inner 1", "inner 10", "inner 20", "outer again"]
    assert [shown["text/html"] for shown in called.shown] == ["<i>inner</i>"] * 3
    assert called.result == "[2, 11, 21]"
    assert "inner 5" in spawned.text
    assert "outer again" in spawned.text


def test_displays_are_updated_in_place_and_cleared_in_their_own_cell_only(kernel: Kernel) -> None:
    kernel.execute(
        "%%remote --quiet --app output\n"
        "def show(path=None):\n"
        "    import os, time\n"
        "    from IPython.display import clear_output, display, update_display\n"
        "    handle = display('first', display_id='mine')\n"
        "    while path and not os.path.exists(path): time.sleep(0.01)\n"
        "    handle.update('second')\n"
        "    update_display('third', display_id='mine')\n"
        "    clear_output(wait=True)\n"
        "    print('after')\n"
    )
    cell = kernel.execute("call = show.spawn()")
    other = kernel.execute("print('stays')\ncall.get()")
    kernel.until(lambda: "after" in kernel.text(cell))
    found = [(m["msg_type"], m["content"]) for m in bundles(kernel, cell)]
    kinds = [kind for kind, _ in found]
    assert kinds[:3] == ["display_data", "update_display_data", "update_display_data"]
    ids = {content["transient"]["display_id"] for _, content in found[:3]}
    assert ids == {"mine"}
    assert [content["data"]["text/plain"] for _, content in found[:3]] == [
        "'first'",
        "'second'",
        "'third'",
    ]
    assert found[3] == ("clear_output", {"wait": True})
    assert not [m for m in bundles(kernel, other) if m["msg_type"] == "clear_output"]


def test_bars_keep_their_carriage_returns(one_kernel: Run) -> None:
    _, called, mapped, tqdm = one_kernel(
        "%%remote --quiet --app output\n"
        "import sys, time\n"
        "def bar(n):\n"
        "    for i in range(n + 1):\n"
        "        sys.stderr.write(f'\\r{i}/{n}'); sys.stderr.flush()\n"
        "    sys.stderr.write('\\n')\n"
        "def bars(n):\n"
        "    from tqdm import tqdm\n"
        "    for _ in tqdm(range(n), mininterval=0): pass",
        "bar.remote(3)",
        "list(bar.map([3, 3]))",
        "bars.remote(3)",
    )
    assert called.stderr == "3/3\n" or called.stderr == "\r0/3\r1/3\r2/3\r3/3\n"
    assert "3/3" in mapped.text
    assert "100%" in tqdm.stderr
    assert "| 3/3 [" in tqdm.stderr.splitlines()[-1]


@pytest.mark.parametrize("way", ["remote(0)", "spawn(1).get()", "map([2])"])
def test_all_kinds_of_output_are_shown_whichever_way_it_is_called(
    one_kernel: Run, way: str
) -> None:
    _, called = one_kernel(
        "%%remote --quiet --app output\n"
        "import logging, warnings\n"
        "from IPython.display import HTML, display\n"
        "class Frame:\n"
        "    def _repr_html_(self): return '<table></table>'\n"
        "def every(x):\n"
        "    import matplotlib.pyplot as plt\n"
        "    print('printed')\n"
        "    logging.getLogger('mine').warning('logged')\n"
        "    warnings.warn(f'warned of {x}')\n"
        "    display(Frame())\n"
        "    handle = display('first', display_id=True)\n"
        "    handle.update('second')\n"
        "    plt.plot([1, 2])\n"
        "    plt.show()",
        f"every.{way}" if "map" not in way else f"list(every.{way})",
    )
    written = called.text + called.stderr
    assert all(word in written for word in ("printed", "logged", "warned"))
    assert any(shown.get("text/html") == "<table></table>" for shown in called.shown)
    assert any("image/png" in shown for shown in called.shown)
    # A notebook keeps what a display was updated to, where it stands.
    assert any(shown["text/plain"] == "'second'" for shown in called.shown)


def test_a_returned_figure_is_shown_once(one_kernel: Run) -> None:
    _, returned, shown, left, closed = one_kernel(
        "%%remote --quiet --app output\n"
        "def plot(how):\n"
        "    import matplotlib.pyplot as plt\n"
        "    figure, axes = plt.subplots()\n"
        "    axes.plot([1, 2, 3])\n"
        "    if how == 'show': plt.show()\n"
        "    if how == 'close': plt.close(figure)\n"
        "    return figure if how in ('return', 'close') else None",
        "plot.remote('return')",
        "plot.remote('show')",
        "plot.remote('leave')",
        "figure = plot.remote('return')",
    )
    assert [images(ran) for ran in (returned, shown, left, closed)] == [1, 1, 1, 0]


def images(ran: Any) -> int:
    kinds = ("display_data", "execute_result")
    return sum("image/png" in o.data for o in ran.outputs if o.output_type in kinds)


def test_calls_of_one_cell_at_once_share_no_line(one_kernel: Run) -> None:
    _, called = one_kernel(
        "%%remote --quiet --app output --max 4\n"
        "import time\n"
        "def chat(n):\n"
        "    for i in range(20):\n"
        "        print('call', n, end=' ')\n"
        "        time.sleep(0.005)\n"
        "        print('line', i)",
        "import nbfn\nnbfn.FunctionCall.gather(*[chat.spawn(n) for n in range(4)])\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool: list(pool.map(chat.remote, range(4, 8)))",
    )
    assert sorted(called.text.splitlines()) == sorted(
        f"call {n} line {i}" for n in range(8) for i in range(20)
    )


def test_what_a_blocking_call_printed_is_there_when_the_cell_ends(one_kernel: Run) -> None:
    cells = one_kernel(
        "%%remote --quiet --app output\n"
        "def many(n):\n"
        "    for i in range(n): print('line', i)\n"
        "    return n",
        *(
            "many.remote(500)",
            "many.spawn(500).get()",
            "await many.remote.aio(500)",
            "%%remote --quiet --app output\nfor i in range(500): print('line', i)",
            "calls = [many.spawn(100) for _ in range(5)]\nimport nbfn\nnbfn.FunctionCall.gather(*calls)",
        ),
    )[1:]
    for cell in cells:
        assert cell.text.count("line ") == 500


def test_progress_of_a_loop_is_the_last_line_of_the_handle_and_a_row_of_the_map(
    kernel: Kernel, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    kernel.execute(
        "%%remote --app output\n"
        "import os, time, nbfn\n"
        "def train(path):\n"
        "    for epoch in nbfn.progress(range(4), desc='epoch'):\n"
        "        time.sleep(0.3)\n"
        "        while epoch == 1 and not os.path.exists(path): time.sleep(0.01)\n"
    )
    cell = kernel.execute(f"call = train.spawn({str(gate)!r})")
    kernel.until(lambda: "epoch 1/4 · 25%" in kernel.text(cell, "stderr"))
    shown = kernel.execute("call")
    assert "“epoch 1/4 · 25%" in kernel.shown(shown)[0]
    gate.touch()
    kernel.until(lambda: "epoch 4/4 · 100%" in kernel.text(cell, "stderr"))
    mapped = kernel.execute(f"list(train.map([{str(gate)!r}]))")
    assert "epoch 4/4 · 100%" in kernel.text(mapped)


def test_logging_as_the_notebook_configured_it_is_under_the_cell_that_called(
    one_kernel: Run,
) -> None:
    *_, quiet, single, mapped, silent, _restored = one_kernel(
        "import logging, warnings\nbefore = warnings.filters[:]",
        "%%remote --quiet --app logging\nimport logging, warnings\ndef notes(x):\n"
        "    print('printed', x)\n    logging.getLogger('mine').info('logged %s', x)\n    warnings.warn('careful')",
        "notes.remote(0)",
        "logging.basicConfig(level=logging.INFO, format='%(levelname)s %(name)s %(message)s')\n"
        "logging.getLogger('nbfn').setLevel(logging.WARNING)\nnotes.remote(1)",
        "done = list(notes.map([2, 3]))",
        "warnings.filterwarnings('ignore')\nlogging.getLogger('mine').setLevel(logging.WARNING)\nnotes.remote(4)",
        "warnings.filters[:] = before\nlogging.basicConfig(level=logging.WARNING, handlers=[], force=True)\n"
        "for name in ('mine', 'nbfn'): logging.getLogger(name).setLevel(logging.NOTSET)",
    )
    assert "logged" not in quiet.text + quiet.stderr
    assert (single.text + single.stderr).count("INFO mine logged 1\n") == 1
    assert all((mapped.text + mapped.stderr).count(f"INFO mine logged {x}") == 1 for x in (2, 3))
    assert (silent.text, silent.stderr) == ("printed 4\n", "")


def test_what_a_worker_wrote_before_it_died_is_under_the_cell(one_kernel: Run) -> None:
    _, called = one_kernel(
        "%%remote --app output\n"
        "import os, sys\n"
        "def die(x):\n"
        "    from IPython.display import HTML, display\n"
        "    print('step', x, flush=True)\n"
        "    display(HTML('<b>shown</b>'))\n"
        "    print('last words', file=sys.stderr)\n"
        "    os._exit(3)",
        "try:\n    die.remote(1)\nexcept Exception as error:\n    print(type(error).__name__)",
    )
    assert called.text == "step 1\nstep 1\nWorkerCrashed\n"
    assert called.stderr.count("last words\n") == 2
    assert "die lost: exit code 3" in called.stderr
    assert [shown["text/html"] for shown in called.shown] == ["<b>shown</b>"] * 2


def test_what_an_enter_hook_wrote_is_under_the_cell_also_when_it_raises(one_kernel: Run) -> None:
    _, called = one_kernel(
        "%%remote --app output\n"
        "class Broken:\n"
        "    @nbfn.enter()\n"
        "    def load(self):\n"
        "        print('loading')\n"
        "        raise ValueError('no weights')\n"
        "    @nbfn.method()\n"
        "    def work(self): ...",
        "try:\n    Broken().work.remote()\nexcept ValueError as error:\n    print(error)",
    )
    assert called.text == "loading\nno weights\n"
