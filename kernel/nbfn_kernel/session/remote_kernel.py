"""The kernel of the kernelspec "Python 3 (nbfn remote)": its cells run in a session on a worker.

Cells, completion, inspection, history, widgets and the debugger are forwarded to the session, in which nbfn is loaded:
``%%remote`` cells and calls of Functions work there as in any notebook. ``%%local`` cells and the magics that copy
values and control the session run in this kernel.
"""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import CancelledError
from html import escape
from typing import Any

from traitlets import Type

from nbfn.exception import InputCancellation
from nbfn.runtime.time_span import format_span
from nbfn_kernel.session import cell_routing
from nbfn_kernel.session.cell_routing import MixedCell, RoutedCell
from nbfn_kernel.session.kernel_channels import Message, SessionEnded
from nbfn_kernel.session.local_kernel import LocalKernelApp
from nbfn_kernel.session.proxy_kernel import ProxyKernel
from nbfn_kernel.session.session_magics import SessionMagics

#: Seconds after which a cell shows that its session is starting, and between updates of what it waits for.
NOTICE_DELAY = 1.0


class RemoteKernel(ProxyKernel):
    """The kernel of a notebook whose cells run in a session."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._session_count = 1  # the session's execution count
        assert self.shell is not None
        self.shell.register_magics(
            SessionMagics(self.shell, self._manager, lambda: self._start_and_wait())
        )
        self.shell.input_transformers_cleanup.append(cell_routing.strip_local)

    # --- cells -----------------------------------------------------------------------------------

    async def execute_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Run each part of a cell in this kernel or in the session."""
        try:
            has_session = self._manager.opened is not None
            cell = cell_routing.split(parent["content"]["code"], has_session=has_session)
        except MixedCell as error:
            self._begin_cell(parent)
            self._end_cell(stream, ident, parent, self._failure("UsageError", str(error)))
            return
        if cell.in_session is None:
            await self._run_local(stream, ident, parent)
        else:
            await self._run_forwarded(stream, ident, parent, cell)

    async def _run_local(self, stream: Any, ident: Any, parent: Message) -> None:
        self._runs_locally = True
        try:
            await super().execute_request(stream, ident, parent)
        finally:
            self._runs_locally = False

    async def _run_forwarded(
        self, stream: Any, ident: Any, parent: Message, cell: RoutedCell
    ) -> None:
        self._begin_cell(parent)
        content: dict[str, Any] | None = self._run_lines(cell.before)
        if content is None:
            try:
                content = await self._run_in_session(ident, parent, cell.in_session or "")
            except (Exception, asyncio.CancelledError, InputCancellation) as error:  # noqa: BLE001 - any error becomes the reply
                content = self._explain(error)
            if content["status"] == "ok":
                content = self._run_lines(cell.after) or content
        self._end_cell(stream, ident, parent, content)

    def _begin_cell(self, parent: Message) -> None:
        assert self.shell is not None
        if not parent["content"].get("silent", False):
            code = parent["content"]["code"]
            self._publish_execute_input(code, parent, self.shell.execution_count)

    async def _run_in_session(self, ident: Any, parent: Message, code: str) -> dict[str, Any]:
        await self._start()
        await self._sync_execution_count()
        request = dict(parent, content=parent["content"] | {"code": code})
        reply = await self._reply(self._manager.forward("shell", request, ident))
        assert reply is not None
        content: dict[str, Any] = reply["content"]
        if (number := content.get("execution_count")) is not None and self.shell is not None:
            self.shell.execution_count = self._session_count = number + 1
        if content["status"] == "error":
            self._give_hint(content)
        return content

    def _end_cell(self, stream: Any, ident: Any, parent: Message, content: dict[str, Any]) -> None:
        assert self.session is not None
        metadata = self.finish_metadata(
            parent, self.init_metadata(parent), {"ename": "", **content}
        )
        self.session.send(stream, "execute_reply", content, parent, metadata=metadata, ident=ident)
        request_content = parent["content"]
        if (
            content["status"] == "error"
            and request_content.get("stop_on_error", True)
            and not request_content.get("silent", False)
        ):
            self._abort_queues(parent["header"].get("subshell_id"))

    def _run_lines(self, code: str) -> dict[str, Any] | None:
        """Run lines of a cell in this kernel; return the content of the reply if they failed, else None."""
        if not code.strip():
            return None
        assert self.shell is not None
        self._runs_locally = True
        try:
            result = self.shell.run_cell(code, store_history=False)
        finally:
            self._runs_locally = False
        error = result.error_before_exec or result.error_in_exec
        if error is None:
            return None
        return self._error(type(error).__name__, str(error), self.shell._last_traceback or [])

    async def _sync_execution_count(self) -> None:
        """Set the session's execution count to that of this kernel."""
        assert self.shell is not None
        number = self.shell.execution_count
        if number != self._session_count:
            await asyncio.wrap_future(self._manager.run_silently(_SET_COUNT.format(number)))
            self._session_count = number

    def _give_hint(self, content: dict[str, Any]) -> None:
        """Write a hint for an error whose cause the session does not know."""
        assert self.shell is not None
        error = (content.get("ename", ""), content.get("evalue", ""))
        if magic := cell_routing.unknown_magic(*error):
            kind = "cell" if magic.startswith("%%") else "line"
            if magic.removeprefix("%") in cell_routing.LINE_MAGICS:
                hint = cell_routing.MIXED_HINT.format(magic)
            elif self.shell.find_magic(magic.lstrip("%"), kind) is None:
                hint = f"{magic} is defined neither in the session nor in the notebook's kernel."
            else:
                hint = (
                    f"{magic} is defined in the notebook's kernel, but not in the session. "
                    "Run it in a %%local cell, or load its extension in the session: %load_ext NAME."
                )
        elif (name := cell_routing.unknown_name(*error)) and name in self.shell.user_ns:
            hint = f"{name!r} is defined in the notebook's kernel, but not in the session. Copy it: %push {name}"
        else:
            return
        self._write("stderr", f"nbfn: {hint}\n")

    # --- the session -----------------------------------------------------------------------------

    async def _start(self) -> None:
        """Start a session unless one runs; show a line while it starts and when it has started."""
        if self._manager.opened is not None:
            return
        end_reason, note = self._manager.end_reason, uuid.uuid4().hex
        starting = self._manager.start()
        shown = ""
        with self._interruptible(starting.cancel):
            waiting = asyncio.wrap_future(starting)
            while not (await asyncio.wait([waiting], timeout=NOTICE_DELAY))[0]:
                reason = asyncio.wrap_future(self._manager.waiting_for())
                first: list[asyncio.Future[Any]] = [waiting, reason]
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                why = reason.result() if reason.done() else ""
                text = f"○ starting a session on a worker … {why}".rstrip()
                if text != shown:
                    self._note(text, note, update=bool(shown))
                shown = text
            seconds = await waiting
        self._report_start(seconds, end_reason, note if shown else "")

    def _start_and_wait(self) -> None:
        """Start a session unless one runs, for a magic; blocks."""
        if self._manager.opened is None:
            end_reason, starting = self._manager.end_reason, self._manager.start()
            try:
                seconds = starting.result()
            except BaseException:
                starting.cancel()
                raise
            self._report_start(seconds, end_reason, "")

    def _report_start(self, seconds: float | None, end_reason: str, note: str) -> None:
        opened = self._manager.opened
        if seconds is None or opened is None:
            return
        self._session_count = 1
        self._manager.end_reason = ""
        text = f"● session {opened.worker[:8]}… started in {format_span(seconds)}"
        if end_reason:
            text += f". The previous one ended ({end_reason.splitlines()[0].rstrip('.')}); its variables are lost."
        self._note(text, note, update=bool(note))

    def _note(self, text: str, display_id: str, *, update: bool = False) -> None:
        html = (
            '<div style="font-family:var(--jp-ui-font-family,sans-serif);font-size:var('
            '--jp-ui-font-size1,13px);color:var(--jp-ui-font-color2,#616161)">'
            f'<span style="color:var(--jp-success-color1,#2e7d32)">{escape(text[0])}</span>'
            f"{escape(text[1:])}</div>"
        )
        shown = {
            "data": {"text/plain": text, "text/html": html},
            "metadata": {},
            "transient": {"display_id": display_id} if display_id else {},
        }
        kind = "update_display_data" if update else "display_data"
        self.send_response(self.iopub_socket, kind, shown)

    def _write(self, stream: str, text: str) -> None:
        self.send_response(self.iopub_socket, "stream", {"name": stream, "text": text})

    def _explain(self, error: BaseException) -> dict[str, Any]:
        """Return the content of the reply to a cell whose session did not start, or ended."""
        if isinstance(error, CancelledError | asyncio.CancelledError):
            return self._failure("KeyboardInterrupt", "The session was not started.")
        if isinstance(error, SessionEnded):
            text = f"The session ended while it ran this cell: {error}"
            return self._failure("SessionEnded", f"{text}\nThe next cell starts a new one.")
        text = f"The session could not be started. {error}"
        return self._failure(type(error).__name__, f"{text}\nThe next cell tries again.")

    def _failure(self, name: str, text: str) -> dict[str, Any]:
        """Show an error below the cell and return the content of the reply."""
        content = self._error(name, text, [f"\x1b[31m{name}\x1b[39m: {text}"])
        shown = {key: content[key] for key in ("ename", "evalue", "traceback")}
        self.send_response(self.iopub_socket, "error", shown)
        return content

    def _error(self, name: str, text: str, traceback: list[str]) -> dict[str, Any]:
        assert self.shell is not None
        number = self.shell.execution_count
        self.shell.execution_count = number + 1
        return {
            "status": "error",
            "ename": name,
            "evalue": text,
            "traceback": traceback,
            "execution_count": number,
            "user_expressions": {},
            "payload": [],
        }


#: Sets the execution count of the session and pads its lists of past inputs to match.
_SET_COUNT = (
    "get_ipython().execution_count = {0}; "
    "[past.extend([''] * ({0} - len(past))) for past in "
    "(get_ipython().history_manager.input_hist_parsed, get_ipython().history_manager.input_hist_raw)]"
)


class RemoteKernelApp(LocalKernelApp):
    """Starts `RemoteKernel`, with the nbfn extension loaded."""

    kernel_class = Type(  # type: ignore[assignment]
        RemoteKernel, klass="ipykernel.kernelbase.Kernel", help="The kernel's class."
    ).tag(config=True)


main = RemoteKernelApp.launch_instance

if __name__ == "__main__":
    main()
