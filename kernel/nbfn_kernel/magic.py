"""The kernel of the kernelspec "Python 3 (nbfn remote)": its cells run in a session on a worker.

What is the session's business is passed on as it came and answered by the session: cells, completion,
inspection, history, widgets, the debugger. ``%%local`` and nbfn's own magics run here, as in any
notebook.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar
from html import escape
from types import FrameType
from typing import Any

from ipykernel.ipkernel import IPythonKernel
from traitlets import Type

from nbfn.exception import InputCancellation
from nbfn_kernel import cells, completion
from nbfn_kernel.cells import Cell, MixedCell
from nbfn_kernel.channels import Message, SessionEnded
from nbfn_kernel.moves import SessionMagics
from nbfn_kernel.notebook import NotebookKernelApp
from nbfn_kernel.relay import Relay

#: Seconds after which a cell says that its session is being started, and between looks why it takes so long.
PATIENCE = 1.0
#: Seconds between looks whether the user has typed.
LOOK = 0.02
#: Debugger requests that may be answered here while there is no session.
_ABOUT_DEBUGGER = ("debugInfo",)

_concurrent: ContextVar[bool] = ContextVar("nbfn_concurrent", default=False)


class MagicKernel(IPythonKernel):
    """A notebook's kernel that has its cells run elsewhere."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._relay = Relay(self._publish, self._ask_user)
        self._next_there = 1  # the number of the session's next cell
        self._here = False  # a cell runs here
        self._away: list[Any] = []  # who to tell of an interrupt, innermost last
        for kind in ("comm_open", "comm_msg", "comm_close"):
            self.shell_handlers[kind] = self._comm
        assert self.shell is not None
        self.shell.register_magics(
            SessionMagics(self.shell, self._relay, lambda: self._start_and_wait())
        )
        self.shell.input_transformers_cleanup.append(cells.without_local)

    async def dispatch_shell(
        self, msg: Any, /, subshell_id: str | None = None, *, concurrent: bool = False
    ) -> None:
        """Remember how a request came in."""
        _concurrent.set(concurrent)
        await super().dispatch_shell(msg, subshell_id, concurrent=concurrent)

    # --- cells -----------------------------------------------------------------------------------

    async def execute_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Run a cell here, there, or its parts where they belong."""
        try:
            cell = cells.split(parent["content"]["code"])
        except MixedCell as error:
            self._begin_cell(parent)
            self._end_cell(stream, ident, parent, self._failure("UsageError", str(error)))
            return
        if cell.there is None:
            await self._run_here(stream, ident, parent)
        else:
            await self._run_there(stream, ident, parent, cell)

    async def _run_here(self, stream: Any, ident: Any, parent: Message) -> None:
        self._here = True
        try:
            await super().execute_request(stream, ident, parent)
        finally:
            self._here = False

    async def _run_there(self, stream: Any, ident: Any, parent: Message, cell: Cell) -> None:
        self._begin_cell(parent)
        content: dict[str, Any] | None = self._run_lines(cell.before)
        if content is None:
            try:
                content = await self._run_in_session(ident, parent, cell.there or "")
            except (Exception, asyncio.CancelledError, InputCancellation) as error:  # noqa: BLE001 - a reply is due, whatever it is
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
        await self._agree_on_number()
        request = dict(parent, content=parent["content"] | {"code": code})
        reply = await self._reply(self._relay.forward("shell", request, ident))
        assert reply is not None
        content: dict[str, Any] = reply["content"]
        if (number := content.get("execution_count")) is not None and self.shell is not None:
            self.shell.execution_count = self._next_there = number + 1
        if content["status"] == "error":
            self._give_hint(content)
        return content

    def _end_cell(self, stream: Any, ident: Any, parent: Message, content: dict[str, Any]) -> None:
        assert self.session is not None
        metadata = self.finish_metadata(
            parent, self.init_metadata(parent), {"ename": "", **content}
        )
        self.session.send(stream, "execute_reply", content, parent, metadata=metadata, ident=ident)
        asked = parent["content"]
        if (
            content["status"] == "error"
            and asked.get("stop_on_error", True)
            and not asked.get("silent", False)
        ):
            self._abort_queues(parent["header"].get("subshell_id"))

    def _run_lines(self, code: str) -> dict[str, Any] | None:
        """Run lines of a cell here; return the reply's content if they failed."""
        if not code.strip():
            return None
        assert self.shell is not None
        self._here = True
        try:
            result = self.shell.run_cell(code, store_history=False)
        finally:
            self._here = False
        error = result.error_before_exec or result.error_in_exec
        if error is None:
            return None
        return self._error(type(error).__name__, str(error), self.shell._last_traceback or [])

    async def _agree_on_number(self) -> None:
        """Have the session's next cell the number that the notebook's has: one count for both."""
        assert self.shell is not None
        number = self.shell.execution_count
        if number != self._next_there:
            await asyncio.wrap_future(self._relay.ask(_COUNT.format(number)))
            self._next_there = number

    def _give_hint(self, content: dict[str, Any]) -> None:
        """Say more of an error than the session can know."""
        assert self.shell is not None
        error = (content.get("ename", ""), content.get("evalue", ""))
        if magic := cells.unknown_magic(*error):
            kind = "cell" if magic.startswith("%%") else "line"
            if magic.removeprefix("%") in cells.LINE_MAGICS:
                hint = cells.PLACE.format(magic)
            elif self.shell.find_magic(magic.lstrip("%"), kind) is None:
                hint = (
                    f"{magic} is known neither in the session nor here, in the notebook's kernel."
                )
            else:
                hint = (
                    f"{magic} is known here, in the notebook's kernel, and not in the session. "
                    "Run it below %%local, or load its extension in the session: %load_ext NAME."
                )
        elif (name := cells.unknown_name(*error)) and name in self.shell.user_ns:
            hint = f"{name!r} is defined here and not in the session: %push {name}"
        else:
            return
        self._say_on("stderr", f"nbfn: {hint}\n")

    # --- the session -----------------------------------------------------------------------------

    async def _start(self) -> None:
        """Have a session, and a line that says so when it is new."""
        if self._relay.opened is not None:
            return
        lost, note = self._relay.lost, uuid.uuid4().hex
        starting = self._relay.start()
        said = ""
        with self._hearing(starting.cancel):
            waiting = asyncio.wrap_future(starting)
            while not (await asyncio.wait([waiting], timeout=PATIENCE))[0]:
                asking = asyncio.wrap_future(self._relay.waits_for())
                first: list[asyncio.Future[Any]] = [waiting, asking]
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                why = asking.result() if asking.done() else ""
                text = f"○ starting a session on a worker … {why}".rstrip()
                if text != said:
                    self._note(text, note, update=bool(said))
                said = text
            took = await waiting
        self._started(took, lost, note if said else "")

    def _start_and_wait(self) -> None:
        """Do the same for a magic, which blocks."""
        if self._relay.opened is None:
            lost, starting = self._relay.lost, self._relay.start()
            try:
                took = starting.result()
            except BaseException:
                starting.cancel()
                raise
            self._started(took, lost, "")

    def _started(self, took: float | None, lost: str, note: str) -> None:
        opened = self._relay.opened
        if took is None or opened is None:
            return
        self._next_there = 1
        self._relay.lost = ""
        text = f"● session {opened.worker[:8]}… started in {took:.1f} s"
        if lost:
            text += (
                f". The last one ended ({lost.splitlines()[0].rstrip('.')}); its names are gone."
            )
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

    def _say_on(self, stream: str, text: str) -> None:
        self.send_response(self.iopub_socket, "stream", {"name": stream, "text": text})

    def _explain(self, error: BaseException) -> dict[str, Any]:
        """Return the content of the reply to a cell that had no session, or lost it."""
        if isinstance(error, CancelledError | asyncio.CancelledError):
            return self._failure("KeyboardInterrupt", "The session was not started.")
        if isinstance(error, SessionEnded):
            text = f"The session ended while it ran this cell: {error}"
            return self._failure("SessionEnded", f"{text}\nThe next cell starts a new one.")
        text = f"No session could be started. {error}"
        return self._failure(type(error).__name__, f"{text}\nThe next cell tries again.")

    def _failure(self, name: str, text: str) -> dict[str, Any]:
        """Show an error under the cell and return what its reply says."""
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

    # --- other requests --------------------------------------------------------------------------

    async def complete_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Complete what the session knows; in lines that run here, what is known here."""
        assert self.session is not None
        code, cursor = parent["content"]["code"], parent["content"]["cursor_pos"]
        cut = cells.names_from(code, cursor)
        content = {"code": code[cut:], "cursor_pos": cursor - cut}

        def finish(found: dict[str, Any]) -> None:
            completion.add_magics(found, content["code"], content["cursor_pos"])
            completion.shift(found, cut)

        here = cells.is_about_here(code, cursor)
        if here or not await self._answered(
            stream, ident, dict(parent, content=content), also=finish
        ):
            found = self.do_complete(content["code"], content["cursor_pos"])
            finish(found)
            self.session.send(stream, "complete_reply", found, parent, ident)

    async def inspect_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Inspect what the session knows."""
        code, cursor = parent["content"]["code"], parent["content"]["cursor_pos"]
        here = cells.is_about_here(code, cursor)
        if here or not await self._answered(stream, ident, parent):
            await super().inspect_request(stream, ident, parent)

    async def history_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Tell the session's history."""
        if not await self._answered(stream, ident, parent):
            await super().history_request(stream, ident, parent)

    async def is_complete_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Say whether code is complete, as the session sees it."""
        if not await self._answered(stream, ident, parent):
            await super().is_complete_request(stream, ident, parent)

    async def comm_info_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Tell the widgets of both sides."""
        wanted = parent["content"].get("target_name")
        mine = {
            key: {"target_name": comm.target_name}
            for key, comm in self.comm_manager.comms.items()
            if wanted in (None, comm.target_name)
        }

        def add(content: dict[str, Any]) -> None:
            content["comms"] = mine | content.get("comms", {})

        if not await self._answered(stream, ident, parent, also=add):
            await super().comm_info_request(stream, ident, parent)

    async def _comm(self, stream: Any, ident: Any, parent: Message) -> None:
        """Take a widget's message to the side that has it."""
        manager: Any = self.comm_manager
        kind = parent["header"]["msg_type"]
        if parent["content"]["comm_id"] in manager.comms or self._relay.opened is None:
            result = getattr(manager, kind)(stream, ident, parent)
            if result is not None:
                await result
            return
        # While a cell waits for the session, ipykernel lets widgets' messages pass and says nothing of it.
        speak = self._publish_status if _concurrent.get() else lambda *_: None
        speak("busy", "shell", parent)
        with contextlib.suppress(SessionEnded):
            await self._reply(self._relay.forward("shell", parent, ident))
        speak("idle", "shell", parent)

    async def debug_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Debug the session."""
        command = parent["content"].get("command")
        if self._relay.opened is None and command not in _ABOUT_DEBUGGER:
            with contextlib.suppress(Exception):  # the next cell will tell
                await asyncio.wrap_future(self._relay.start())
        if not await self._answered(stream, ident, parent, channel="control"):
            await super().debug_request(stream, ident, parent)

    async def usage_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Tell what the session takes of its machine."""
        if not await self._answered(stream, ident, parent, channel="control"):
            await super().usage_request(stream, ident, parent)

    async def delete_subshell_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Let go of a subshell, on both sides."""
        self._relay.delete_subshell(parent["content"].get("subshell_id", ""))
        await super().delete_subshell_request(stream, ident, parent)

    async def _answered(
        self, stream: Any, ident: Any, parent: Message, *, channel: str = "shell", also: Any = None
    ) -> bool:
        """Have the session answer; False when there is none."""
        if self._relay.opened is None:
            return False
        try:
            reply = await self._reply(self._relay.forward(channel, parent, ident))
        except SessionEnded:
            return False
        assert reply is not None
        assert self.session is not None
        content = reply["content"]
        if also is not None:
            also(content)
        kind = reply["header"]["msg_type"]
        self.session.send(stream, kind, content, parent, ident, buffers=reply["buffers"])
        return True

    async def _reply(self, answer: Future[Message | None]) -> Message | None:
        with self._hearing(self._relay.interrupt):
            return await asyncio.wrap_future(answer)

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """End the session as well."""
        with contextlib.suppress(Exception):
            await asyncio.wrap_future(self._relay.stop())
        result: dict[str, Any] = super().do_shutdown(restart)
        return result

    # --- what the session says; called on the relay's thread ------------------------------------

    def _publish(self, message: Message) -> None:
        assert self.session is not None
        kind = message["header"]["msg_type"]
        self.session.send(
            self.iopub_socket,
            kind,
            message["content"],
            message["parent_header"],
            self._topic(kind),
            buffers=message["buffers"],
            metadata=message["metadata"],
        )

    def _ask_user(self, message: Message, ident: Any, is_open: Callable[[], bool]) -> None:
        loop = self.io_loop.asyncio_loop  # type: ignore[attr-defined]
        asyncio.run_coroutine_threadsafe(self._input(message, ident, is_open), loop)

    async def _input(self, message: Message, ident: Any, is_open: Callable[[], bool]) -> None:
        """Pass a question on and bring the answer back, as `_input_request` does, without blocking."""
        assert self.session is not None
        while self.stdin_socket.poll(0):  # what was typed for an older question
            self.stdin_socket.recv_multipart()
        self.session.send(
            self.stdin_socket,
            "input_request",
            message["content"],
            message["parent_header"],
            ident=ident,
        )
        while is_open():
            if self.stdin_socket.poll(0):
                _, reply = self.session.recv(self.stdin_socket)
                if reply is not None:
                    self._relay.answer_user(message, reply["content"]["value"])
                    return
            await asyncio.sleep(LOOK)

    # --- interrupts ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _hearing(self, interrupt: Any) -> Iterator[None]:
        """Call ``interrupt`` for an interrupt that comes while this is awaited."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._away.append(interrupt)
        try:
            yield
        finally:
            self._away.remove(interrupt)

    def pre_handler_hook(self) -> None:
        """Decide about interrupts as long as a request is handled."""
        self.saved_sigint_handler = signal.signal(signal.SIGINT, self._on_interrupt)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._here:
            signal.default_int_handler(number, frame)
        elif self._away:
            self._away[-1]()
        # Else the moment before or after: an exception would cost the request its reply.


#: Gives the session's next cell a number; the lists of past cells get what is missing to it.
_COUNT = (
    "get_ipython().execution_count = {0}; "
    "[past.extend([''] * ({0} - len(past))) for past in "
    "(get_ipython().history_manager.input_hist_parsed, get_ipython().history_manager.input_hist_raw)]"
)


class MagicKernelApp(NotebookKernelApp):
    """Starts the magic kernel, with nbfn loaded."""

    kernel_class = Type(  # type: ignore[assignment]
        MagicKernel, klass="ipykernel.kernelbase.Kernel", help="The kernel's class."
    ).tag(config=True)


main = MagicKernelApp.launch_instance

if __name__ == "__main__":
    main()
