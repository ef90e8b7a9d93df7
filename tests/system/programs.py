"""Runs a program in a process of its own, with limits of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def run_program(
    folder: Path, text: str, *, before: Sequence[str] = (), files: int | None = None
) -> str:
    """Run a program to its end and return what it printed.

    Args:
        folder: Its working directory.
        text: The program.
        before: A command line that the program's is added to.
        files: How many files it may have open.
    """
    (folder / "program.py").write_text(text, "utf-8")
    limit: Callable[[], None] | None = None
    if files is not None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))

    ran = subprocess.run(
        [*before, sys.executable, "program.py"],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=limit,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
