"""``nbfn serve``: an ephemeral App that is run anew whenever a file of its code changes.

Each time is a process of its own, so nothing of the code before is left; the processes tell this one
which files they read.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click

from nbfn.cli import import_string
from nbfn.cli.formatting import env_option
from nbfn.cli.run import urls_of
from nbfn.runtime import console_output
from nbfn.runtime.console_output import Output
from nbfn.serialization import user_modules

#: Seconds between two looks at the files.
LOOK_EVERY = 0.5
#: Seconds a process has to stop its App and end.
END_WITHIN = 15.0
#: Before a line by which a process names a file that it read.
_READ = "\0"


@click.command()
@click.option("--timeout", type=float, default=None, help="Seconds until it ends by itself.")
@click.option("-m", "as_module", is_flag=True, help="REF names a module, not a file.")
@click.option("--once", is_flag=True, hidden=True)
@env_option
@click.argument("ref", metavar="REF")
def serve(timeout: float | None, as_module: bool, once: bool, env: str, ref: str) -> int:
    """Run an App until Ctrl-C, and anew whenever its code changes.

    REF is path.py, path.ipynb or, with -m, pkg.mod; then ::app where there are several.
    """
    if once:
        _serve_once(ref, env, as_module=as_module)
        return 0
    argv = [sys.executable, "-m", "nbfn", "serve", "--once", *(["-m"] if as_module else [])]
    argv += [*(["-e", env] if env else []), ref]
    until = None if timeout is None else time.monotonic() + timeout
    server = _Server(argv, Path(ref.partition("::")[0]))
    try:
        while not server.wait(until):
            click.echo("A file changed: the App is run anew.", err=True)
            server.restart()
    except KeyboardInterrupt:  # the usual end
        pass
    finally:
        server.end()
    return 0 if server.served else 1


class _Server:
    """One process after the other.

    Args:
        argv: Of each.
        first: The file that is watched also when a process could not even read it.
    """

    def __init__(self, argv: list[str], first: Path) -> None:
        self._argv = argv
        self._first = first
        self._seen: dict[str, float] = {}
        #: Whether a process has served the App, once at least.
        self.served = False
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        self._seen = {str(self._first): _changed_at(str(self._first))}
        process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, args=(process, self._seen), daemon=True).start()
        return process

    def _listen(self, process: subprocess.Popen[str], seen: dict[str, float]) -> None:
        """Pass on what a process writes, but for the names of its files."""
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(_READ):
                name = line[1:].rstrip("\n")
                seen[name] = _changed_at(name)
                self.served = True
            else:
                click.echo(line, nl=False)

    def wait(self, until: float | None) -> bool:
        """Return False when a file has changed, True when the time is over."""
        while until is None or time.monotonic() < until:
            if any(_changed_at(name) != at for name, at in list(self._seen.items())):
                return False
            time.sleep(LOOK_EVERY)
        return True

    def restart(self) -> None:
        """Have another process take its place."""
        self.end()
        self._process = self._start()

    def end(self) -> None:
        """End the process in good order: the App stops with it."""
        assert self._process.stdin is not None
        self._process.stdin.close()  # it waits for that
        try:
            self._process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _changed_at(name: str) -> float:
    try:
        return Path(name).stat().st_mtime
    except OSError:
        return 0.0


def _serve_once(ref: str, env: str, *, as_module: bool) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = import_string.load(ref, as_module=as_module)
    app = found.app()
    signal.signal(signal.SIGINT, lambda *_: None)  # its parent gets it too, and tells it to end
    with console_output.to(Output(sys.stderr)), app.run(environment_name=env or None):
        for line in urls_of(app):
            click.echo(line)
        files = {str(m.__file__) for m in user_modules.local_modules()} | {
            str(found.module.__file__)
        }
        for name in sorted(files):
            click.echo(f"{_READ}{name}")
        sys.stdout.flush()
        sys.stdin.read()  # until the end of who started this
