"""``python -m tests.metrics``: print size, complexity and import structure of the code as one table.

Complexity is McCabe's as `radon` counts it. Imports are all imports, also lazy ones and those for
type checkers only, as `grimp` reads them. The files that a call passes are those that run between
`Function.remote` and the socket, in this process, measured with a real hub.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import grimp
from radon.complexity import cc_visit
from radon.visitors import Class, Function

from tests.bench.home import home, register

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"nbfn": ROOT / "nbfn", "nbfn_kernel": ROOT / "kernel" / "nbfn_kernel"}
#: The module whose `send` is the last function that a call passes in the process of the caller.
SOCKET = "nbfn.protocol.transport"


def main() -> int:
    """Print the table; with ``--cycles``, only check that there is no import cycle."""
    parser = argparse.ArgumentParser(prog="python -m tests.metrics", description=__doc__)
    parser.add_argument("--cycles", action="store_true", help="list import cycles; exit 1 if any")
    graph = import_graph()
    if parser.parse_args().cycles:
        edges = cyclic_imports(graph)
        for importer, imported in edges:
            print(f"{importer} -> {imported}")
        if edges:
            importer, imported = edges[0]
            back = graph.find_shortest_chain(importer=imported, imported=importer) or ()
            print(f"One cycle: {' -> '.join((importer, *back))}")
        print(f"{len(edges)} imports are part of a cycle.")
        return bool(edges)
    for name, value in rows(graph):
        print(f"{name:60} {value}")
    return 0


def rows(graph: grimp.ImportGraph) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each row."""
    files = [path for folder in PACKAGES.values() for path in sorted(folder.rglob("*.py"))]
    lengths = [len(path.read_text("utf-8").splitlines()) for path in files]
    yield "files / lines", f"{len(files)} / {sum(lengths)}"
    yield "file length: median / p90 / max", spread(lengths)
    yield "function length: median / p90 / max", spread(list(function_lengths(files)))
    complexity = list(complexities(files))
    yield "complexity: median / p90 / max", spread([value for value, _ in complexity])
    yield "  the most complex", ", ".join(f"{name} {n}" for n, name in sorted(complexity)[:-4:-1])
    yield "modules at the top of nbfn", str(len(list(PACKAGES["nbfn"].glob("*.py"))))
    yield "packages at the top of nbfn", str(len(list(PACKAGES["nbfn"].glob("*/__init__.py"))))
    edges = cyclic_imports(graph)
    yield "imports in cycles (lazy and typing imports counted)", str(len(edges))
    yield "modules in cycles", str(len({module for edge in edges for module in edge}))
    yield "modules with one importer", str(len(single_importer(graph)))
    passed = files_passed()
    yield "files passed from remote() to the socket", str(len(passed))
    yield "  in order", " ".join(passed)


def spread(values: Sequence[int]) -> str:
    """Return the median, the 90th percentile and the maximum."""
    ordered = sorted(values)
    middle = statistics.median_low(ordered)
    return f"{middle} / {ordered[int(0.9 * len(ordered))]} / {ordered[-1]}"


def function_lengths(files: Sequence[Path]) -> Iterator[int]:
    """Yield the number of lines of each function, without its decorators."""
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield (node.end_lineno or node.lineno) - node.lineno + 1


def complexities(files: Sequence[Path]) -> Iterator[tuple[int, str]]:
    """Yield the cyclomatic complexity and the location of each function."""
    for path in files:
        for block in cc_visit(path.read_text("utf-8")):
            for function in _functions(block):
                yield function.complexity, f"{path.relative_to(ROOT)}:{function.name}"


def _functions(block: Any) -> Iterator[Function]:
    if isinstance(block, Class):
        return  # radon lists its methods as separate blocks
    yield block
    for inner in block.closures:
        yield from _functions(inner)


# --- imports -------------------------------------------------------------------------------------


def import_graph() -> grimp.ImportGraph:
    """Return all imports among the modules of the packages."""
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False, cache_dir=None)


def cyclic_imports(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Return the pairs (importer, imported) that are part of an import cycle."""
    return sorted(
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if graph.chain_exists(importer=imported, imported=importer)
    )


def single_importer(graph: grimp.ImportGraph) -> list[str]:
    """Return the modules that exactly one other module imports."""
    return sorted(m for m in graph.modules if len(graph.find_modules_that_directly_import(m)) == 1)


# --- the path of a call --------------------------------------------------------------------------


def files_passed() -> list[str]:
    """Return the modules that run, in order, from `Function.remote` until the call is sent to the socket."""
    way = _Way()
    threading.setprofile(way.note)  # for the thread of the client, which the first call starts
    try:
        with home():
            double = register(lambda value: 2 * value, name="double")
            double.remote(1)  # registers the Function and connects to the hub
            sys.setprofile(way.note)
            way.open = True
            double.remote(2)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return way.passed


class _Way:
    """Records the modules whose functions are called, in any thread, until a message is sent."""

    def __init__(self) -> None:
        self.open = False
        self.passed: list[str] = []

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """Record the module of a call; this is a profile function for `sys.setprofile`."""
        module = frame.f_globals.get("__name__", "")
        if event != "call" or not self.open or not module.startswith("nbfn"):
            return
        if module not in self.passed:
            self.passed.append(module)
        if module == SOCKET and frame.f_code.co_name == "send":
            self.open = False


if __name__ == "__main__":
    sys.exit(main())
