"""Starts, monitors and ends the session of a notebook.

The manager has a thread and an event loop of its own, so output of the session arrives while the notebook's kernel is
busy.
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
from nbfn._names import app_name_of
from nbfn.exception import InputCancellation, WorkerLost
from nbfn_kernel.session import remote_session
from nbfn_kernel.session.kernel_channels import AskUser, KernelChannels, Message, SessionEnded

T = TypeVar("T")

#: Seconds that a session has to end after a shutdown request, before its call is cancelled.
SHUTDOWN_TIMEOUT = 1.0
#: Seconds to wait for the cancelled call to end.
CANCEL_TIMEOUT = 4.0


@dataclasses.dataclass(frozen=True, slots=True)
class SessionOptions:
    """Options of a session; see the options of a Function."""

    app: str = ""
    cpu: float | None = None
    memory: int | None = None  # MiB
    gpu: str | None = None
    env: dict[str, str] | None = None


@dataclasses.dataclass(slots=True, eq=False)
class _Session:
    """A running session."""

    stream: Any  # the items of the call that holds it
    opened: remote_session.Opened
    channels: KernelChannels
    seconds: float
    ended_event: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


class SessionManager:
    """Manages the session of a notebook. All methods are thread-safe and do not block.

    Args:
        publish: Called with each message that the session publishes, on the manager's thread.
        ask_user: Called with each input request of the session, on the manager's thread.

    Attributes:
        options: The options of the next session.
        end_reason: Why the last session ended; empty if there was none, or if it was stopped by the user.
        start_error: Why the last session could not start; empty if it did, or if it was interrupted.
        on_change: Called on the manager's thread when a session is starting, has started, or has ended.
    """

    def __init__(self, publish: Callable[[Message], None], ask_user: AskUser) -> None:
        self.options = SessionOptions()
        self.end_reason = self.start_error = ""
        self.on_change: Callable[[], None] = lambda: None
        self._publish = publish
        self._ask_user = ask_user
        self._session: _Session | None = None
        self._function: Any = None  # the Function of the running or starting session
        self._starting = asyncio.Lock()
        self._watchers: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="nbfn-session", daemon=True).start()

    @property
    def opened(self) -> remote_session.Opened | None:
        """The running session, or None."""
        return self._session.opened if self._session is not None else None

    @property
    def is_starting(self) -> bool:
        """Whether a session is starting."""
        return self._session is None and self._starting.locked()

    def start(self) -> Future[float | None]:
        """Start a session unless one runs.

        Returns:
            A future of the seconds that it took, or of None if a session runs. It fails if the session cannot start.
        """
        return self._submit(self._start())

    def waiting_for(self) -> Future[str]:
        """Ask the hub what the starting session waits for; the future has an empty string if it waits for nothing."""
        return self._submit(self._waiting_for())

    def forward(self, channel: str, message: Message, ident: Any) -> Future[Message | None]:
        """Forward a request of the notebook to the session.

        Returns:
            A future of the reply, done when all output has been published; of None for messages without a reply. It
            fails with `SessionEnded` if there is no session or it ends.
        """
        answer: Future[Message | None] = Future()

        async def forward() -> None:
            try:
                await self._channels().forward(channel, message, ident, answer)
            except Exception as error:  # noqa: BLE001 - the future must be completed
                answer.set_exception(error)

        self._submit(forward())
        return answer

    def run_silently(self, code: str) -> Future[Message]:
        """Run code in the session without history and output; see `KernelChannels.request`."""
        content = {"code": code, "silent": True, "store_history": False, "allow_stdin": False}

        async def run_silently() -> Message:
            return await self._channels().request("shell", "execute_request", content)

        return self._submit(run_silently())

    def interrupt(self) -> None:
        """Interrupt the session."""

        async def interrupt() -> None:
            with contextlib.suppress(SessionEnded):
                await self._channels().interrupt()

        self._submit(interrupt())

    def send_input(self, request: Message, value: str) -> None:
        """Send the user's reply to an input request."""
        self._loop.call_soon_threadsafe(
            lambda: self._session.channels.send_input(request, value) if self._session else None
        )

    def delete_subshell(self, notebook_id: str) -> None:
        """Delete the session's counterpart of a subshell of the notebook."""

        async def delete() -> None:
            with contextlib.suppress(SessionEnded):
                await self._channels().delete_subshell(notebook_id)

        self._submit(delete())

    def restart(self) -> Future[float | None]:
        """End the session and start a new one; see `start`."""

        async def restart() -> float | None:
            await self._stop()
            return await self._start()

        return self._submit(restart())

    def stop(self) -> Future[None]:
        """End the session; the future is done when it has ended, or after a timeout."""
        return self._submit(self._stop())

    # --- on the loop -----------------------------------------------------------------------------

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _channels(self) -> KernelChannels:
        if self._session is None:
            raise SessionEnded(self.end_reason or "no session runs")
        return self._session.channels

    async def _start(self) -> float | None:
        async with self._starting:
            if self._session is not None:
                return None
            self.start_error = ""
            self.on_change()
            try:
                session = self._session = await self._open()
            except BaseException as error:
                if isinstance(error, Exception):
                    self.start_error = _reason_of(error)
                self._loop.call_soon(self.on_change)  # after the lock is released
                raise
            self.on_change()
            watcher = asyncio.create_task(self._watch(session))
            self._watchers.add(watcher)
            watcher.add_done_callback(self._watchers.discard)
            return session.seconds

    async def _open(self) -> _Session:
        started = time.monotonic()
        self._function = _function(self.options)
        variables = remote_session.shared_variables(os.environ)
        stream = self._function.remote_gen(variables, self.options.cpu)
        try:
            opened = await anext(stream)
            channels = KernelChannels(opened.connection, self._publish, self._ask_user)
            await channels.open()
        except BaseException:
            stream.close()
            raise
        return _Session(stream, opened, channels, time.monotonic() - started)

    async def _waiting_for(self) -> str:
        with contextlib.suppress(nbfn.Error, AttributeError):  # AttributeError: not registered yet
            wanted = self._function.object_id
            client = await nbfn.Client.attach.aio(start=False)
            for row in (await client.overview.aio()).functions:
                if row.id == wanted and row.waiting_for:
                    return f"waiting: {row.waiting_for}"
        return ""

    async def _watch(self, session: _Session) -> None:
        """Wait until the session ends, and record the reason."""
        try:
            ended: Any = await anext(session.stream)
            reason = str(ended)
            if ended.stderr_tail:
                reason += f"\n{ended.stderr_tail}"
        except StopAsyncIteration:
            reason = "it was stopped"
        except (Exception, InputCancellation) as error:  # noqa: BLE001 - a crash, a cancellation, or no hub
            reason = _reason_of(error)
        session.stream.close()
        session.ended_event.set()
        if self._session is session:
            self._session, self.end_reason = None, reason
            self.on_change()
        session.channels.close(reason)

    async def _stop(self) -> None:
        session, self._session, self.end_reason = self._session, None, ""
        if session is None:
            return
        self.on_change()
        with contextlib.suppress(TimeoutError, Exception):
            shutdown = {"restart": False}
            shutting_down = asyncio.ensure_future(
                session.channels.request("control", "shutdown_request", shutdown)
            )
            await asyncio.wait_for(session.ended_event.wait(), SHUTDOWN_TIMEOUT)
            shutting_down.cancel()
        if not session.ended_event.is_set():
            session.stream._call.cancel()  # not `close`, which does not wait for the worker
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(session.ended_event.wait(), CANCEL_TIMEOUT)
        session.channels.close("it was stopped")


def _function(options: SessionOptions) -> Any:
    """Create the Function whose call runs a session."""
    app = nbfn.App(options.app or _notebook())
    return app._session(
        remote_session.serve,
        cpu=options.cpu,
        memory=(options.memory, options.memory) if options.memory else None,
        gpu=options.gpu,
        env=options.env,
    )


def _reason_of(error: BaseException) -> str:
    """Return why the call of a session ended, for messages."""
    text = str(error) or type(error).__name__
    if isinstance(error, WorkerLost) and (how := re.search(r"\((.*)\)", text)) is not None:
        return f"its worker was lost: {how[1]}"
    return text


def _notebook() -> str:
    """Return the file name of the notebook without its suffix, which is also the App of its ``%%remote`` cells."""
    return app_name_of(os.environ.get("JPY_SESSION_NAME", "")) or "notebook"
