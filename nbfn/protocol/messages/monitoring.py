"""Messages with which clients observe the hub, read logs, and stop workers or the hub."""

from __future__ import annotations

from msgspec import Struct

from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages.base import Data, Message
from nbfn.protocol.messages.fields import Count, Id, Seconds, Token


class FunctionRow(Struct, frozen=True, gc=False):
    """One Function in an `Overview`."""

    id: str
    app: str
    name: str
    version: int
    kind: str
    deployed: bool
    state: str  # idle, busy, starting, failing
    backlog: int
    running: int
    workers: int
    starting: int
    min_containers: int
    max_containers: int
    buffer_containers: int
    scaledown_window: float
    p50: float | None = None
    waiting_for: str | None = None
    web_url: str | None = None  # of a web endpoint
    p95: float | None = None
    failed: int = 0  # failed inputs since the hub started; `cold_starts` counts workers that inputs waited for
    cold_starts: int = 0
    last_call: float | None = None  # seconds since the newest call started
    schedule: str = ""  # when the hub calls it, as text for users
    has_workers: bool = True  # False for a class with arguments: only its variants have workers
    threads: int = 1  # that numeric libraries use in a worker
    threads_why: str = ""  # the reason for that number
    app_id: str = ""
    purpose: str = "function"  # function, script (an anonymous cell), session (of a remote kernel)
    owner: str = ""  # the path of the notebook that registered it
    called: float | None = None  # when its newest call started, in seconds since 1970


class CallRow(Struct, frozen=True, gc=False):
    """One call in an `Overview`. The numbers of inputs in each state add up to ``total``."""

    id: str
    function: str
    app: str
    kind: str  # remote, map, spawn, generator, web, schedule, session
    state: str  # a `CallState`
    total: int  # inputs that are known so far
    succeeded: int
    failed: int
    cancelled: int
    running: int
    waiting: int
    not_run: int
    age: float  # seconds that it took, or has run so far
    origin: str = ""  # the notebook or script that made it, directly or through another call
    since: float = 0.0  # seconds since it started
    more: bool = False  # whether more inputs may come, so that ``total`` grows
    function_id: str = ""
    version: int = 0
    purpose: str = "function"
    started: float = 0.0  # seconds since 1970
    ended: float | None = None  # None until it has ended
    durable: bool = False  # whether it is stored
    notify: bool = False  # whether pages show a notification when it ends

    @property
    def counts(self) -> InputCounts:
        """The numbers of inputs in each state."""
        return InputCounts(*(getattr(self, name) for name in InputCounts.__struct_fields__))


class WorkerRow(Struct, frozen=True, gc=False):
    """One worker in an `Overview`."""

    id: str
    function: str | None
    app: str | None
    state: str  # starting, blank, idle, busy, draining, lost
    pid: int
    age: float
    memory: int | None = None
    app_id: str | None = None
    session: str = ""  # the id of the call of the session that it runs
    function_id: str | None = None
    host: str = ""
    joined: float = 0.0  # seconds since 1970
    gpus: tuple[str, ...] = ()


class HubRow(Struct, frozen=True, gc=False):
    """The hub itself in an `Overview`."""

    pid: int
    version: str
    epoch: int
    uptime: float
    home: str
    cpus: float
    host: str = ""
    started: float = 0.0  # seconds since 1970
    cpus_used: float = 0.0  # reserved for workers
    memory: int = 0  # in bytes; 0 if it is unknown
    memory_used: int = 0
    gpus: int = 0
    gpus_used: int = 0


class GetOverview(Message):
    """Request the state of the hub and all its Functions, calls and workers."""

    request: Token


class Overview(Message):
    """Answer to `GetOverview`."""

    request: int
    revision: int
    hub: HubRow
    functions: tuple[FunctionRow, ...]
    calls: tuple[CallRow, ...]
    workers: tuple[WorkerRow, ...]


class WatchOverview(Message):
    """Send `OverviewChanges` to this client: all rows now, and at most four times a second those that change."""


class OverviewChanges(Message):
    """What changed in the overview since the previous message; if ``complete``, all of it.

    The ages in its rows are as of ``now``, which is in seconds since 1970. ``unfinished`` counts all calls that
    have not ended, also those that the overview does not contain.
    """

    revision: int
    now: float
    hub: HubRow
    unfinished: int
    functions: tuple[FunctionRow, ...]
    calls: tuple[CallRow, ...]
    workers: tuple[WorkerRow, ...]
    gone: tuple[str, ...] = ()  # ids of rows that are not in the overview any more
    complete: bool = False


class LogLine(Data):
    """One line of the logs."""

    id: int
    at: float  # seconds since 1970
    source: str  # stdout, stderr, system
    app: str
    function: str
    call: str
    index: int
    worker: str
    message: str


class GetLogs(Message):
    """Request stored log lines after line ``after``, oldest first; with ``tail``, only the last ones.

    A filter that is empty or 0 matches every line. ``wait`` is the number of seconds that the hub may
    delay the answer while no line matches.
    """

    request: Token
    app: str = ""  # ids
    function: Id = ""
    call: Id = ""
    worker: Id = ""
    since: Seconds = 0.0  # seconds since 1970
    until: Seconds = 0.0
    sources: tuple[str, ...] = ()
    search: str = ""
    tail: Count = 0
    after: Count = 0
    wait: Seconds = 0.0


class Logs(Message):
    """Answer to `GetLogs`.

    ``last`` is the line number to continue from (``after`` of the next request). ``ended`` means that no
    more lines will follow, ``more`` that further lines are available now.
    """

    request: int
    lines: tuple[LogLine, ...]
    last: int
    ended: bool = False
    more: bool = False


class StopWorker(Message):
    """End a worker, immediately unless ``graceful``; its inputs are redelivered to other workers.

    A worker with a session is refused without ``end_session``.
    """

    request: Token
    worker: Id
    graceful: bool = False
    end_session: bool = False


class Attach(Message):
    """Make a worker open a Jupyter console; the answer is `Attached`."""

    request: Token
    worker: Id


class Attached(Message):
    """Answer to `Attach`: the connection file of the console."""

    request: int
    connection_file: str


class StopHub(Message):
    """Drain the hub and stop it. It is refused without ``end_session`` while notebooks have sessions."""

    request: Token
    end_session: bool = False
