"""Posts JSON to the ``callback_url`` of Functions when their calls end.

It has a thread with an event loop of its own, so that nothing of the hub waits for an address that is slow or gone. At
most `MOST_WAITING` posts wait; further ones are dropped, and logged. A post is repeated after errors that may pass. It
is not stored: what has not been delivered when the hub ends is lost.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import ssl
import threading
from collections.abc import Collection
from urllib.parse import urlsplit

from nbfn._version import __version__
from nbfn.hub.scheduler.effects import PostCallback

_log = logging.getLogger("nbfn.hub")

#: Posts that may wait or be in progress; and that are sent at the same time, in all and to one host.
MOST_WAITING, AT_ONCE, AT_ONCE_HOST = 1000, 16, 4
#: Seconds that one attempt may take, from the name lookup to the status line.
ATTEMPT_TIMEOUT = 10.0
#: Seconds before each further attempt.
RETRY_DELAYS = (1.0, 5.0, 30.0, 120.0)
#: Seconds that posts in progress have when the hub ends.
LAST_POSTS = 1.0
#: Status codes after which another attempt may succeed.
_PASSING = frozenset({408, 425, 429, *range(500, 600)})


class CallbackSender:
    """Posts callbacks in the background.

    Args:
        allowed: Host names that may be posted to; empty for every host.
        delays: Seconds before each further attempt.
        timeout: Seconds that one attempt may take.
    """

    def __init__(
        self,
        allowed: Collection[str] = (),
        *,
        delays: Collection[float] = RETRY_DELAYS,
        timeout: float = ATTEMPT_TIMEOUT,
    ) -> None:
        self._allowed = frozenset(name.lower() for name in allowed)
        self._delays = tuple(delays)
        self._timeout = timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._hosts: dict[str, asyncio.Semaphore] = {}
        self._posts: set[concurrent.futures.Future[None]] = set()
        self._dropped = 0

    @property
    def waiting(self) -> int:
        """The number of posts that wait or are in progress."""
        return len(self._posts)

    def submit(self, effect: PostCallback) -> None:
        """Post to an address, without waiting for it. Called on the hub's thread only."""
        host = (urlsplit(effect.url).hostname or "").lower()
        if self._allowed and host not in self._allowed:
            _log.warning("callback of %s: setting callback_hosts lacks %s", effect.call["id"], host)
            return
        if len(self._posts) >= MOST_WAITING:
            self._dropped += 1
            if self._dropped & (self._dropped - 1) == 0:  # 1, 2, 4, 8, …
                _log.warning("%d callbacks were dropped, since too many wait", self._dropped)
            return
        post = asyncio.run_coroutine_threadsafe(self._deliver(host, effect), self._running_loop())
        self._posts.add(post)
        post.add_done_callback(self._posts.discard)

    def close(self) -> None:
        """Wait shortly for posts in progress, and drop those that have not been delivered then."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        concurrent.futures.wait(list(self._posts), LAST_POSTS)
        if self._posts:
            _log.warning("%d callbacks were not delivered before the hub ended", len(self._posts))
        loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:
            self._thread.join(LAST_POSTS)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_serve, args=(self._loop,), name="nbfn-callbacks", daemon=True
            )
            self._thread.start()
        return self._loop

    async def _deliver(self, host: str, effect: PostCallback) -> None:
        """Post until it succeeds, fails for good, or was tried often enough."""
        call, problem = effect.call["id"], ""
        request = _request(effect)
        own = self._hosts.setdefault(host, asyncio.Semaphore(AT_ONCE_HOST))
        for delay in (0.0, *self._delays):
            await asyncio.sleep(delay)
            try:
                async with own, self._slots, asyncio.timeout(self._timeout):
                    status = await _post(effect.url, request)
            except TimeoutError:
                problem = f"no answer for {self._timeout:g} s"
            except (OSError, ValueError, EOFError) as error:
                problem = f"{type(error).__name__}: {error}"
            except Exception as error:  # noqa: BLE001 - logged; no callback may end the thread
                _log.exception("callback of %s", call)
                problem = f"{type(error).__name__}: {error}"
            else:
                if 200 <= status < 300:
                    return
                problem = f"status {status}"
                if status not in _PASSING:  # a redirect, too: it is not followed
                    break
        _log.warning("the callback of %s to %s was not delivered: %s", call, host, problem)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped; then cancel its tasks."""
    loop.run_forever()
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks))
    loop.close()


def _request(effect: PostCallback) -> bytes:
    """Return the HTTP request of a callback."""
    parts = urlsplit(effect.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    body = json.dumps(effect.call).encode()
    head = (
        f"POST {target} HTTP/1.1\r\n"
        f"Host: {parts.netloc}\r\n"
        f"User-Agent: nbfn/{__version__}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Accept: */*\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


async def _post(url: str, request: bytes) -> int:
    """Send a request; return the status of the response, whose body is not read.

    Raises:
        OSError: If there is no connection.
        ValueError: If the response is not HTTP.
        EOFError: If the connection ends without a response.
    """
    parts = urlsplit(url)
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure, limit=8192)
    try:
        writer.write(request)
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.transport.abort()
    if not line:
        raise EOFError("the connection ended without a response")
    version, _, rest = line.decode("latin-1").partition(" ")
    if not version.startswith("HTTP/") or not rest[:3].isdigit():
        raise ValueError("the response is not HTTP")
    return int(rest[:3])
