"""``nbfn serve``: runs an ephemeral App, and reloads it when a file of its code changes.

Each run is a child process, so no code of the previous run remains. The child reports which files it has read.
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

#: Seconds between checks of the files.
POLL_INTERVAL = 0.5
#: Seconds that a child process has to stop its App and end.
STOP_TIMEOUT = 15.0
#: The prefix of a line in which a child process reports a file that it has read.
_FILE_PREFIX = "\0"


@click.command()
@click.option("--timeout", type=float, default=None, help="Seconds after which it ends.")
@click.option("-m", "as_module", is_flag=True, help="REF names a module, not a file.")
@click.option("--once", is_flag=True, hidden=True)
@env_option
@click.argument("ref", metavar="REF")
def serve(timeout: float | None, as_module: bool, once: bool, env: str, ref: str) -> int:
    """Run an App until Ctrl-C, and reload it when its code changes.

    REF is path.py, path.ipynb or, with -m, pkg.mod; append ::app where there are several Apps.
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
            click.echo("A file changed. Reloading the App.", err=True)
            server.restart()
    except KeyboardInterrupt:  # Ctrl-C ends it
        pass
    finally:
        server.end()
    return 0 if server.served else 1


class _Server:
    """Runs one child process after the other.

    Args:
        argv: The command line of a child.
        file: The file of the App, which is checked even if the child could not read it.
    """

    def __init__(self, argv: list[str], file: Path) -> None:
        self._argv = argv
        self._file = file
        self._modified: dict[str, float] = {}
        #: Whether a child has served the App at least once.
        self.served = False
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        self._modified = {str(self._file): _modified_at(str(self._file))}
        process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(
            target=self._forward_output, args=(process, self._modified), daemon=True
        ).start()
        return process

    def _forward_output(self, process: subprocess.Popen[str], modified: dict[str, float]) -> None:
        """Print the output of a child, and record the files that it reports."""
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(_FILE_PREFIX):
                name = line[1:].rstrip("\n")
                modified.setdefault(
                    name, _modified_at(name)
                )  # the App's file may have changed since
                self.served = True
            else:
                click.echo(line, nl=False)

    def wait(self, until: float | None) -> bool:
        """Wait until a file changes or the time is over; return whether the time is over."""
        while until is None or time.monotonic() < until:
            if any(_modified_at(name) != at for name, at in list(self._modified.items())):
                return False
            time.sleep(POLL_INTERVAL)
        return True

    def restart(self) -> None:
        """Replace the child process."""
        self.end()
        self._process = self._start()

    def end(self) -> None:
        """End the child process, which stops its App."""
        assert self._process.stdin is not None
        self._process.stdin.close()  # the child waits for it
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _modified_at(name: str) -> float:
    try:
        return Path(name).stat().st_mtime
    except OSError:
        return 0.0


def _serve_once(ref: str, env: str, *, as_module: bool) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = import_string.load(ref, as_module=as_module)
    app = found.app()
    signal.signal(signal.SIGINT, lambda *_: None)  # the parent gets it too, and ends this process
    with console_output.redirected_to(Output(sys.stderr)), app.run(environment_name=env or None):
        for line in urls_of(app):
            click.echo(line)
        files = {str(m.__file__) for m in user_modules.local_modules()} | {
            str(found.module.__file__)
        }
        for name in sorted(files):
            click.echo(f"{_FILE_PREFIX}{name}")
        sys.stdout.flush()
        sys.stdin.read()  # returns when the parent closes it
