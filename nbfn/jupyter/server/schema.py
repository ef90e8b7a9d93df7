"""The JSON of the routes and events: a Struct for each body, query, response, row and event.

``labextension/src/model/schema.ts`` is generated from this module (`make types`). Times are in seconds since
1970 on the hub's clock; with ``now`` of the same response or event, a page computes ages without its own clock.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct
from msgspec.structs import fields

Connection = Literal["running", "absent", "unreachable"]
FunctionState = Literal["idle", "busy", "starting", "failing", "stopped"]
CallState = Literal["queued", "starting", "running", "succeeded", "failed", "cancelled", "detached"]
InputState = Literal["succeeded", "failed", "cancelled", "running", "waiting", "not run"]
WorkerState = Literal["starting", "blank", "idle", "busy", "draining", "lost"]
#: What a Function is for; sessions are those of the kernel "Python 3 (nbfn remote)", scripts are anonymous cells.
Purpose = Literal["function", "script", "session"]


#: Numbers that a page can send exactly.
Natural = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Amount = Annotated[float, Meta(ge=0, le=2**53)]


class Json(Struct, kw_only=True):
    """Base of the data that the extension sends."""


class Body(Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of the bodies and queries that the extension receives; unknown fields are refused."""


# --- rows ------------------------------------------------------------------------------------------


class HubRow(Json):
    """The hub, and how much of the machine its workers have reserved. Memory is in bytes; 0 is unknown."""

    pid: int
    version: str
    epoch: int
    started: float
    home: str
    host: str
    cpus: float
    cpus_used: float
    memory: int
    memory_used: int
    gpus: int
    gpus_used: int


class FunctionRow(Json):
    """One Function."""

    id: str
    app: str
    app_id: str
    name: str
    version: int
    kind: str  # function, generator, cls
    purpose: Purpose
    deployed: bool
    owner: str  # the path of the notebook that registered it; empty if there is none
    state: FunctionState
    backlog: int
    running: int
    workers: int
    starting: int
    min_containers: int
    max_containers: int
    buffer_containers: int
    scaledown_window: float
    p50: float | None
    p95: float | None
    waiting_for: str | None  # why its inputs wait
    web_url: str | None
    failed: int  # inputs that failed since the hub started
    cold_starts: int
    called: float | None  # when its newest call started
    schedule: str  # such as "every 10 minutes"; empty if it has none
    has_workers: bool  # False for a class with parameters, whose instances have the workers
    threads: int  # of numeric libraries in a worker
    threads_why: str


class CallRow(Json):
    """One call. The six counts of inputs add up to ``total``."""

    id: str
    function: str  # for a method, with the name of its class
    function_id: str
    app: str
    version: int
    kind: str  # remote, map, spawn, generator, web, schedule, session
    purpose: Purpose
    state: CallState
    total: int  # inputs that are known so far
    succeeded: int
    failed: int
    cancelled: int
    running: int
    waiting: int
    not_run: int
    more: bool  # whether more inputs may come, so that ``total`` grows
    origin: str  # the path of the notebook or the name of the script that made it; empty if unknown
    started: float
    ended: float | None
    durable: bool  # whether it is stored, and so can be retried and attached to
    notify: bool  # whether pages show a notification when it ends


class WorkerRow(Json):
    """One worker process."""

    id: str
    function: str | None
    function_id: str | None
    app: str | None
    app_id: str | None
    state: WorkerState
    host: str
    pid: int
    joined: float
    memory: int | None  # in bytes
    gpus: tuple[str, ...]
    session: str  # the id of the call of the session that it runs; empty if it runs none


# --- the overview and its changes --------------------------------------------------------------------


class Overview(Json):
    """The rows as of ``revision`` of ``stream``, which `OverviewChange` continues.

    ``calls`` has unfinished calls and the last ended ones; ``unfinished`` counts also those that are not shown.
    """

    stream: str
    revision: int
    now: float
    hub: HubRow
    unfinished: int
    functions: tuple[FunctionRow, ...]
    calls: tuple[CallRow, ...]
    workers: tuple[WorkerRow, ...]


class OverviewReply(Json):
    """Response of ``GET overview``.

    Without a hub, ``overview`` is the last one that the server has seen, and ``message`` says what is wrong.
    """

    connection: Connection
    message: str
    overview: Overview | None


def _patch(row: type[Struct]) -> type[Struct]:
    """Return a Struct with the id of a row and those of its fields that have changed."""
    optional = [
        (f.name, f.type) if f.name == "id" else (f.name, f.type | UnsetType, UNSET)
        for f in fields(row)
    ]
    return defstruct(row.__name__.replace("Row", "Patch"), optional, bases=(Json,), module=__name__)


FunctionPatch = _patch(FunctionRow)
CallPatch = _patch(CallRow)
WorkerPatch = _patch(WorkerRow)


class OverviewChange(Json):
    """Event: what changed between the revisions ``previous`` and ``revision``.

    It is also sent every few seconds without a change, so that a page notices when events do not arrive. A new row
    is a patch with all fields. Without a hub, ``hub`` is None and the rows keep their last values.
    """

    stream: str
    previous: int
    revision: int
    now: float
    connection: Connection
    message: str
    hub: HubRow | None
    unfinished: int
    functions: tuple[FunctionPatch, ...]  # type: ignore[valid-type]
    calls: tuple[CallPatch, ...]  # type: ignore[valid-type]
    workers: tuple[WorkerPatch, ...]  # type: ignore[valid-type]
    gone: tuple[str, ...]  # ids of rows that are no longer shown


# --- Functions ---------------------------------------------------------------------------------------


class Field(Json):
    """A field of a form for one parameter."""

    name: str
    kind: Literal["int", "float", "str", "bool", "choice", "expression"]
    role: Literal["positional", "keyword", "args", "kwargs"]
    default: str | None
    choices: tuple[str, ...]
    about: str


class MethodDetails(Json):
    """A method of a class that can be called."""

    name: str
    signature: str
    doc: str
    is_generator: bool
    fields: tuple[Field, ...]


class FunctionDetails(Json):
    """Response of ``GET functions/ID``. Memory is in bytes, times are in seconds."""

    id: str
    app: str
    name: str
    version: int
    environment_name: str
    deployed: bool
    kind: str
    is_generator: bool
    is_async: bool
    signature: str
    doc: str
    source: str
    filename: str
    owner: str
    made: float
    digest: str
    python: str
    executable: str
    timeout: float
    max_retries: int
    cpu: float | None
    memory: int | None
    gpu: str | None
    fields: tuple[Field, ...]
    methods: tuple[MethodDetails, ...]
    import_line: str
    call_line: str


class AutoscalerChange(Body, omit_defaults=True):
    """Body of ``PATCH functions/ID/autoscaler``; settings that it omits do not change."""

    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: float | None = None


class Autoscaler(Json):
    """Response of ``PATCH functions/ID/autoscaler``: all settings."""

    min_containers: int
    max_containers: int
    buffer_containers: int
    scaledown_window: float


class VersionRow(Json):
    """One version of a Function, and its first deployment."""

    version: int
    is_current: bool
    deployment: int
    deployed: float
    by: str
    commit: str
    tag: str
    nbfn: str


class Versions(Json):
    """Response of ``GET functions/ID/versions``: the versions, newest first."""

    versions: tuple[VersionRow, ...]


class RollbackRequest(Body):
    """Body of ``POST functions/ID/rollback``."""

    version: Natural


class RolledBack(Json):
    """Response of ``POST functions/ID/rollback``: the version that is current now."""

    version: int


class CallRequest(Body):
    """Body of ``POST functions/ID/call``: JSON values of the arguments by name."""

    arguments: dict[str, Any] = {}
    method: str = ""


class CallStarted(Json):
    """Response of ``POST functions/ID/call``: the id of the call, which is stored."""

    call: str


class Stopped(Json):
    """Response of ``POST functions/ID/stop``: how many calls were cancelled and workers ended."""

    calls: int
    workers: int


# --- calls -------------------------------------------------------------------------------------------


class CallsQuery(Body):
    """Query of ``GET calls``: ended and unfinished calls, newest first.

    ``since`` is in seconds since 1970, ``before`` is ``next`` of the previous page.
    """

    state: CallState | Literal[""] = ""
    since: Amount = 0.0
    search: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    before: Annotated[str, Meta(max_length=80)] = ""


class CallsPage(Json):
    """Response of ``GET calls``; ``next`` is None on the last page."""

    now: float
    calls: tuple[CallRow, ...]
    next: str | None


class ErrorGroup(Json):
    """Failures of the same type, with the same text but for numbers, at the same line."""

    count: int
    type: str
    message: str
    where: str
    indexes: tuple[int, ...]  # of the first inputs
    traceback: str


class CallDetails(Json):
    """Response of ``GET calls/ID``. ``result`` is the text of the result of a call with one input."""

    now: float
    call: CallRow
    result: str | None
    traceback: str | None
    errors: tuple[ErrorGroup, ...]
    retriable: int  # inputs that a retry would run
    waiting_for: str
    kept_until: float | None
    is_expired: bool


class CallRetried(Json):
    """Response of ``POST calls/ID/retry``: how many inputs run again."""

    inputs: int


class InputsQuery(Body):
    """Query of ``GET calls/ID/inputs``, ordered by index."""

    state: InputState | Literal[""] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    first: Natural = 0  # the first index


class InputRow(Json):
    """One input of a call; ``error`` is the last line of its traceback."""

    index: int
    state: InputState
    attempt: int
    worker: str | None
    duration: float | None
    error: str | None


class InputsPage(Json):
    """Response of ``GET calls/ID/inputs``; ``next`` is ``first`` of the next page.

    Of a call that is not stored, the hub knows the inputs that have not ended, and the last failures.
    """

    inputs: tuple[InputRow, ...]
    next: int | None


# --- workers -----------------------------------------------------------------------------------------


class Console(Json):
    """Response of ``POST workers/ID/console``: a Jupyter kernel of this server, connected to the worker."""

    kernel_id: str
    connection_file: str


# --- logs --------------------------------------------------------------------------------------------


class LogsQuery(Body):
    """Query of ``GET logs``: lines after line ``after``, or the last ``tail`` ones.

    The response is delayed by at most ``wait`` seconds while no line matches.
    """

    app: str = ""  # ids
    function: str = ""
    call: str = ""
    worker: str = ""
    since: Amount = 0.0
    until: Amount = 0.0
    sources: str = ""  # separated by commas: stdout, stderr, system
    search: Annotated[str, Meta(max_length=200)] = ""
    tail: Annotated[int, Meta(ge=0, le=10_000)] = 0
    after: Natural = 0
    wait: Annotated[float, Meta(ge=0, le=60)] = 0.0


class LogRow(Json):
    """One line of the logs."""

    id: int
    at: float
    source: str
    app: str
    function: str
    call: str
    index: int
    worker: str
    message: str


class LogsPage(Json):
    """Response of ``GET logs``. ``last`` is ``after`` of the next request; after ``ended``, no line follows."""

    lines: tuple[LogRow, ...]
    last: int
    more: bool
    ended: bool


# --- the timeline ------------------------------------------------------------------------------------


class TimelineQuery(Body):
    """Query of ``GET timeline``: spans after number ``after`` that overlap the time from ``since`` to ``until``.

    If ``columns`` is not 0 and there are more than ``most`` spans, the response has that many bins instead.
    """

    call: str = ""  # ids
    function: str = ""
    worker: str = ""
    since: float = 0.0
    until: float = 0.0
    after: int = 0
    columns: int = 0
    most: int = 0
    summary: bool = False


class TimelineLane(Json):
    """One worker; a time that is not known is 0. ``memory_peak`` is in bytes, 0 if unknown."""

    number: int
    worker: str
    host: str
    pid: int
    function: str  # its id
    name: str
    app: str
    asked: float  # when it was started
    connected: float
    bound: float  # when it began to load the Function
    loaded: float
    ended: float
    cold: bool  # whether inputs waited when it was bound
    lost: bool  # whether it did not end as it should
    how: str  # how it ended
    memory_peak: int


class TimelineCall(Json):
    """The call that spans belong to."""

    number: int
    id: str
    function: str  # its id
    name: str
    app: str
    version: int
    kind: str


class TimelineSpans(Json):
    """Attempts of inputs, as columns of the same length.

    ``inputs`` is over 1 for several quick inputs of which ``index`` is the first. ``lane`` and ``call`` are numbers
    of rows; ``outcome`` is 1 succeeded, 2 failed, 4 cancelled, 5 timed out, 6 worker lost, 7 running.
    """

    queued: tuple[float, ...]
    started: tuple[float, ...]
    seconds: tuple[float, ...]
    busy: tuple[float, ...]  # seconds of the code itself
    index: tuple[int, ...]
    inputs: tuple[int, ...]
    lane: tuple[int, ...]
    call: tuple[int, ...]
    attempt: tuple[int, ...]
    outcome: tuple[int, ...]


class TimelineBins(Json):
    """What workers did in equal parts of the time from ``start`` on, as columns of the same length."""

    start: float
    seconds: float  # of one part
    lane: tuple[int, ...]
    bin: tuple[int, ...]
    inputs: tuple[int, ...]  # that started in it
    failed: tuple[int, ...]  # attempts that ended in it and did not succeed
    busy: tuple[float, ...]
    call: tuple[int, ...]  # which was busiest


class TimelineSlowInput(Json):
    """One of the inputs that took longest."""

    call: int
    index: int
    attempt: int
    lane: int
    started: float
    seconds: float
    outcome: int


class TimelineSummary(Json):
    """Where the time of the workers went, in seconds of all workers together.

    ``running`` are the selected inputs, ``other`` further inputs of the same workers. ``waiting`` is time in which a
    loaded worker ran nothing although an input waited; ``idle`` that in which none waited.
    """

    start: float
    end: float
    workers: int
    running: float
    other: float
    starting: float
    waiting: float
    idle: float
    inputs: int  # that have started
    failed: int  # attempts
    queued: int  # inputs that wait now
    duration_p50: float
    duration_p95: float
    wait_p50: float  # from queued to started
    wait_p95: float
    slowest: tuple[TimelineSlowInput, ...]
    critical_lane: int  # the worker that ended last, 0 for none
    tail: float  # seconds in which only that worker still ran


class TimelinePage(Json):
    """Response of ``GET timeline``. ``last`` is ``after`` of the next request; ``running`` have not ended.

    ``epoch`` is the hub's: a new hub numbers its spans from 1 again.
    """

    epoch: int
    now: float
    matched: int
    last: int
    more: bool
    dropped: int  # older spans that the hub no longer has
    lanes: tuple[TimelineLane, ...]
    calls: tuple[TimelineCall, ...]
    spans: TimelineSpans
    running: TimelineSpans
    bins: TimelineBins | None
    summary: TimelineSummary | None


class FailureQuery(Body):
    """Query of ``GET timeline/failure``."""

    call: str
    index: int
    attempt: int


class Failure(Json):
    """Response of ``GET timeline/failure``: the traceback of an attempt, None if it is no longer kept."""

    traceback: str | None


# --- the hub -----------------------------------------------------------------------------------------


class LostWorker(Json):
    """A worker that ended unexpectedly."""

    id: str
    function: str
    app: str
    at: float
    reason: str


class HealthWarning(Json):
    """Something that does not work, and what to do."""

    subject: str  # the id of a Function, or "hub"
    message: str
    remedy: str


class Health(Json):
    """Response of ``GET hub/health``. Sizes are in bytes."""

    version: str
    server_version: str  # of nbfn in the Jupyter server
    pid: int
    python: str
    host: str
    home: str
    now: float
    started: float
    database_bytes: int
    logs_bytes: int
    free_bytes: int
    lost_workers: tuple[LostWorker, ...]  # the last ones, newest first
    warnings: tuple[HealthWarning, ...]


class EndRequest(Body):
    """Body of ``POST calls/ID/cancel``, ``workers/ID/drain``, ``stop``, and ``functions/ID/stop``; it may be omitted.

    What would end a session, and so lose the variables of a notebook, is refused (409) without ``end_session``.
    """

    end_session: bool = False


class ServerSettings(Body):
    """Body and response of ``PUT settings``; with an empty ``hub``, the one that the server was started with."""

    hub: str = ""
    interrupt: Literal["cancel", "detach"] = "cancel"


class Empty(Json):
    """Response of ``DELETE functions/ID``, ``POST calls/ID/cancel``, ``workers/ID/drain``, ``stop``, ``hub/start``."""


class Problem(Json, omit_defaults=True):
    """Response of a request that failed; ``field`` is the field of the form that is wrong."""

    message: str
    field: str | None = None


#: All Structs that the page knows.
EXPORTED: tuple[type[Struct], ...] = (
    *(OverviewReply, OverviewChange, Problem),
    *(FunctionDetails, AutoscalerChange, Autoscaler, Versions, RollbackRequest, RolledBack),
    *(CallRequest, CallStarted, Stopped),
    *(CallsQuery, CallsPage, CallDetails, CallRetried, InputsQuery, InputsPage),
    *(EndRequest, Console, LogsQuery, LogsPage, Health, ServerSettings),
    *(TimelineQuery, TimelinePage, FailureQuery, Failure),
)
