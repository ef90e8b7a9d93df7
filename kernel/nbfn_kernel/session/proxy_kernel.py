"""A kernel that forwards requests unchanged to a session on a worker.

What the session publishes, and its requests for input, are forwarded to the notebook.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from types import FrameType
from typing import Any

from ipykernel.ipkernel import IPythonKernel

from nbfn_kernel.session import cell_routing, completion
from nbfn_kernel.session.kernel_channels import Message, SessionEnded
from nbfn_kernel.session.session_manager import SessionManager

#: Seconds between looks whether the user has typed.
LOOK = 0.02
#: Debugger requests that may be answered here while there is no session.
_ABOUT_DEBUGGER = ("debugInfo",)

_concurrent: ContextVar[bool] = ContextVar("nbfn_concurrent", default=False)


class ProxyKernel(IPythonKernel):
    """Passes on all but cells; while there is no session it answers by itself."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._manager = SessionManager(self._publish, self._ask_user)
        self._here = False  # a cell runs here
        self._away: list[Any] = []  # who to tell of an interrupt, innermost last
        for kind in ("comm_open", "comm_msg", "comm_close"):
            self.shell_handlers[kind] = self._comm

    async def dispatch_shell(
        self, msg: Any, /, subshell_id: str | None = None, *, concurrent: bool = False
    ) -> None:
        """Remember how a request came in."""
        _concurrent.set(concurrent)
        await super().dispatch_shell(msg, subshell_id, concurrent=concurrent)

    # --- requests ---------------------------------------------------------------------------------

    async def complete_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Complete what the session knows; in lines that run here, what is known here."""
        assert self.session is not None
        code, cursor = parent["content"]["code"], parent["content"]["cursor_pos"]
        cut = cell_routing.names_from(code, cursor)
        content = {"code": code[cut:], "cursor_pos": cursor - cut}

        def finish(found: dict[str, Any]) -> None:
            completion.add_magics(found, content["code"], content["cursor_pos"])
            completion.shift(found, cut)

        here = cell_routing.is_about_here(code, cursor)
        if here or not await self._answered(
            stream, ident, dict(parent, content=content), also=finish
        ):
            found = self.do_complete(content["code"], content["cursor_pos"])
            finish(found)
            self.session.send(stream, "complete_reply", found, parent, ident)

    async def inspect_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Inspect what the session knows."""
        code, cursor = parent["content"]["code"], parent["content"]["cursor_pos"]
        here = cell_routing.is_about_here(code, cursor)
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
        if parent["content"]["comm_id"] in manager.comms or self._manager.opened is None:
            result = getattr(manager, kind)(stream, ident, parent)
            if result is not None:
                await result
            return
        # While a cell waits for the session, ipykernel lets widgets' messages pass and says nothing of it.
        speak = self._publish_status if _concurrent.get() else lambda *_: None
        speak("busy", "shell", parent)
        with contextlib.suppress(SessionEnded):
            await self._reply(self._manager.forward("shell", parent, ident))
        speak("idle", "shell", parent)

    async def debug_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Debug the session."""
        command = parent["content"].get("command")
        if self._manager.opened is None and command not in _ABOUT_DEBUGGER:
            with contextlib.suppress(Exception):  # the next cell will tell
                await asyncio.wrap_future(self._manager.start())
        if not await self._answered(stream, ident, parent, channel="control"):
            await super().debug_request(stream, ident, parent)

    async def usage_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Tell what the session takes of its machine."""
        if not await self._answered(stream, ident, parent, channel="control"):
            await super().usage_request(stream, ident, parent)

    async def delete_subshell_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Let go of a subshell, on both sides."""
        self._manager.delete_subshell(parent["content"].get("subshell_id", ""))
        await super().delete_subshell_request(stream, ident, parent)

    async def _answered(
        self, stream: Any, ident: Any, parent: Message, *, channel: str = "shell", also: Any = None
    ) -> bool:
        """Have the session answer; False when there is none."""
        if self._manager.opened is None:
            return False
        try:
            reply = await self._reply(self._manager.forward(channel, parent, ident))
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
        with self._hearing(self._manager.interrupt):
            return await asyncio.wrap_future(answer)

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """End the session as well."""
        with contextlib.suppress(Exception):
            await asyncio.wrap_future(self._manager.stop())
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
                    self._manager.answer_user(message, reply["content"]["value"])
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
