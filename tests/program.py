"""Programs that tests run as a user runs a script: what they define is in `__main__`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

#: Begins each program.
HEAD = """\
import sys
import nbfn
app = nbfn.App("program")
"""
#: Ends those that tell what each of their ``CHECKS`` gave, one a line.
TELL = """
if __name__ == "__main__":
    for name, check in CHECKS.items():
        try:
            said = repr(check())
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        print(name, "=", said.replace(chr(10), " "), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        out: What it printed.
        err: What it wrote to stderr.
    """

    out: str
    err: str

    @property
    def told(self) -> dict[str, str]:
        """What each check gave."""
        parts = (line.partition(" = ") for line in self.out.splitlines())
        return {name: said for name, sign, said in parts if sign}


def run(
    folder: Path, text: str, *argv: str, name: str = "program.py", checks: bool = True
) -> Ended:
    """Run a program in a folder, with the hub of this test, and return how it ended.

    Args:
        folder: Takes its file.
        text: What it says, without the beginning that all have.
        argv: Its arguments.
        name: The name of its file.
        checks: Whether it has ``CHECKS`` to tell of.
    """
    file = folder / name
    file.write_text(HEAD + dedent(text) + (TELL if checks else ""))
    done = subprocess.run(
        [sys.executable, str(file), *argv],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Ended(done.stdout, done.stderr)
