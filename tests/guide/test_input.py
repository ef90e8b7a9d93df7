"""Tests that code that reads from a terminal fails in a worker, with a message that says what to do instead."""

from __future__ import annotations

import asyncio
import code
import getpass
import os
import pdb
import subprocess
import sys
import traceback
from typing import Any

import pytest

import nbfn
from nbfn.exception import ExecutionError

app = nbfn.App("input")
LATE = nbfn.Retries(max_retries=3, initial_delay=60.0)


def stops(x: int) -> int:
    breakpoint()
    return x


def steps(x: int) -> int:
    pdb.set_trace()
    return x


def inspects(x: int) -> int:
    try:
        return x // 0
    except ZeroDivisionError:
        pdb.post_mortem()
    return x


def embeds(x: int) -> int:
    import IPython

    IPython.embed()  # type: ignore[no-untyped-call]
    return x


def set_traces(x: int) -> int:
    from IPython.core.debugger import set_trace

    set_trace()  # type: ignore[no-untyped-call]
    return x


def interacts(x: int) -> int:
    code.interact(local={"x": x})
    return x


def asks(x: int) -> str:
    return input(f"{x}? ")


def asks_secretly(x: int) -> str:
    return getpass.getpass(stream=sys.stderr)


def reads(x: int) -> str:
    return sys.stdin.read()


def reads_a_line(x: int) -> str:
    return sys.stdin.readline()


def reads_lines(x: int) -> list[str]:
    return list(sys.stdin)


def reads_bytes(x: int) -> bytes:
    return sys.stdin.buffer.read()


async def stops_later(x: int) -> int:
    await asyncio.sleep(0)
    breakpoint()
    return x


BODIES: list[Any] = [
    stops, steps, inspects, embeds, set_traces, interacts, asks, asks_secretly, reads, reads_a_line, reads_lines,
    reads_bytes, stops_later,
]  # fmt: skip
FUNCTIONS = [app.function(name=body.__name__, retries=LATE)(body) for body in BODIES]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.tag)
@pytest.mark.filterwarnings("default")  # getpass and IPython warn; an error here is one there, too
def test_it_says_at_once_that_there_is_no_terminal(function: Any) -> None:
    with pytest.raises(ExecutionError, match="a worker has no terminal") as caught:
        function.spawn(1).get(timeout=30)
    assert f"'{function.tag}' asked for input" in str(caught.value)
    assert str(caught.value).endswith("Call it with .local(...) to run it here.")
    shown = "".join(traceback.format_exception(caught.value))
    assert "%fn" not in shown  # there are no magics in a program


def test_so_do_a_map_and_inputs_in_threads() -> None:
    stop = FUNCTIONS[0]
    with pytest.raises(ExecutionError, match=r"asked for input \(breakpoint\(\)\)"):
        list(stop.map(range(3)))
    failed = list(stop.map(range(3), return_exceptions=True))
    assert [type(error) for error in failed] == [ExecutionError] * 3
    assert "[2])" in failed[2].__notes__[0]
    with pytest.raises(ExecutionError, match="a worker has no terminal"):
        stop.with_concurrency(max_inputs=2).spawn(1).get(timeout=30)


def test_pythons_own_variable_decides_what_breakpoint_does() -> None:
    stop = FUNCTIONS[0]
    assert stop.with_options(env={"PYTHONBREAKPOINT": "0"}).remote(1) == 1
    assert stop.with_options(env={"PYTHONBREAKPOINT": "builtins.print"}).remote(2) == 2
    with pytest.raises(ExecutionError, match="no terminal"):
        stop.with_options(env={"PYTHONBREAKPOINT": "pdb.set_trace"}).spawn(1).get(timeout=30)


@app.function()
def quits() -> None:
    import bdb

    raise bdb.BdbQuit


def test_what_a_debugger_raises_to_end_a_program_does_not_end_the_callers() -> None:
    with pytest.raises(ExecutionError, match="A debugger ended this call of 'quits'"):
        quits.remote()


@app.function()
def starts() -> tuple[str, int, bool]:
    command = [sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"]
    inherited = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    given = subprocess.run(
        command, stdin=sys.stdin, capture_output=True, text=True, check=True
    ).stdout
    return inherited + given, sys.stdin.fileno(), sys.stdin.isatty() or os.isatty(0)


def test_processes_that_a_worker_starts_find_an_empty_file() -> None:
    assert starts.remote() == ("''\n''\n", 0, False)
