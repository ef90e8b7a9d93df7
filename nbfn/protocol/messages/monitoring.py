"""A client looks at the hub, reads its logs, and has it end workers or itself."""

from __future__ import annotations

from msgspec import Struct

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
    failed: int = (
        0  # inputs, since the hub began; so are cold starts, workers that inputs waited for
    )
    cold_starts: int = 0
    last_call: float | None = None  # seconds since the newest call began
    schedule: str = ""  # when the hub calls it by itself, for people
    has_workers: bool = True  # False: a class whose objects differ; it is they that have workers
    threads: int = 1  # that numeric libraries use in a worker ...
    threads_why: str = ""  # ... and why


class CallRow(Struct, frozen=True, gc=False):
    """One call in an `Overview`."""

    id: str
    function: str
    app: str
    kind: str
    status: str  # running, success, failure, terminated
    total: int | None
    done: int
    failed: int
    running: int
    age: float  # seconds that it took, or takes
    origin: str = ""  # the notebook or script that made it, directly or by what it called
    since: float = 0.0  # seconds since it began


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


class HubRow(Struct, frozen=True, gc=False):
    """The hub itself in an `Overview`."""

    pid: int
    version: str
    epoch: int
    uptime: float
    home: str
    cpus: float


class GetOverview(Message):
    """Ask for all that a sidebar shows."""

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
    """Tell me (`Changed`) when the overview changes."""


class Changed(Message):
    """The overview changed; ask again if you show it."""

    revision: int


class LogLine(Data):
    """One line that was written."""

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
    """Ask for kept lines, the oldest first, from number ``after`` on; with ``tail`` only the last ones.

    What is empty or 0 asks for nothing. ``wait``: seconds the answer may take while there is no line.
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
    """Answer to `GetLogs`. ``last``: to go on from; ``ended``: nothing more will come; ``more``: ask again."""

    request: int
    lines: tuple[LogLine, ...]
    last: int
    ended: bool = False
    more: bool = False


class StopWorker(Message):
    """End a worker; its inputs run elsewhere. Not ``graceful``: at once."""

    request: Token
    worker: Id
    graceful: bool = False


class Attach(Message):
    """Have a worker open a Jupyter console; `Attached`."""

    request: Token
    worker: Id


class Attached(Message):
    """Answer to `Attach`: the connection file of the console."""

    request: int
    connection_file: str


class StopHub(Message):
    """Drain and end the hub."""

    request: Token
