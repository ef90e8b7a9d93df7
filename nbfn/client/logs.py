"""`LogsManager`: the stored output of the inputs of an App, a Function or a call."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from nbfn.client.client import Client, attached
from nbfn.declarations.retries import is_int
from nbfn.exception import InvalidError
from nbfn.protocol import messages
from nbfn.protocol.messages import LogLine
from nbfn.runtime.stream import Stream, streaming
from nbfn.runtime.sync import blocking, run

#: Where a line comes from: the two streams, and messages of the hub about workers and schedules.
SOURCES = ("stdout", "stderr", "system")
#: Most lines of a tail, and the longest span of a query.
MOST_TAILED, LONGEST_SPAN = 20_000, timedelta(days=35)
#: Seconds that the hub waits for new lines before it answers.
PATIENCE = 1.0

#: A time, or how long ago.
When = datetime | timedelta
#: Returns the fields of `GetLogs` that select the App, Function or call.
Scope = Callable[[], Awaitable[dict[str, str]]]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line of a log, including its line end; output without one is an entry too.

    Attributes:
        message: The text.
        timestamp: When it reached the hub.
        source: stdout, stderr or system.
        object_id: The id of the Function.
        app_id: The id of its App.
        function_call_id: The id of the call, or "".
        input_id: The id of the input, or "".
        container_id: The id of the worker, or "".
    """

    message: str
    timestamp: datetime
    source: str
    object_id: str
    app_id: str
    function_call_id: str
    input_id: str
    container_id: str

    @classmethod
    def of(cls, line: LogLine) -> LogEntry:
        """Convert a line of the protocol."""
        named = messages.input_id(line.call, line.index) if line.call else ""
        moment = datetime.fromtimestamp(line.at, UTC)
        ids = (line.function, line.app, line.call, named, line.worker)
        return cls(line.message, moment, line.source, *ids)


class LogsManager:
    """The logs of one App, Function or call, also after its client has ended.

    Args:
        scope: Selects the App, Function or call.
        client: The connection to use; that of this process when not given.

    Examples:
        >>> for entry in train.logs.tail(10):  # doctest: +SKIP
        ...     print(entry.timestamp, entry.message, end="")
    """

    def __init__(self, scope: Scope, client: Client | None = None) -> None:
        self._scope = scope
        self._client = client

    @blocking
    async def fetch(
        self,
        since: When | None = None,
        until: When | None = None,
        source: str | None = None,
        search_text: str | None = None,
    ) -> list[LogEntry]:
        """Return the stored entries, the oldest first.

        Args:
            since: Only entries from then on: a time, or how long ago.
            until: Only entries until then.
            source: stdout, stderr or system; all when not given.
            search_text: Only entries that contain this.

        Returns:
            The entries.

        Raises:
            InvalidError: If there is no such source, or the span is over 35 days.
        """
        __tracebackhide__ = True
        given = _query(since=since, until=until, source=source, search=search_text)
        return await self._all(given)

    @blocking
    async def tail(self, entries: int = 100, source: str | None = None) -> list[LogEntry]:
        """Return the last entries.

        Args:
            entries: How many at most, up to 20 000.
            source: stdout, stderr or system; all when not given.

        Raises:
            InvalidError: If there is no such source, or too many are asked for.
        """
        __tracebackhide__ = True
        return await self._all(_query(tail=entries, source=source))

    @streaming
    def stream(self, timeout: float | None = None) -> Stream[LogEntry]:
        """Iterate over new output, until all inputs have ended.

        Args:
            timeout: Seconds after which the iteration ends in any case.
        """
        return _Following(self._scope, {}, timeout, self._client, from_now=True)

    async def _all(self, given: dict[str, Any]) -> list[LogEntry]:
        scope = await self._scope()
        found: list[LogEntry] = []
        after, more = 0, True
        while more:
            answer = await _ask(self._client, scope | given | {"after": after})
            found.extend(LogEntry.of(line) for line in answer.lines)
            after, more = answer.last, answer.more
            given["tail"] = 0
        return found


def kept(scope: Scope, **given: Any) -> list[LogEntry]:
    """Return the stored entries, the oldest first.

    Args:
        scope: Selects the App, Function or call.
        **given: The arguments of `LogsManager.fetch`, and ``tail``.
    """
    return run(LogsManager(scope)._all(_query(**given)))


def following(scope: Scope, timeout: float | None = None, **given: Any) -> Stream[LogEntry]:
    """Iterate over the stored entries, then over new ones.

    Args:
        scope: Selects the App, Function or call.
        timeout: Seconds after which the iteration ends in any case.
        **given: The arguments of `LogsManager.fetch`, and ``tail``.
    """
    return _Following(scope, _query(**given), timeout, None, from_now=False)


class _Following(Stream[LogEntry]):
    def __init__(
        self,
        scope: Scope,
        given: dict[str, Any],
        timeout: float | None,
        client: Client | None,
        *,
        from_now: bool,
    ) -> None:
        self._scope = scope
        self._client = client
        self._given = given
        self._until = None if timeout is None else time.monotonic() + timeout
        self._after = 0
        self._from_now = from_now
        self._over = False

    async def _more(self) -> list[LogEntry]:
        __tracebackhide__ = True
        if self._from_now:
            self._from_now = False
            # Finds no line: only the number of the newest one is returned.
            nothing = await self._scope() | {"search": "\0"}
            first = await _ask(self._client, nothing)
            self._after, self._over = first.last, first.ended
        while not self._over:
            left = (
                PATIENCE if self._until is None else min(PATIENCE, self._until - time.monotonic())
            )
            if left < 0:
                break
            asked = self._given | {"after": self._after, "wait": left}
            answer = await _ask(self._client, await self._scope() | asked)
            self._after, self._over = answer.last, answer.ended
            self._given["tail"] = 0
            if answer.lines:
                return [LogEntry.of(line) for line in answer.lines]
        raise StopAsyncIteration


async def _ask(client: Client | None, query: dict[str, Any]) -> messages.Logs:
    session = await attached(client)
    answer: messages.Logs = await session.request(lambda number: messages.GetLogs(number, **query))
    return answer


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()


def _query(
    *,
    since: When | None = None,
    until: When | None = None,
    source: str | None = None,
    search: str | None = None,
    tail: int = 0,
) -> dict[str, Any]:
    if source is not None and source not in SOURCES:
        raise InvalidError(f"source is {source!r}; it must be one of {', '.join(SOURCES)}.")
    if not is_int(tail) or not 0 <= tail <= MOST_TAILED:
        raise InvalidError(
            f"The number of entries is {tail!r}; it must be a whole number from 1 to {MOST_TAILED}."
        )
    begin, end = _moment(since), _moment(until)
    if begin is not None and (end or datetime.now(UTC)) - begin > LONGEST_SPAN:
        raise InvalidError(f"Logs can be asked for at most {LONGEST_SPAN.days} days at a time.")
    return {
        "since": _seconds(begin),
        "until": _seconds(end),
        "sources": () if source is None else (source,),
        "search": search or "",
        "tail": tail,
    }


def _moment(when: When | None) -> datetime | None:
    if not isinstance(when, datetime | timedelta | None):
        raise InvalidError(f"{when!r} is neither a datetime nor a timedelta (how long ago).")
    if isinstance(when, timedelta):
        return datetime.now(UTC) - when
    return when.astimezone(UTC) if when is not None else None
