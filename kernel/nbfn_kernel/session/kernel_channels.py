"""Forwards requests over the Jupyter channels of a session, and receives its replies and output.

A forwarded request keeps its header, so messages of the session have the right parent header however late they arrive,
and output appears below the right cell. Everything here runs on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient

#: A Jupyter message, as a dict of `jupyter_client`.
Message = dict[str, Any]

#: Forwards an input request to the user; see `KernelChannels`.
AskUser = Callable[[Message, Any, Callable[[], bool]], None]

#: Requests without a reply; they are complete when the session is idle again.
WITHOUT_REPLY = ("comm_open", "comm_msg", "comm_close")
#: Messages that the notebook's kernel sends itself, so those of the session are not forwarded.
NOT_FORWARDED = ("status", "execute_input", "iopub_welcome", "shutdown_reply")

logger = logging.getLogger("nbfn.client")


class SessionEnded(Exception):
    """The session has ended; the message has the reason."""


@dataclass(slots=True, eq=False)
class _Pending:
    """A request that is not complete."""

    message: Message
    ident: Any
    reply_future: Future[Message | None]
    internal: bool = False  # made by nbfn: its output is collected, not published
    reply: Message | None = None
    outputs: list[Message] = field(default_factory=list)
    idle: bool = False

    def settle(self) -> None:
        """Complete the request if both the reply and the last output have arrived."""
        replied = self.reply is not None or self.message["header"]["msg_type"] in WITHOUT_REPLY
        if self.idle and replied and not self.reply_future.done():
            if self.internal and self.reply is not None:
                self.reply["outputs"] = self.outputs
            self.reply_future.set_result(self.reply)


class KernelChannels:
    """Exchanges Jupyter messages with one session.

    Args:
        connection: The connection info of the session's kernel.
        publish: Called with each message that the session publishes.
        ask_user: Called with (message, ident of the client that made the request, function that returns whether the
            request still runs) when the session requests input.
    """

    def __init__(
        self,
        connection: dict[str, Any],
        publish: Callable[[Message], None],
        ask_user: AskUser,
    ) -> None:
        self._client = AsyncKernelClient()
        info: Any = connection | {"key": connection["key"].encode()}
        self._client.load_connection_info(info)
        self._publish = publish
        self._ask_user = ask_user
        self._pending: dict[str, _Pending] = {}
        self._subscribed = asyncio.Event()  # set by the first iopub message
        self._tasks: list[asyncio.Task[None]] = []
        self._session_subshells: dict[
            str, asyncio.Future[str]
        ] = {}  # ids of the session's subshells, by those of the notebook
        self._notebook_subshells: dict[str, str] = {}  # the inverse
        self._last_ident: Any = None
        self._closed = False

    async def open(self) -> None:
        """Connect, and wait until the iopub subscription is active, so that no output is lost."""
        client = self._client
        client.start_channels(hb=False)
        for channel, handler in (
            (client.shell_channel, self._on_reply),
            (client.control_channel, self._on_reply),
            (client.iopub_channel, self._on_iopub),
            (client.stdin_channel, self._on_stdin),
        ):
            self._tasks.append(asyncio.create_task(self._listen(channel, handler)))
        while not self._subscribed.is_set():
            await self.request("control", "kernel_info_request", {})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._subscribed.wait(), 0.1)

    def close(self, reason: str) -> None:
        """Disconnect; pending requests fail with `SessionEnded` and the reason."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._client.stop_channels()
        for pending in list(self._pending.values()):
            if not pending.reply_future.done():
                pending.reply_future.set_exception(SessionEnded(reason))
        self._pending.clear()

    async def forward(
        self, channel: str, message: Message, ident: Any, reply_future: Future[Message | None]
    ) -> None:
        """Forward a request of the notebook.

        Args:
            channel: "shell" or "control".
            message: The request.
            ident: The ZeroMQ identity of the client that made it.
            reply_future: Gets the reply when all output of the request has been published.
        """
        header = dict(message["header"])
        if notebook_id := header.get("subshell_id"):
            header["subshell_id"] = await self._session_subshell(notebook_id)
        self._last_ident = ident
        self._send(channel, dict(message, header=header), _Pending(message, ident, reply_future))

    async def request(self, channel: str, kind: str, content: dict[str, Any]) -> Message:
        """Send a request and return the reply, with the published messages added as "outputs"."""
        reply_future: Future[Message | None] = Future()
        message = self._client.session.msg(kind, content)
        wait = asyncio.wrap_future(reply_future)
        # Before the subscription is active, no idle status can arrive.
        idle = not self._subscribed.is_set()
        self._send(
            channel, message, _Pending(message, None, reply_future, internal=True, idle=idle)
        )
        reply = await wait
        assert reply is not None
        return reply

    async def interrupt(self) -> None:
        """Interrupt the session."""
        await self.request("control", "interrupt_request", {})
        # ipykernel cancels a cell that awaits without waking its event loop; any request wakes it.
        await self.request("shell", "kernel_info_request", {})

    def send_input(self, request: Message, value: str) -> None:
        """Send the user's reply to an input request."""
        session = self._client.session
        self._client.stdin_channel.send(session.msg("input_reply", {"value": value}, request))

    async def _session_subshell(self, notebook_id: str) -> str:
        if notebook_id not in self._session_subshells:
            created: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._session_subshells[notebook_id] = created
            reply = await self.request("control", "create_subshell_request", {})
            session_id = reply["content"]["subshell_id"]
            self._notebook_subshells[session_id] = notebook_id
            created.set_result(session_id)
        return await self._session_subshells[notebook_id]

    async def delete_subshell(self, notebook_id: str) -> None:
        """Delete the session's counterpart of a subshell of the notebook."""
        if (created := self._session_subshells.pop(notebook_id, None)) is not None:
            session_id = await created
            await self.request("control", "delete_subshell_request", {"subshell_id": session_id})

    # --- messages --------------------------------------------------------------------------------

    def _send(self, channel: str, message: Message, pending: _Pending) -> None:
        self._pending[message["header"]["msg_id"]] = pending
        pending.reply_future.add_done_callback(
            lambda _: self._pending.pop(message["header"]["msg_id"], None)
        )
        getattr(self._client, f"{channel}_channel").send(message)

    async def _listen(
        self, channel: Any, handler: Callable[[Message, _Pending | None], None]
    ) -> None:
        while True:
            try:
                message = await channel.get_msg()
                parent = message["parent_header"]
                if session_id := parent.get("subshell_id"):
                    parent["subshell_id"] = self._notebook_subshells.get(session_id, session_id)
                handler(message, self._pending.get(parent.get("msg_id", "")))
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.exception("A message of the session could not be forwarded")

    def _on_reply(self, message: Message, pending: _Pending | None) -> None:
        if pending is not None:
            pending.reply = message
            pending.settle()

    def _on_iopub(self, message: Message, pending: _Pending | None) -> None:
        self._subscribed.set()
        kind = message["header"]["msg_type"]
        if pending is not None and pending.internal:
            pending.outputs.append(message)
        elif kind not in NOT_FORWARDED and not self._is_internal(message["parent_header"]):
            self._publish(message)
        if pending is not None and kind == "status":
            pending.idle = pending.idle or message["content"]["execution_state"] == "idle"
            pending.settle()

    def _is_internal(self, parent: dict[str, Any]) -> bool:
        return bool(parent) and parent.get("session") == self._client.session.session

    def _on_stdin(self, message: Message, pending: _Pending | None) -> None:
        if pending is None:
            self._ask_user(message, self._last_ident, lambda: not self._closed)
        else:
            self._ask_user(message, pending.ident, lambda: not pending.reply_future.done())
