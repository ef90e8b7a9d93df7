"""``python -m tests.bench [--only NAME ...] [--with-ray] [--quick]``: run the measurements, print one table.

Each runs in a process of its own, so that none sees another's memory or threads, and one that fails
or is interrupted takes nothing down with it.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import subprocess
import sys
import time

from tests.bench import table
from tests.bench.options import Options

#: In the order of the table; each is a module with a function ``measure(options)``.
NAMES = (
    "remote",
    "map",
    "array",
    "worker",
    "machine",
    "memory",
    "million",
    "spawn",
    "decisions",
    "notebook",
    "lab",
)
#: Before the JSON of a row, on the way from a measurement's process.
MARK = "row:"


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES)
    )
    parser.add_argument(
        "--with-ray", action="store_true", help="compare with Ray too, if it is installed"
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, smaller sizes")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    options = Options(quick=given.quick, with_ray=given.with_ray)
    if given.here:
        _measure(given.only[0], options)
        return 0
    return _run(given.only, options)


def _interrupt(*_: object) -> None:
    """Be interrupted once; what comes then is left to clean up in peace."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _measure(name: str, options: Options) -> None:
    try:
        for row in importlib.import_module(f"tests.bench.{name}").measure(options):
            print(f"{MARK}{row.dumps()}", flush=True)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(names: list[str], options: Options) -> int:
    print(table.machine(), flush=True)
    rows: list[table.Row] = []
    code = 0
    for name in names:
        began = time.monotonic()
        print(f"{name} … ", end="", flush=True)
        try:
            rows.extend(_rows_of(name, options))
        except KeyboardInterrupt:
            code = 130
            break
        print(f"{time.monotonic() - began:.0f} s", flush=True)
    print(f"\n\n{table.render(rows)}")
    print(
        f"\n{sum(row.holds is True for row in rows)} budgets hold, {sum(row.holds is False for row in rows)} do not."
    )
    return code


def _rows_of(name: str, options: Options) -> list[table.Row]:
    flags = [*(["--quick"] if options.quick else []), *(["--with-ray"] if options.with_ray else [])]
    command = [sys.executable, "-m", "tests.bench", "--here", "--only", name, *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate()
    except KeyboardInterrupt:
        process.terminate()  # from a terminal it has heard already; then this is passed over
        process.communicate()
        raise
    rows = [
        table.loads(line.removeprefix(MARK)) for line in out.splitlines() if line.startswith(MARK)
    ]
    if process.returncode:
        last = (err.strip().splitlines() or ["no word"])[-1]
        print(err, file=sys.stderr)
        rows.append(table.Row(f"{name} failed: {last[:80]}", "-"))
    return rows


if __name__ == "__main__":
    sys.exit(main())
