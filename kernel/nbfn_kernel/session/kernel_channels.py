"""The Jupyter channels to a session: forwards requests unchanged, and brings replies and output back.

A request keeps its header, so the messages of the session have the right parent however late they arrive: that puts
output under the right cell. Everything here runs on one event loop.
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

#: A Jupyter message, as `jupyter_client` has it.
Message = dict[str, Any]

#: Takes a question to the user; see `KernelChannels`.
AskUser = Callable[[Message, Any, Callable[[], bool]], None]

#: Requests that have no reply: they are over when the session is idle again.
SILENT = ("comm_open", "comm_msg", "comm_close")
#: What is the notebook's kernel's own to say.
OWN = ("status", "execute_input", "iopub_welcome", "shutdown_reply")

logger = logging.getLogger("nbfn.client")


class SessionEnded(Exception):
    """The session ended; the text says why."""


@dataclass(slots=True, eq=False)
class _Pending:
    """A request that is not over."""

    message: Message
    ident: Any
    answer: Future[Message | None]
    private: bool = False  # one of our own: its outputs are collected
    reply: Message | None = None
    outputs: list[Message] = field(default_factory=list)
    idle: bool = False

    def look(self) -> None:
        """Be over if both the reply and the last output are here."""
        replied = self.reply is not None or self.message["header"]["msg_type"] in SILENT
        if self.idle and replied and not self.answer.done():
            if self.private and self.reply is not None:
                self.reply["outputs"] = self.outputs
            self.answer.set_result(self.reply)


class KernelChannels:
    """Exchanges Jupyter messages with one session.

    Args:
        connection: How to reach it.
        publish: Takes what the session publishes.
        ask_user: Takes (message, ident of who made the request, whether that still runs) when the session asks
            for input.
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
        self._heard = asyncio.Event()  # the session's first word on iopub
        self._tasks: list[asyncio.Task[None]] = []
        self._subshells: dict[str, asyncio.Future[str]] = {}  # theirs, by the notebook's
        self._subshells_here: dict[str, str] = {}  # the notebook's, by theirs
        self._last_ident: Any = None
        self._closed = False

    async def open(self) -> None:
        """Connect; returns when no output can be missed any more."""
        client = self._client
        client.start_channels(hb=False)
        for channel, take in (
            (client.shell_channel, self._replied),
            (client.control_channel, self._replied),
            (client.iopub_channel, self._published),
            (client.stdin_channel, self._asked),
        ):
            self._tasks.append(asyncio.create_task(self._listen(channel, take)))
        while not self._heard.is_set():
            await self.ask("control", "kernel_info_request", {})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), 0.1)

    def close(self, reason: str) -> None:
        """Disconnect; what was not over fails with the reason."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._client.stop_channels()
        for pending in list(self._pending.values()):
            if not pending.answer.done():
                pending.answer.set_exception(SessionEnded(reason))
        self._pending.clear()

    async def forward(
        self, channel: str, message: Message, ident: Any, answer: Future[Message | None]
    ) -> None:
        """Send a request of the notebook's; ``answer`` gets the reply when all its output is out."""
        header = dict(message["header"])
        if mine := header.get("subshell_id"):
            header["subshell_id"] = await self._subshell(mine)
        self._last_ident = ident
        self._send(channel, dict(message, header=header), _Pending(message, ident, answer))

    async def ask(self, channel: str, kind: str, content: dict[str, Any]) -> Message:
        """Send a request of our own; the reply has what it published under "outputs"."""
        answer: Future[Message | None] = Future()
        message = self._client.session.msg(kind, content)
        wait = asyncio.wrap_future(answer)
        # Before we are subscribed, no word of its being idle can come.
        idle = not self._heard.is_set()
        self._send(channel, message, _Pending(message, None, answer, private=True, idle=idle))
        reply = await wait
        assert reply is not None
        return reply

    async def interrupt(self) -> None:
        """Interrupt what the session runs."""
        await self.ask("control", "interrupt_request", {})
        # A cell that awaits is cancelled by ipykernel without waking its loop: any request does that.
        await self.ask("shell", "kernel_info_request", {})

    def answer_user(self, request: Message, value: str) -> None:
        """Send what the user typed."""
        session = self._client.session
        self._client.stdin_channel.send(session.msg("input_reply", {"value": value}, request))

    async def _subshell(self, mine: str) -> str:
        if mine not in self._subshells:
            made: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._subshells[mine] = made
            reply = await self.ask("control", "create_subshell_request", {})
            theirs = reply["content"]["subshell_id"]
            self._subshells_here[theirs] = mine
            made.set_result(theirs)
        return await self._subshells[mine]

    async def delete_subshell(self, mine: str) -> None:
        """Let go of what stands for one of the notebook's subshells."""
        if (made := self._subshells.pop(mine, None)) is not None:
            theirs = await made
            await self.ask("control", "delete_subshell_request", {"subshell_id": theirs})

    # --- the wire --------------------------------------------------------------------------------

    def _send(self, channel: str, message: Message, pending: _Pending) -> None:
        self._pending[message["header"]["msg_id"]] = pending
        pending.answer.add_done_callback(
            lambda _: self._pending.pop(message["header"]["msg_id"], None)
        )
        getattr(self._client, f"{channel}_channel").send(message)

    async def _listen(self, channel: Any, take: Callable[[Message, _Pending | None], None]) -> None:
        while True:
            try:
                message = await channel.get_msg()
                parent = message["parent_header"]
                if theirs := parent.get("subshell_id"):
                    parent["subshell_id"] = self._subshells_here.get(theirs, theirs)
                take(message, self._pending.get(parent.get("msg_id", "")))
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.exception("A message of the session could not be passed on")

    def _replied(self, message: Message, pending: _Pending | None) -> None:
        if pending is not None:
            pending.reply = message
            pending.look()

    def _published(self, message: Message, pending: _Pending | None) -> None:
        self._heard.set()
        kind = message["header"]["msg_type"]
        if pending is not None and pending.private:
            pending.outputs.append(message)
        elif kind not in OWN and not self._is_ours(message["parent_header"]):
            self._publish(message)
        if pending is not None and kind == "status":
            pending.idle = pending.idle or message["content"]["execution_state"] == "idle"
            pending.look()

    def _is_ours(self, parent: dict[str, Any]) -> bool:
        return bool(parent) and parent.get("session") == self._client.session.session

    def _asked(self, message: Message, pending: _Pending | None) -> None:
        if pending is None:
            self._ask_user(message, self._last_ident, lambda: not self._closed)
        else:
            self._ask_user(message, pending.ident, lambda: not pending.answer.done())
