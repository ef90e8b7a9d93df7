"""The magics of the remote kernel: ``%push`` and ``%pull`` copy values, ``%session`` shows and controls the session."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

import nbfn
from nbfn.runtime.byte_size import format_bytes, parse_mebibytes
from nbfn_kernel.session import remote_session
from nbfn_kernel.session.kernel_channels import SessionEnded
from nbfn_kernel.session.remote_session import VALUES
from nbfn_kernel.session.session_manager import SessionManager, SessionOptions

T = TypeVar("T")

#: The code that calls `remote_session.bind_values` or `remote_session.send_values` in the session.
_CALL = "__import__('nbfn_kernel.session.remote_session', fromlist=['bind_values']).{}(get_ipython().user_ns, {!r})"
#: Seconds between checks for an interrupt while a magic waits.
POLL_INTERVAL = 0.2


@magics_class
class SessionMagics(Magics):
    """Magics of the remote kernel.

    Args:
        shell: The IPython shell of the notebook's kernel.
        manager: Manages the session.
        start_session: Starts the session unless it runs.
    """

    shell: Any

    def __init__(
        self, shell: Any, manager: SessionManager, start_session: Callable[[], None]
    ) -> None:
        super().__init__(shell)
        self._manager = manager
        self._start_session = start_session

    @no_var_expand
    @line_magic
    def local(self, line: str) -> None:
        """Run an expression or a statement in the notebook's kernel: ``%local x = 3``."""
        self.shell.run_cell(line, store_history=False).raise_error()

    @no_var_expand
    @cell_magic("local")  # type: ignore[arg-type]
    def local_cell(self, line: str, cell: str) -> None:
        """Run the cell in the notebook's kernel, not in the session."""
        raise UsageError(
            f"%%local takes no options and must be in the first line: {line} {cell[:20]}"
        )

    @no_var_expand
    @line_magic
    def push(self, line: str) -> None:
        """Copy values from the notebook's kernel to the session: ``%push a b``."""
        names = _names(line, "%push")
        if missing := [name for name in names if name not in self.shell.user_ns]:
            raise UsageError(
                f"{missing[0]!r} is not defined in the notebook's kernel. %push copies variables of %%local cells; "
                f"%pull {missing[0]} copies one from the session."
            )
        with _usage_errors():
            serializer = nbfn.Client.attach().serializer
            payloads = {}
            for name in names:
                value = self.shell.user_ns[name]
                if getattr(value, "is_hydrated", True) is False:
                    value.hydrate()  # a Function that is not registered yet
                payloads[name] = serializer.dump(value)
        self._start()
        self._ask("bind_values", remote_session.pack(payloads))
        _print_lines(f"{name} → session · {_size(payload)}" for name, payload in payloads.items())

    @no_var_expand
    @line_magic
    def pull(self, line: str) -> None:
        """Copy values from the session to the notebook's kernel: ``%pull x y``."""
        names = _names(line, "%pull")
        self._start()
        payloads: dict[str, Any] = {}
        for output in self._ask("send_values", names)["outputs"]:
            if VALUES in output["content"].get("data", {}):
                payloads = remote_session.unpack(output["content"]["data"][VALUES])
        with _usage_errors():
            serializer = nbfn.Client.attach().serializer
            for name, payload in payloads.items():
                self.shell.user_ns[name] = serializer.load(payload)
                serializer.discard(payload)
        _print_lines(f"{name} ← session · {_size(payload)}" for name, payload in payloads.items())

    @magic_arguments("%session")
    @argument("--cpu", type=float, metavar="N", help="Cores that the session needs.")
    @argument("--memory", metavar="8G", help="Memory that it needs, which is also its limit.")
    @argument("--gpu", metavar="N", help="GPUs that it needs: a number, or a kind like A100:2.")
    @argument("--app", help="App under which its worker is listed; default: the notebook's name.")
    @argument("--env", action="append", metavar="NAME=VALUE", help="An environment variable.")
    @argument(
        "--stop", action="store_true", help="End the session; the next cell starts a new one."
    )
    @argument("--restart", action="store_true", help="End the session and start a new one.")
    @no_var_expand
    @line_magic
    def session(self, line: str) -> None:
        """Show the session, end it, or set options of the next one."""
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
            _print_lines(["no session runs; the next cell starts one"])
        else:
            _print_lines([f"session {opened.worker[:8]}… · process {opened.pid}"])
            if changed:
                _print_lines(
                    ["the options apply to the next session; %session --restart starts it"]
                )

    def _start(self) -> None:
        with _usage_errors():
            self._start_session()

    def _ask(self, function: str, *arguments: Any) -> Any:
        """Call `bind_values` or `send_values` of `remote_session` in the session; return the reply.

        Raises:
            UsageError: If the call failed, with the error's message.
        """
        with _usage_errors():
            reply = _wait(self._manager.run_silently(_CALL.format(function, *arguments)))
        content = reply["content"]
        if content["status"] != "ok":
            raise UsageError(content.get("evalue") or "The session was interrupted.")
        return reply


def _names(line: str, magic: str) -> list[str]:
    names = line.replace(",", " ").split()
    if not names:
        raise UsageError(f"{magic} needs the names of variables to copy: {magic} a b")
    if wrong := [name for name in names if not name.isidentifier()]:
        raise UsageError(
            f"{magic} copies variables, and {wrong[0]!r} is not a name. Assign the value to a variable first."
        )
    return names


def _wait(future: Future[T]) -> T:
    """Return the result of a future; an interrupt ends the wait."""
    while True:
        try:
            return future.result(POLL_INTERVAL)
        except TimeoutError:
            if future.done():
                raise


class _usage_errors:  # noqa: N801 - used like a function
    """Converts errors of nbfn to `UsageError`, which IPython shows as one line."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, nbfn.Error | SessionEnded):
            raise UsageError(str(error)) from None


def _print_lines(lines: Any) -> None:
    print("\n".join(lines), flush=True)  # noqa: T201 - output of the cell


def _size(payload: Any) -> str:
    """Return the pickled size of a value, for people."""
    return format_bytes(len(payload.data) + sum(segment.size for segment in payload.segments))


def _mebibytes(text: str | None) -> int | None:
    try:
        return None if text is None else parse_mebibytes(text)
    except ValueError as error:
        raise UsageError(f"--memory {text} is not valid. {error}") from None


def _variables(given: list[str] | None) -> dict[str, str] | None:
    if not given:
        return None
    if wrong := [item for item in given if "=" not in item]:
        raise UsageError(f"--env {wrong[0]} is not valid. Write --env NAME=VALUE.")
    return dict(item.split("=", 1) for item in given)
