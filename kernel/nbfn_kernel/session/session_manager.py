"""Starts, watches and ends the session of a notebook.

It has a thread and an event loop of its own, so that the session's output arrives whatever the notebook's kernel does.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import nbfn
from nbfn._names import of_file
from nbfn.exception import InputCancellation, WorkerLost
from nbfn_kernel.session import remote_session
from nbfn_kernel.session.kernel_channels import AskUser, KernelChannels, Message, SessionEnded

T = TypeVar("T")

#: Seconds a call may last, which for a session is as good as for ever.
FOR_EVER = 10 * 365 * 86400.0
#: Seconds a session has to end when it is asked to, before its worker ends it.
GRACE = 1.0
#: Seconds its worker has for that.
PATIENCE = 4.0


@dataclasses.dataclass(frozen=True, slots=True)
class SessionOptions:
    """Options of a session; each is an option of a Function."""

    app: str = ""
    cpu: float | None = None
    memory: int | None = None  # MiB
    gpu: str | None = None
    env: dict[str, str] | None = None


@dataclasses.dataclass(slots=True, eq=False)
class _Session:
    """A session that runs."""

    stream: Any  # of the call that holds it
    opened: remote_session.Opened
    channels: KernelChannels
    took: float
    over: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


class SessionManager:
    """Manages the session of a notebook. Methods may be called from any thread, and do not block.

    Args:
        publish: Takes what the session publishes; called on the manager's thread.
        ask_user: Takes a question of the session to the user; likewise.

    Attributes:
        options: For the next session.
        lost: Why the last session ended; empty when there was none, or it was meant to.
    """

    def __init__(self, publish: Callable[[Message], None], ask_user: AskUser) -> None:
        self.options = SessionOptions()
        self.lost = ""
        self._publish = publish
        self._ask_user = ask_user
        self._live: _Session | None = None
        self._function: Any = None  # of the session that runs or is being started
        self._starting = asyncio.Lock()
        self._watching: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="nbfn-session", daemon=True).start()

    @property
    def opened(self) -> remote_session.Opened | None:
        """The session that runs, if there is one."""
        return self._live.opened if self._live is not None else None

    def start(self) -> Future[float | None]:
        """Start the session unless it runs.

        Returns:
            Seconds that took, or None when it ran. Fails with the error that kept it from starting.
        """
        return self._soon(self._start())

    def waits_for(self) -> Future[str]:
        """Ask the hub what a session that is being started waits for; empty when it waits for nothing."""
        return self._soon(self._waits_for())

    def forward(self, channel: str, message: Message, ident: Any) -> Future[Message | None]:
        """Have a request of the notebook's answered by the session.

        Returns:
            The reply, once all its output has been published; None for messages that have none. Fails with
            `SessionEnded`.
        """
        answer: Future[Message | None] = Future()

        async def forward() -> None:
            try:
                await self._channels().forward(channel, message, ident, answer)
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer has to come
                answer.set_exception(error)

        self._soon(forward())
        return answer

    def ask(self, code: str) -> Future[Message]:
        """Run a line of our own in the session, silently; see `KernelChannels.ask`."""
        content = {"code": code, "silent": True, "store_history": False, "allow_stdin": False}

        async def ask() -> Message:
            return await self._channels().ask("shell", "execute_request", content)

        return self._soon(ask())

    def interrupt(self) -> None:
        """Interrupt what the session runs."""

        async def interrupt() -> None:
            with contextlib.suppress(SessionEnded):
                await self._channels().interrupt()

        self._soon(interrupt())

    def answer_user(self, request: Message, value: str) -> None:
        """Send what the user typed."""
        self._loop.call_soon_threadsafe(
            lambda: self._live.channels.answer_user(request, value) if self._live else None
        )

    def delete_subshell(self, mine: str) -> None:
        """Let go of what stands for one of the notebook's subshells."""

        async def delete() -> None:
            with contextlib.suppress(SessionEnded):
                await self._channels().delete_subshell(mine)

        self._soon(delete())

    def stop(self) -> Future[None]:
        """End the session; done when it is gone, or has had the time for it."""
        return self._soon(self._stop())

    # --- on the loop -----------------------------------------------------------------------------

    def _soon(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _channels(self) -> KernelChannels:
        if self._live is None:
            raise SessionEnded(self.lost or "no session runs")
        return self._live.channels

    async def _start(self) -> float | None:
        async with self._starting:
            if self._live is not None:
                return None
            began = time.monotonic()
            self._function = _function(self.options)
            notebook = os.environ.get("JPY_SESSION_NAME", "")
            stream = self._function.remote_gen(notebook, self.options.cpu)
            try:
                opened = await anext(stream)
                channels = KernelChannels(opened.connection, self._publish, self._ask_user)
                await channels.open()
            except BaseException:
                stream.close()
                raise
            took = time.monotonic() - began
            self._live = _Session(stream, opened, channels, took)
            watching = asyncio.create_task(self._watch(self._live))
            self._watching.add(watching)
            watching.add_done_callback(self._watching.discard)
            return took

    async def _waits_for(self) -> str:
        with contextlib.suppress(nbfn.Error, AttributeError):  # the latter: not registered yet
            wanted = self._function.object_id
            client = await nbfn.Client.attach.aio(start=False)
            for row in (await client.overview.aio()).functions:
                if row.id == wanted and row.waiting_for:
                    return f"waiting: {row.waiting_for}"
        return ""

    async def _watch(self, live: _Session) -> None:
        """Wait for the session's end, and say why."""
        try:
            ended: Any = await anext(live.stream)
            reason = str(ended)
            if ended.last_words:
                reason += f"\n{ended.last_words}"
        except StopAsyncIteration:
            reason = "it was ended"
        except (Exception, InputCancellation) as error:  # noqa: BLE001 - a crash, a cancel, no hub
            reason = _why(error)
        live.stream.close()
        live.over.set()
        if self._live is live:
            self._live, self.lost = None, reason
        live.channels.close(reason)

    async def _stop(self) -> None:
        live, self._live, self.lost = self._live, None, ""
        if live is None:
            return
        with contextlib.suppress(TimeoutError, Exception):
            shutdown = {"restart": False}
            asking = asyncio.ensure_future(
                live.channels.ask("control", "shutdown_request", shutdown)
            )
            await asyncio.wait_for(live.over.wait(), GRACE)
            asking.cancel()
        if not live.over.is_set():
            live.stream._call.cancel()  # not `close`, which would not wait for the worker's word
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(live.over.wait(), PATIENCE)
        live.channels.close("it was ended")


def _function(options: SessionOptions) -> Any:
    """Return the Function whose call holds a session."""
    app = nbfn.App(options.app or _notebook())
    function: Any = app.function(
        name="session",
        cpu=options.cpu,
        memory=(options.memory, options.memory) if options.memory else None,
        gpu=options.gpu,
        env=options.env,
        single_use_containers=True,
        at_most_once=True,
    )(remote_session.serve)
    function._options = dataclasses.replace(function._options, timeout=FOR_EVER)
    return function


def _why(error: BaseException) -> str:
    """Return why the call that held a session ended, in a sentence about sessions."""
    text = str(error) or type(error).__name__
    if isinstance(error, WorkerLost) and (how := re.search(r"\((.*)\)", text)) is not None:
        return f"its worker is gone: {how[1]}"
    return text


def _notebook() -> str:
    """Return the notebook's file name without its suffix, as the App of its ``%%remote`` cells has it."""
    return of_file(os.environ.get("JPY_SESSION_NAME", "")) or "notebook"
