"""The magics of the remote kernel: ``%push`` and ``%pull`` move values, ``%session`` is about the session."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

import nbfn
from nbfn_kernel.session import remote_session
from nbfn_kernel.session.kernel_channels import SessionEnded
from nbfn_kernel.session.remote_session import VALUES
from nbfn_kernel.session.session_manager import SessionManager, SessionOptions

T = TypeVar("T")

#: Runs one of our own lines there: ``next_batch`` or ``give`` of `remote_session`, with its arguments.
_CALL = "__import__('nbfn_kernel.session.remote_session', fromlist=['take']).{}(get_ipython().user_ns, {!r})"
#: Seconds between looks for an interrupt while we wait.
LOOK = 0.2
#: Amounts from which on the next unit is used.
_KILO = 1024


@magics_class
class SessionMagics(Magics):
    """Magics that only the remote kernel has.

    Args:
        shell: The notebook's own IPython shell.
        manager: Of the session.
        started: Starts the session if need be, and says so.
    """

    shell: Any

    def __init__(self, shell: Any, manager: SessionManager, started: Callable[[], None]) -> None:
        super().__init__(shell)
        self._manager = manager
        self._started = started

    @no_var_expand
    @line_magic
    def local(self, line: str) -> None:
        """Run an expression or a statement here, in the notebook's own kernel: ``%local x = 3``."""
        self.shell.run_cell(line, store_history=False).raise_error()

    @no_var_expand
    @cell_magic("local")  # type: ignore[arg-type]
    def local_cell(self, line: str, cell: str) -> None:
        """Run the cell here, in the notebook's own kernel, not in the session."""
        raise UsageError(
            f"%%local takes no options, and stands in the first line: {line} {cell[:20]}"
        )

    @no_var_expand
    @line_magic
    def push(self, line: str) -> None:
        """Copy values from here into the session: ``%push a b``."""
        names = _names(line, "%push")
        if missing := [name for name in names if name not in self.shell.user_ns]:
            raise UsageError(
                f"{missing[0]!r} is not defined here. %push takes names of %%local cells; "
                f"%pull {missing[0]} fetches one of the session's."
            )
        with _one_line():
            carrier = nbfn.Client.attach().carrier
            payloads = {}
            for name in names:
                value = self.shell.user_ns[name]
                if getattr(value, "is_hydrated", True) is False:
                    value.hydrate()  # a Function that the hub does not know yet
                payloads[name] = carrier.dump(value)
        self._start()
        self._ask("take", remote_session.packed(payloads))
        _say(f"{name} → session · {_size(payload)}" for name, payload in payloads.items())

    @no_var_expand
    @line_magic
    def pull(self, line: str) -> None:
        """Copy values of the session's here: ``%pull x y``."""
        names = _names(line, "%pull")
        self._start()
        payloads: dict[str, Any] = {}
        for output in self._ask("give", names)["outputs"]:
            if VALUES in output["content"].get("data", {}):
                payloads = remote_session.unpacked(output["content"]["data"][VALUES])
        with _one_line():
            carrier = nbfn.Client.attach().carrier
            for name, payload in payloads.items():
                self.shell.user_ns[name] = carrier.load(payload)
                carrier.discard(payload)
        _say(f"{name} ← session · {_size(payload)}" for name, payload in payloads.items())

    @magic_arguments("%session")
    @argument("--cpu", type=float, metavar="N", help="Cores it needs.")
    @argument("--memory", metavar="8G", help="Memory it needs, and its limit.")
    @argument("--gpu", metavar="N", help="GPUs it needs: a number, or a kind like A100:2.")
    @argument("--app", help="App that its worker is listed under; default: the notebook's name.")
    @argument("--env", action="append", metavar="NAME=VALUE", help="An environment variable.")
    @argument("--stop", action="store_true", help="End it; the next cell starts a new one.")
    @argument("--restart", action="store_true", help="End it and start a new one.")
    @no_var_expand
    @line_magic
    def session(self, line: str) -> None:
        """Show the session, end it, or say what the next one is to be started with."""
        given = parse_argstring(SessionMagics.session, line)
        wanted = {
            "app": given.app or "",
            "cpu": given.cpu,
            "memory": _mebibytes(given.memory),
            "gpu": f"any:{given.gpu}" if given.gpu and given.gpu.isdigit() else given.gpu,
            "env": _variables(given.env),
        }
        changed = any(wanted.values())
        if changed:
            self._manager.options = SessionOptions(**wanted)
        if given.stop or given.restart:
            _wait(self._manager.stop())
        if given.restart:
            self._start()
        elif (opened := self._manager.opened) is None:
            _say(["no session runs; the next cell for it starts one"])
        else:
            _say([f"session {opened.worker[:8]}… · process {opened.pid}"])
            if changed:
                _say(["the options are for the next one: %session --restart starts it"])

    def _start(self) -> None:
        with _one_line():
            self._started()

    def _ask(self, function: str, *arguments: Any) -> Any:
        """Call `session.next_batch` or `session.give` there.

        Raises:
            UsageError: With the session's own words, if it failed.
        """
        with _one_line():
            reply = _wait(self._manager.ask(_CALL.format(function, *arguments)))
        content = reply["content"]
        if content["status"] != "ok":
            raise UsageError(content.get("evalue") or "The session was interrupted.")
        return reply


def _names(line: str, magic: str) -> list[str]:
    names = line.replace(",", " ").split()
    if not names:
        raise UsageError(f"{magic} needs the names of what to move: {magic} a b")
    if wrong := [name for name in names if not name.isidentifier()]:
        raise UsageError(f"{magic} moves names, and {wrong[0]!r} is none. Bind it to one first.")
    return names


def _wait(future: Future[T]) -> T:
    """Return what a future has, and hear interrupts meanwhile."""
    while True:
        try:
            return future.result(LOOK)
        except TimeoutError:
            if future.done():
                raise


class _one_line:  # noqa: N801 - reads as what it does
    """Turns an error of nbfn's into one line."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, nbfn.Error | SessionEnded):
            raise UsageError(str(error)) from None


def _say(lines: Any) -> None:
    print("\n".join(lines), flush=True)  # noqa: T201 - the cell's own output


def _size(payload: Any) -> str:
    """Return how large a value is on the way."""
    amount = float(len(payload.data) + sum(segment.size for segment in payload.segments))
    units = ["B", "kB", "MB", "GB"]
    while amount >= _KILO and len(units) > 1:
        amount /= _KILO
        units.pop(0)
    return f"{amount:.0f} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def _mebibytes(text: str | None) -> int | None:
    if text is None:
        return None
    number, unit = text.rstrip("iBb"), 1
    if number[-1:].upper() in ("M", "G", "T"):
        unit = {"M": 1, "G": 1024, "T": 1024**2}[number[-1].upper()]
        number = number[:-1]
    try:
        amount = round(float(number) * unit)
    except ValueError:
        amount = 0
    if amount < 1:
        raise UsageError(f"--memory is {text}; give an amount like 8G or 512M.")
    return amount


def _variables(given: list[str] | None) -> dict[str, str] | None:
    if not given:
        return None
    if wrong := [item for item in given if "=" not in item]:
        raise UsageError(f"--env is {wrong[0]}; write --env NAME=VALUE.")
    return dict(item.split("=", 1) for item in given)
