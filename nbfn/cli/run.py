"""``nbfn run``: runs an App while its local entrypoint, or one call of a Function, runs."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from nbfn.api.app import App
from nbfn.api.description import describe, hydrated
from nbfn.api.entrypoint import LocalEntrypoint
from nbfn.cli import INTERRUPTED, import_string, parameter_options, signals, user_traceback
from nbfn.cli.formatting import env_option
from nbfn.cli.import_string import Method
from nbfn.cli.parameter_options import Given, Parameters
from nbfn.client import call_observer, console
from nbfn.client.app_output import stamp
from nbfn.declarations.lifecycle import remote_methods
from nbfn.exception import InvalidError
from nbfn.protocol.messages import Emission
from nbfn.runtime import console_output
from nbfn.runtime.console_output import Output

_INTERRUPTED = object()


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-n", "--name", default=None, help="The name of the App while it runs.")
@click.option(
    "-w",
    "--write-result",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the result, which must be text or bytes, to this file.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@click.option("-d", "--detach", is_flag=True, help="Keep the App running until it is stopped.")
@click.option("-i", "--interactive", is_flag=True, help="Run the App with interactive=True.")
@click.option("-m", "as_module", is_flag=True, help="REF names a module, not a file.")
@click.option(
    "--timestamps", is_flag=True, help="Print the time before each line of remote output."
)
@env_option
@click.argument("ref", metavar="REF")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]...")
def run(
    name: str | None,
    write_result: Path | None,
    quiet: bool,
    detach: bool,
    interactive: bool,
    as_module: bool,
    timestamps: bool,
    env: str,
    ref: str,
    words: tuple[str, ...],
) -> int:
    """Run a local entrypoint or a Function.

    REF is path.py, path.ipynb or, with -m, pkg.mod, followed by ::name, ::app.name or
    ::Class.method; without a name, the only local entrypoint or else the only Function runs.
    ARGUMENTS set its parameters: --some-name VALUE, --flag/--no-flag; `nbfn run REF --help`
    lists them.
    """
    if write_result is not None:
        _check_writable(write_result)
    if quiet and interactive:
        raise InvalidError("--quiet and --interactive cannot be combined. Pass one of them.")
    found = import_string.load(ref, as_module=as_module)
    app, target = found.target()
    call = prepare(target, f"nbfn run {'-m ' if as_module else ''}{ref}", words)
    if call is None:
        return 0
    result: Any = _INTERRUPTED
    with (
        console_output.redirected_to(Output(sys.stderr, quiet=quiet, timestamps=timestamps)),
        _output_options(timestamps=timestamps),
        app.run(name=name, detach=detach, interactive=interactive, environment_name=env or None),
    ):
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            return _exit_code_of(error)
    if result is _INTERRUPTED:  # by Ctrl-C, which ends the App
        return INTERRUPTED
    if write_result is not None:
        _write(write_result, result)
    return 0


def _exit_code_of(error: Exception) -> int:
    """Show an error of the user's code and return the exit code."""
    if isinstance(error, BrokenPipeError) and signals.is_pipe_broken():
        return signals.BROKEN_PIPE
    user_traceback.show(error)
    return 1


def prepare(target: Any, command_line: str, words: tuple[str, ...]) -> Callable[[], Any] | None:
    """Return a function that runs the target; None if its help was requested.

    Args:
        target: A local entrypoint, a Function or a method.
        command_line: The command line before the arguments.
        words: The arguments.

    Raises:
        InvalidError: If the target is a generator, or its parameters cannot be set from a command line.
        click.UsageError: If the arguments are not valid.
    """
    if isinstance(target, LocalEntrypoint):
        raw, called = target.raw_f, target.name
        parameters = [parameter_options.parameters_of(raw, called)]
    else:
        raw, called, parameters = _remote(target)
        if inspect.isgeneratorfunction(raw) or inspect.isasyncgenfunction(raw):
            raise InvalidError(
                f"{called!r} is a generator, which cannot be run from the command line. "
                "Write a local entrypoint that iterates over it."
            )
    given = parameter_options.parse(command_line, parameters, words, raw.__doc__ or "")
    return None if given is None else lambda: _call(target, given)


def _remote(target: Any) -> tuple[Callable[..., Any], str, list[Parameters]]:
    """Return the definition of a Function or method, its name, and the parameters of its class and of itself."""
    if not isinstance(target, Method):
        raw, called = target.get_raw_f(), describe(target).name
        return raw, called, [parameter_options.parameters_of(raw, called)]
    name, cls = describe(target.cls).name, describe(target.cls).definition
    called = f"{name}.{target.name}"
    raw = remote_methods(cls)[target.name].raw
    own = parameter_options.parameters_of(
        raw, called, skip=list(inspect.signature(raw).parameters)[:1]
    )
    of_class = parameter_options.class_parameters(cls, name)
    ambiguous = {option.name for option in of_class.options} & {
        option.name for option in own.options
    }
    if ambiguous:
        raise InvalidError(
            f"{', '.join(sorted(map(str, ambiguous)))} is a parameter of both {name!r} and its "
            f"method {target.name!r}, which a command line cannot distinguish."
        )
    return raw, called, [of_class, own]


def _call(target: Any, given: list[Given]) -> Any:
    args, kwargs = given[-1]
    if isinstance(target, Method):
        of_class = given[0]
        target = getattr(target.cls(*of_class[0], **of_class[1]), target.name)
    if not isinstance(target, LocalEntrypoint):
        return target.remote(*args, **kwargs)
    result = target(*args, **kwargs)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def _check_writable(path: Path) -> None:
    """Check, before the run, that the result can be written.

    Raises:
        InvalidError: If the file cannot be written, or its directory does not exist.
    """
    directory = path if path.exists() else path.parent
    if not directory.exists():
        raise InvalidError(f"--write-result {path}: the directory {directory} does not exist.")
    if not os.access(directory, os.W_OK):
        raise InvalidError(f"--write-result {path}: {directory} cannot be written.")


def _write(path: Path, result: Any) -> None:
    if isinstance(result, str):
        path.write_text(result, "utf-8")
    elif isinstance(result, bytes):
        path.write_bytes(result)
    else:
        raise InvalidError(
            f"--write-result needs a result that is str or bytes, not {type(result).__name__}."
        )


@contextlib.contextmanager
def _output_options(*, timestamps: bool) -> Iterator[None]:
    console.on_broken_pipe = signals.exit_on_broken_pipe
    if timestamps:
        call_observer.set_observer(_TimestampObserver())
    try:
        yield
    finally:
        console.on_broken_pipe = None
        if timestamps:
            call_observer.set_observer(None)


class _TimestampObserver(call_observer.CallObserver):
    """An observer that prints the time before each line of remote output."""

    def call_started(self, call: call_observer.CallView) -> call_observer.CallSink:
        """See `call_observer.CallObserver.call_started`."""
        return _TimestampSink()


class _TimestampSink(call_observer.TextSink):
    """Writes complete lines with the time, and holds back incomplete ones."""

    def __init__(self) -> None:
        self._partial_lines: dict[str, str] = {}

    def emission(self, e: Emission) -> None:
        """See `call_observer.CallSink.emission`."""
        text = self._partial_lines.pop(e.channel, "") + call_observer.plain_text(e)
        *lines, rest = text.split("\n")
        for line in lines:
            self._write(e.channel, line)
        if rest:
            self._partial_lines[e.channel] = rest

    def finished(self, status: str, error: BaseException | None) -> None:
        """See `call_observer.CallSink.finished`."""
        for channel, rest in self._partial_lines.items():
            self._write(channel, rest)

    def _write(self, channel: str, line: str) -> None:
        console.write("stderr" if channel == "stderr" else "stdout", f"{stamp()} {line}\n")


def urls_of(app: App) -> list[str]:
    """Return a line for each Function and class of an App, and for each web endpoint its URL."""
    lines = []
    for name, function in app.registered_functions.items():
        url = function.get_web_url()
        lines.append(f"  {name}  {url}" if url else f"  {name}")
    for name, cls in app.registered_classes.items():
        info = hydrated(cls).info
        lines.append(f"  {name}")
        lines += [
            f"  {name}.{method.name}  {method.web_url}"
            for method in info.methods
            if method.endpoint
        ]
    return lines
