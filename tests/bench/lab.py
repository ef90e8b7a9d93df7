"""JupyterLab's panel with many Functions and calls: how soon it opens, scrolls and follows, and what that sends.

The hub has 1,000 Functions and 5,000 calls that wait; a process changes 50 of them each second. The page is a real
browser's.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Page, WebSocket

import nbfn
from nbfn.client.client import Client
from nbfn.protocol import messages as m
from tests.bench.clock import wait_until
from tests.bench.options import Options
from tests.bench.table import Row, seconds
from tests.browser.conftest import TOKEN, Lab, a_browser, a_lab

#: Calls that change each second.
CHANGES = 50
#: Budgets: seconds to open, milliseconds of a frame, seconds from a change to the screen.
OPENS, FRAME, DELAY = 0.5, 50.0, 0.5

_OPEN = """async () => {
  const began = performance.now();
  jupyterapp.shell.activateById('nbfn-sidebar');
  while (!document.querySelector('#nbfn-sidebar [data-call]')) {
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - began;
}"""
#: Milliseconds of each frame for some time, while the tree with most rows scrolls by so many pixels a frame.
_FRAMES = """async ([time, step]) => {
  const trees = [...document.querySelectorAll('#nbfn-sidebar .jp-nbfn-scroll')];
  trees.sort((a, b) => b.scrollHeight - a.scrollHeight);
  const [tree] = trees;
  const frames = [];
  const began = await new Promise(requestAnimationFrame);
  let last = began;
  while (last - began < time) {
    tree.scrollTop += step;
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
  }
  tree.scrollTop = 0;
  return frames;
}"""
#: What the row of a call says of its inputs, without its age.
_SAID = """call => [...document.querySelectorAll(
  `#nbfn-sidebar [data-call="${call}"] .jp-nbfn-facts span:not(.jp-nbfn-age)`
)].map(each => each.textContent).join()"""
_CHANGED = f"""async ([call, before]) => {{
  while (({_SAID})(call) === before) {{
    await new Promise(requestAnimationFrame);
  }}
  return Date.now() / 1000;
}}"""


def measure(options: Options) -> Iterator[Row]:
    """Yield the figures."""
    functions, calls = options.count(1000, 100), options.count(5000, 500)
    with pytest.MonkeyPatch.context() as patch, a_lab() as lab:
        patch.setenv("NBFN_HOME", lab.environment["NBFN_HOME"])
        patch.setenv("NBFN_MAX_WORKERS", "2")
        with contextlib.closing(Load(functions, calls)) as load, a_browser() as context:
            yield from _figures(lab, context.new_page(), load, options)
        lab.stop_hub()


class Load:
    """The Functions and calls of another process, and what it changes."""

    def __init__(self, functions: int, calls: int) -> None:
        self.client = Client()
        self._what = f"{functions:,} Functions, {calls:,} calls"
        names = self._register(functions)
        self._payload = self.client.serializer.dump_arguments((1,), {})
        self.calls = [m.new_id("fc") for _ in range(calls)]
        self._inputs = dict.fromkeys(self.calls, 1)
        for call, function in zip(self.calls, itertools.cycle(names), strict=False):
            first = (m.NewInput(0, self._payload),)
            self.client.send(m.PutCall(call, function, 0, "map", first, closed=False))
        wait_until(lambda: len(self.client.overview().calls) == calls)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._change_all)

    def __str__(self) -> str:
        return self._what

    def _register(self, count: int) -> list[str]:
        """Register so many Functions, which differ in their names only; return their ids."""

        def wait(_number: int) -> None:
            time.sleep(3600)

        app = nbfn.App("bench")
        app.function(name="wait")(wait)
        app.deploy(client=self.client)
        (row,) = self.client.overview().functions
        definition = self.client.definition(row.id)
        for number in range(count - 1):
            own = msgspec.structs.replace(definition, name=f"f{number}", digest=f"{number}")
            self.client.send(m.Register(0, f"bench-{number % 20}", own))
        wait_until(lambda: len(self.client.overview().functions) == count)
        return [each.id for each in self.client.overview().functions]

    def change(self, call: str) -> None:
        """Add an input to a call."""
        index = self._inputs[call]
        self._inputs[call] += 1
        self.client.send(m.PutInputs(call, (m.NewInput(index, self._payload),)))

    def start(self) -> None:
        """Change calls from now on, in turn."""
        self._thread.start()

    def _change_all(self) -> None:
        for call in itertools.cycle(self.calls[: len(self.calls) // 2]):
            self.change(call)
            if self._stopped.wait(1 / CHANGES):
                return

    def close(self) -> None:
        """Stop the changes, and leave the hub."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self.client.close()


def _figures(lab: Lab, page: Page, load: Load, options: Options) -> Iterator[Row]:
    received: list[int] = []
    page.on("websocket", lambda socket: _count(socket, received))
    opened = [_open(lab, page) for _ in range(options.count(5, 1))]
    usual = statistics.median(opened)
    yield Row(
        f"the panel opens, {load}", seconds(usual), "", "", f"< {seconds(OPENS)}", usual < OPENS
    )
    long = options.count(10, 3)
    idle = _processor_time(lab, page, long)
    load.start()
    page.wait_for_timeout(1000)  # the changes reach the page
    received.clear()
    busy = _processor_time(lab, page, long)
    yield Row(f"… {CHANGES} changes/s: sent to the page", f"{sum(received) / long / 1000:.1f} kB/s")
    for name in busy:
        yield Row(f"… processor time of the {name}", f"{busy[name]:.1%}", f"idle {idle[name]:.1%}")
    scrolled = page.evaluate(_FRAMES, [1000 * options.count(5, 2), 120])
    yield _frame_row("… longest frame while it scrolls", scrolled)
    still = page.evaluate(_FRAMES, [1000 * options.count(5, 2), 0])
    yield _frame_row("… longest frame while it is refreshed", still)
    delays = [_delay(page, load) for _ in range(options.count(40, 5))]
    late = sorted(delays)[round(0.95 * (len(delays) - 1))]
    middle = f"median {seconds(statistics.median(delays))}"
    yield Row(
        *("… from a change to the screen, p95", seconds(late), middle, ""),
        *(f"≤ {seconds(DELAY)}", late <= DELAY),
    )


def _frame_row(what: str, frames: list[float]) -> Row:
    longest, usual = max(frames), statistics.median(frames)
    budget = f"≤ {FRAME:.0f} ms"
    return Row(what, f"{longest:.0f} ms", f"median {usual:.0f} ms", "", budget, longest <= FRAME)


def _count(socket: WebSocket, received: list[int]) -> None:
    if "events/subscribe" in socket.url:
        socket.on("framereceived", lambda frame: received.append(len(frame)))


def _open(lab: Lab, page: Page) -> float:
    """Load JupyterLab, then open the panel; return how long that took."""
    page.goto(f"{lab.url}/lab?token={TOKEN}&reset")
    page.wait_for_function("() => window.jupyterapp !== undefined")
    page.evaluate("async () => { await jupyterapp.restored; }")
    page.wait_for_function("() => !document.querySelector('#jupyterlab-splash')")
    return float(page.evaluate(_OPEN)) / 1000


def _processor_time(lab: Lab, page: Page, duration: float) -> dict[str, float]:
    """Return the share of a processor that the hub and the server use for some time."""
    pids = {"hub": lab.overview()["overview"]["hub"]["pid"], "Jupyter server": lab.pid}
    before = {name: _ticks(pid) for name, pid in pids.items()}
    page.wait_for_timeout(1000 * duration)  # meanwhile, what arrives at the page is counted
    tick = os.sysconf("SC_CLK_TCK")
    return {name: (_ticks(pid) - before[name]) / tick / duration for name, pid in pids.items()}


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _delay(page: Page, load: Load) -> float:
    """Change a call whose row is in view; return after how many seconds the page shows it."""
    shown: list[Any] = page.evaluate(
        "() => [...document.querySelectorAll('#nbfn-sidebar [data-call]')].map(e => e.dataset.call)"
    )
    call = next(each for each in shown if each in load.calls[len(load.calls) // 2 :])
    before = page.evaluate(_SAID, call)
    began = time.time()
    load.change(call)
    return float(page.evaluate(_CHANGED, [call, before])) - began
