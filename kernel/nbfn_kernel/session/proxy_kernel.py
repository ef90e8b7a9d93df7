"""A kernel that forwards requests to a session on a worker.

Output and input requests of the session are forwarded to the notebook.
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

from nbfn_kernel.session import cell_routing
from nbfn_kernel.session.kernel_channels import Message, SessionEnded
from nbfn_kernel.session.local_widgets import LocalWidgets
from nbfn_kernel.session.session_manager import SessionManager
from nbfn_kernel.session.session_status import TARGET, SessionStatus

#: Seconds between checks for an input reply.
POLL_INTERVAL = 0.02
#: Debugger commands that do not start a session.
_LOCAL_DEBUG_COMMANDS = ("debugInfo",)

_concurrent: ContextVar[bool] = ContextVar("nbfn_concurrent", default=False)


class ProxyKernel(IPythonKernel):
    """Forwards all requests except cells; handles them itself while there is no session."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._manager = SessionManager(self._publish, self._ask_user)
        self._local_widgets = LocalWidgets()
        self._status = SessionStatus(self._manager, self.comm_manager)
        self._runs_locally = False  # whether a cell runs in this kernel
        self._interrupts: list[Any] = []  # functions to call at an interrupt; the last one applies
        for kind in ("comm_open", "comm_msg", "comm_close"):
            self.shell_handlers[kind] = self._comm

    async def dispatch_shell(
        self, msg: Any, /, subshell_id: str | None = None, *, concurrent: bool = False
    ) -> None:
        """Record whether a request is handled while a cell runs; see `IPythonKernel.dispatch_shell`."""
        _concurrent.set(concurrent)
        await super().dispatch_shell(msg, subshell_id, concurrent=concurrent)

    # --- requests --------------------------------------------------------------------------------

    async def complete_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Complete names of the session, or of this kernel in lines that run here."""
        assert self.session is not None
        code, cursor = parent["content"]["code"], parent["content"]["cursor_pos"]
        start = cell_routing.completion_start(code, cursor)
        content = {"code": code[start:], "cursor_pos": cursor - start}

        def finish(found: dict[str, Any]) -> None:
            add_magics(found, content["code"], content["cursor_pos"])
            shift(found, start)

        is_local = cell_routing.is_local_position(code, cursor)
        if is_local or not await self._forward(
            stream, ident, dict(parent, content=content), adjust=finish
        ):
            found = self.do_complete(content["code"], content["cursor_pos"])
            finish(found)
            self.session.send(stream, "complete_reply", found, parent, ident)

    async def inspect_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Inspect objects of the session, or of this kernel in lines that run here."""
        code, cursor = parent["content"]["code"], parent["content"]["cursor_pos"]
        is_local = cell_routing.is_local_position(code, cursor)
        if is_local or not await self._forward(stream, ident, parent):
            await super().inspect_request(stream, ident, parent)

    async def history_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Return the history of the session."""
        if not await self._forward(stream, ident, parent):
            await super().history_request(stream, ident, parent)

    async def is_complete_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Return whether code is complete, according to the session."""
        if not await self._forward(stream, ident, parent):
            await super().is_complete_request(stream, ident, parent)

    async def comm_info_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Return the comms of this kernel and of the session."""
        wanted = parent["content"].get("target_name")
        own = {
            key: {"target_name": comm.target_name}
            for key, comm in self.comm_manager.comms.items()
            if wanted in (None, comm.target_name)
        }

        def add(content: dict[str, Any]) -> None:
            content["comms"] = own | content.get("comms", {})

        if not await self._forward(stream, ident, parent, adjust=add):
            await super().comm_info_request(stream, ident, parent)

    async def _comm(self, stream: Any, ident: Any, parent: Message) -> None:
        """Handle a comm message here if the comm is this kernel's, or forward it."""
        manager: Any = self.comm_manager
        kind = parent["header"]["msg_type"]
        is_own = kind == "comm_open" and parent["content"].get("target_name") == TARGET
        is_own = is_own or parent["content"]["comm_id"] in manager.comms
        if is_own or self._manager.opened is None:
            result = getattr(manager, kind)(stream, ident, parent)
            if result is not None:
                await result
            return
        if kind == "comm_open":
            self._local_widgets.comm_opened(parent["content"])
        # ipykernel publishes no status for comm messages that it handles while a cell runs.
        publish_status = self._publish_status if _concurrent.get() else lambda *_: None
        publish_status("busy", "shell", parent)
        with contextlib.suppress(SessionEnded):
            await self._reply(self._manager.forward("shell", parent, ident))
        publish_status("idle", "shell", parent)

    async def debug_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Forward a debugger request; start a session if there is none."""
        command = parent["content"].get("command")
        if self._manager.opened is None and command not in _LOCAL_DEBUG_COMMANDS:
            with contextlib.suppress(Exception):  # the next cell reports the error
                await asyncio.wrap_future(self._manager.start())
        if not await self._forward(stream, ident, parent, channel="control"):
            await super().debug_request(stream, ident, parent)

    async def usage_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Return the resource usage of the session."""
        if not await self._forward(stream, ident, parent, channel="control"):
            await super().usage_request(stream, ident, parent)

    async def delete_subshell_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Delete a subshell here and in the session."""
        self._manager.delete_subshell(parent["content"].get("subshell_id", ""))
        await super().delete_subshell_request(stream, ident, parent)

    async def _forward(
        self,
        stream: Any,
        ident: Any,
        parent: Message,
        *,
        channel: str = "shell",
        adjust: Any = None,
    ) -> bool:
        """Forward a request and send the reply of the session.

        Args:
            stream: The socket for the reply.
            ident: The ZeroMQ identity of the client.
            parent: The request.
            channel: The channel of the session.
            adjust: Changes the content of the reply.

        Returns:
            Whether the session replied; False if there is none.
        """
        if self._manager.opened is None:
            return False
        try:
            reply = await self._reply(self._manager.forward(channel, parent, ident))
        except SessionEnded:
            return False
        assert reply is not None
        assert self.session is not None
        content = reply["content"]
        if adjust is not None:
            adjust(content)
        kind = reply["header"]["msg_type"]
        self.session.send(stream, kind, content, parent, ident, buffers=reply["buffers"])
        return True

    async def _reply(self, answer: Future[Message | None]) -> Message | None:
        with self._interruptible(self._manager.interrupt):
            return await asyncio.wrap_future(answer)

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """End the session, then this kernel."""
        with contextlib.suppress(Exception):
            await asyncio.wrap_future(self._manager.stop())
        result: dict[str, Any] = super().do_shutdown(restart)
        return result

    # --- messages of the session, on the session manager's thread ---------------------------------

    def _publish(self, message: Message) -> None:
        assert self.session is not None
        kind = message["header"]["msg_type"]
        if kind in ("comm_msg", "comm_close"):
            self._local_widgets.add_states(message)
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
        """Forward an input request to the notebook and the reply to the session, without blocking the loop."""
        assert self.session is not None
        while self.stdin_socket.poll(0):  # replies to earlier requests
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
                    self._manager.send_input(message, reply["content"]["value"])
                    return
            await asyncio.sleep(POLL_INTERVAL)

    # --- interrupts ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _interruptible(self, interrupt: Any) -> Iterator[None]:
        """Call ``interrupt`` when SIGINT arrives in this context."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._interrupts.append(interrupt)
        try:
            yield
        finally:
            self._interrupts.remove(interrupt)

    def pre_handler_hook(self) -> None:
        """Install the handler for SIGINT while a request is handled."""
        self.saved_sigint_handler = signal.signal(signal.SIGINT, self._on_interrupt)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._runs_locally:
            signal.default_int_handler(number, frame)
        elif self._interrupts:
            self._interrupts[-1]()
        # Otherwise ignored: an exception would prevent the reply to the request.


# --- completion ----------------------------------------------------------------------------------


def shift(found: dict[str, Any], cut: int) -> None:
    """Add ``cut`` to the positions of a completion."""
    for place in (found, *found.get("metadata", {}).get("_jupyter_types_experimental", [])):
        for name in ("cursor_start", "cursor_end", "start", "end"):
            if name in place:
                place[name] += cut


def _magics(*, cell: bool) -> list[str]:
    """Return the magics that run here; ``cell`` tells whether these may be magics of the whole cell."""
    lines = [f"%{name}" for name in cell_routing.LINE_MAGICS]
    return [f"%%{name}" for name in cell_routing.CELL_MAGICS] + lines if cell else lines


def add_magics(content: dict[str, Any], code: str, cursor: int) -> None:
    """Add the magics of the notebook's kernel to the completions of the session."""
    start = code.rfind("\n", 0, cursor) + 1
    typed = code[start:cursor]
    found = [name for name in _magics(cell=start == 0) if name.startswith(typed)]
    if not typed.startswith("%") or not found:
        return
    # The session's completer also completes `%%loc` to `locals`.
    magics = [name for name in content["matches"] if name.startswith("%") and name not in found]
    content["matches"], content["cursor_start"], content["cursor_end"] = (
        magics + found,
        start,
        cursor,
    )
    place = {"start": start, "end": cursor, "type": "magic", "signature": ""}
    types = [place | {"text": name} for name in content["matches"]]
    content["metadata"] = {"_jupyter_types_experimental": types}
