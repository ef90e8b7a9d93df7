"""The one table of messages: who says what to whom.

Rules: a message is frozen and made of plain data; user bytes are opaque `Payload`s that the hub
never opens; an input is named by (call, index) between client and hub and by its *lease* (one
number per grant, never used again) between hub and worker, so a late word about an older grant
names nothing. Fields are only ever added at the end, with a default, so that the two hellos and
`Refused` can be read across versions of the protocol.
"""

from __future__ import annotations

import secrets
import string
from typing import Any

from msgspec import Struct

#: Raised by one whenever two versions could not understand each other.
PROTOCOL = 2

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
#: Characters after the prefix of an id: 22 base62 characters hold 131 bits.
ID_LENGTH = 22


def new_id(prefix: str) -> str:
    """Return a fresh random id, for example ``fc-`` and 22 base62 characters."""
    return f"{prefix}-{base62(secrets.randbits(130))}"


def base62(number: int) -> str:
    """Return a number as 22 base62 characters (modulo 62**22)."""
    digits = []
    for _ in range(ID_LENGTH):
        number, rest = divmod(number, 62)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))


def input_id(call: str, index: int) -> str:
    """Return the public id of input ``index`` of a call; the same every time, so none is stored."""
    number = 0
    for character in call[3:]:
        number = number * 62 + _ALPHABET.index(character)
    return f"in-{base62(number + index + 1)}"


# --- data that messages carry -------------------------------------------------------------------


class Data(Struct, frozen=True, array_like=True, gc=False):
    """Base of the parts of a message: sent as arrays, never tracked by the cycle collector."""


class Segment(Data):
    """A file of bytes beside the wire: ``place`` is "shm" (gone with its call) or "blob" (kept
    by the store).
    """

    place: str
    name: str
    size: int


class Payload(Data):
    """One pickled value, opaque to the hub.

    ``data`` is the pickle stream, unless ``spilled``: then the first segment holds the stream.
    Further segments are its out-of-band buffers, in order.
    """

    data: bytes
    segments: tuple[Segment, ...] = ()
    spilled: bool = False


class Environment(Data):
    """Where code must run so that its pickles and imports fit."""

    executable: str
    sys_path: tuple[str, ...]
    cwd: str
    python: str  # "3.11"
    cloudpickle: str


class RetryPolicy(Data):
    """Modal's ``Retries`` in seconds: the n-th delay is initial * coefficient**(n-1), at most
    max_delay.
    """

    max_retries: int = 0
    backoff_coefficient: float = 1.0
    initial_delay: float = 1.0
    max_delay: float = 60.0


class PoolSettings(Data):
    """How many workers a Function keeps; None in an update means "as it is", in a definition
    "the default".
    """

    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: float | None = None


class Resources(Data):
    """What a worker of a Function needs; None and 0 ask for nothing. Memory is in bytes, processors in cores."""

    cpu: float | None = None
    cpu_limit: float | None = None
    memory: int | None = None
    memory_limit: int | None = None  # a worker that holds more is ended
    gpu: str | None = None  # the kind; "any" for whatever there is
    gpus: int | None = None  # how many


class Concurrency(Data):
    """How many inputs (of batched Functions: batches) one worker runs at once, and how many it should on average."""

    max_inputs: int | None = None
    target_inputs: int | None = None


class Batching(Data):
    """Inputs that are gathered and run as one; a batch that is not full leaves after ``wait`` seconds."""

    max_batch_size: int | None = None
    wait: float | None = None


class Schedule(Data):
    """When the hub calls a Function by itself: a cron line, or a period counted from the deploy.

    ``payload`` is the pickle of no arguments, which the hub cannot make.
    """

    payload: Payload
    cron: str = ""
    timezone: str = "UTC"
    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hours: int = 0
    minutes: int = 0
    seconds: float = 0.0


class Endpoint(Data):
    """How a Function or method answers HTTP."""

    kind: str  # fastapi, asgi, wsgi, server
    method: str = "GET"
    label: str = ""
    docs: bool = False
    requires_proxy_auth: bool = False
    port: int = 0  # of a server that the function starts itself
    startup_timeout: float = 5.0


class Method(Data):
    """One method of a class, as callers need to know it."""

    name: str
    is_generator: bool = False
    is_async: bool = False
    batching: Batching = Batching()
    endpoint: Endpoint | None = None
    signature: str = ""
    doc: str = ""


class Parameter(Data):
    """One `nbfn.parameter` of a class. ``default`` is its MessagePack, None where one must be given."""

    name: str
    type: str  # str, int, bytes, bool
    default: bytes | None = None


class Secret(Data):
    """Environment variables of a Function: at hand (``values``), or stored under ``name`` in an environment."""

    name: str = ""
    environment_name: str = ""  # empty: that of the App
    required_keys: tuple[str, ...] = ()
    values: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, {sorted(self.values)})"


class Definition(Data):
    """One version of a Function: what it is called, what a worker must load, how it must be run.

    A class is a Function of kind "cls": its workers hold one object, and a call names one of ``methods``.
    """

    name: str
    payload: Payload
    digest: str  # same digest, same version
    environment: Environment
    is_generator: bool = False
    is_async: bool = False
    timeout: float = 300.0
    retries: RetryPolicy = RetryPolicy()
    pool: PoolSettings = PoolSettings()
    signature: str = ""
    doc: str = ""
    source: str = ""
    filename: str = ""
    kind: str = "function"  # function, cls
    methods: tuple[Method, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    arguments: Payload | None = None  # of the class's constructor: a variant has them
    resources: Resources = Resources()
    concurrency: Concurrency = Concurrency()
    batching: Batching = Batching()
    env: dict[str, str] = {}
    secrets: tuple[Secret, ...] = ()  # the later wins over the earlier, ``env`` over all of them
    single_use: bool = False  # a fresh worker for each input
    at_most_once: bool = False  # an input that began never runs again
    startup_timeout: float | None = None  # seconds to load, enter hooks included
    schedule: Schedule | None = None
    endpoint: Endpoint | None = None
    module: str = ""
    takes_arguments: bool = False  # of a class: only its variants, which have them, get workers
    exit_hooks: bool = False  # of a class: its workers need time to end
    helpers: dict[str, str] = {}  # texts of the other cells that its code is written in, by name
    owner: str = ""  # the notebook that it was registered from, as a path; else empty
    made: float = 0.0  # when, in seconds since 1970

    def __repr__(self) -> str:  # its variables' values are nobody's business
        return f"<Definition {self.name!r} {self.digest[:8]}>"


class Variant(Data):
    """What sets a variant of a Function apart, with a pool of its own; None is "as the Function has it".

    Laid over a `Definition` by `nbfn.variant.applied`.
    """

    timeout: float | None = None
    retries: RetryPolicy | None = None
    pool: PoolSettings | None = None
    resources: Resources | None = None
    concurrency: Concurrency | None = None
    batching: Batching | None = None
    env: dict[str, str] | None = None
    secrets: tuple[Secret, ...] | None = None
    arguments: Payload | None = None

    def __repr__(self) -> str:  # as a definition's
        given = (name for name in self.__struct_fields__ if getattr(self, name) is not None)
        return f"<Variant {', '.join(given)}>"


class FunctionInfo(Data):
    """What a client learns of a registered Function."""

    id: str
    app_id: str
    app: str
    name: str
    version: int
    deployed: bool
    is_generator: bool
    is_async: bool
    signature: str
    doc: str
    environment: Environment
    timeout: float
    pool: PoolSettings
    created: bool = True  # False: the same bytes were registered before, nothing changed
    kind: str = "function"
    methods: tuple[Method, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    endpoint: Endpoint | None = None
    batching: Batching = Batching()
    environment_name: str = ""
    web_url: str = (
        ""  # where its endpoint answers; of a class: what methods' labels are appended to
    )
    takes_arguments: bool = False
    method: str = ""  # which one a caller's handle is bound to; the hub leaves it empty
    deployment: int = 0  # of the App, that the lookup asked for
    owner: str = ""  # the notebook that this version came from, as a path
    made: float = 0.0  # when, in seconds since 1970


class NewInput(Data):
    """One set of arguments, on its way in."""

    index: int
    payload: Payload


class Fault(Data):
    """A failure that the hub itself has to tell: a code of `nbfn.exception`, a sentence,
    attributes.
    """

    code: str
    message: str
    details: dict[str, Any] = {}


class Output(Data):
    """The one outcome of an input. ``payload`` is the value or the exception; ``fault`` stands
    in when no worker could make one.
    """

    index: int
    status: int
    payload: Payload | None = None
    fault: Fault | None = None
    duration: float = 0.0
    worker: str = ""
    attempt: int = 1


class LeasedInput(Data):
    """One input, granted to one worker under one lease number."""

    lease: int
    call: str
    index: int
    attempt: int
    payload: Payload
    durable: bool = False  # its result goes to disk: it must outlive processes
    method: str = ""  # of a class
    batch: int = (
        0  # the lease of the first one of its batch: neighbours with the same are run as one
    )
    unattended: bool = False  # nobody waits for it: what it raises is printed, for the logs


class Result(Data):
    """What a worker says of a leased input that ended."""

    lease: int
    status: int
    payload: Payload | None
    duration: float


# --- messages -----------------------------------------------------------------------------------


class Message(Struct, frozen=True, array_like=True, gc=False, tag=True):
    """Base of everything that is sent; the class name is its kind on the wire."""


# Client and worker to hub, first word on every connection.


class ClientHello(Message):
    """Client to hub. ``peer`` is stable across reconnects of one process."""

    protocol: int
    peer: str
    nbfn: str
    cloudpickle: str
    python: str
    pid: int
    host: str
    environment: Environment | None = (
        None  # given by clients that will register functions: a fork server is readied for it
    )
    name: str = ""  # the notebook's or script's name, for people
    worker: str = (
        ""  # the worker that runs this client, if one does: it lends its slot while it waits
    )
    origin: str = ""  # the notebook's path or the script's name: its calls are known by it later


class WorkerHello(Message):
    """Worker to hub. ``running`` and ``holding`` are leases: at work or queued here, and
    finished but not yet confirmed.
    """

    protocol: int
    peer: str
    nbfn: str
    cloudpickle: str
    python: str
    pid: int
    host: str
    executable: str
    function: str = ""  # empty: a blank worker
    version: int = 0
    running: tuple[tuple[int, str, int, int], ...] = ()  # (lease, call, index, attempt)
    gpus: tuple[str, ...] = ()  # that were set aside for it when it was bound


class Welcome(Message):
    """Hub to peer: the connection is good. A new ``epoch`` means a new hub process."""

    protocol: int
    epoch: int
    nbfn: str
    pid: int


class Refused(Message):
    """Hub to peer: the connection is not good, and why. Nothing else will be read from it."""

    code: str
    message: str


# Client to hub.


class Register(Message):
    """Make or update a Function of an App. ``app_id`` is the client's own for an ephemeral App,
    empty for a deployed one.
    """

    request: int
    app: str
    definition: Definition
    app_id: str = ""
    environment_name: str = ""
    staged: bool = False  # only stored: a `Deploy` that names this version follows


class BindVariant(Message):
    """Make a variant of a Function, or find it: the same digest is the same variant."""

    request: int
    function: str
    variant: Variant
    digest: str
    shown: str = ""  # for people, after the Function's name: "(name='x')"


class Lookup(Message):
    """Find a deployed Function by App and name, or the version that a deployment of the App had."""

    request: int
    app: str
    name: str
    environment_name: str = ""
    deployment: int = 0


class LookupId(Message):
    """Find any Function by its id; with a version, whether it has that one still."""

    request: int
    function: str
    version: int = 0
    deployment: int = 0


class GetDefinition(Message):
    """Tell a definition of a Function: a worker runs it itself, by `Function.local`; who looks for an error, too."""

    request: int
    function: str
    version: int = 0  # the newest


class PutCall(Message):
    """Begin a call, mostly with all its inputs (``closed``). Resending it is harmless.

    A ``durable`` call is stored and answered by `Accepted` after the commit; any other lives as
    long as its client.
    """

    call: str
    function: str
    version: int
    kind: str  # remote, map, spawn, generator, web
    inputs: tuple[NewInput, ...] = ()
    closed: bool = True
    durable: bool = False
    resent: bool = False
    parent: str = ""  # the caller's call and index ("fc-...:3"), when called from inside a worker
    total: int | None = None  # inputs there will be, where the caller knows
    method: str = ""  # which one, when the Function is a class
    deployment: int = 0  # of the App: what is called from inside stays with it, too


class PutInputs(Message):
    """More inputs of an open call; ``closed`` says that these were the last."""

    call: str
    inputs: tuple[NewInput, ...]
    closed: bool = False
    resent: bool = False


class Cancel(Message):
    """Cancel a call, or some inputs of it; ``terminate`` ends the workers that run them as well."""

    request: int
    call: str
    indices: tuple[int, ...] | None = None
    terminate: bool = False


class Watch(Message):
    """Send me the outputs that this call has with an index from ``start`` to before ``end``, then
    its state (`CallInfo`), and if I ``follow`` it, all outputs to come.
    """

    request: int
    call: str
    start: int = 0
    end: int | None = None
    follow: bool = True


class GetInput(Message):
    """Tell the arguments of an input of a durable call that failed, or has no outcome yet."""

    request: int
    call: str
    index: int


class GetCallGraph(Message):
    """Ask for the whole family of a call: who called it, and whom it called."""

    request: int
    call: str


class Release(Message):
    """I need nothing more of this call: what is queued is cancelled unless the call is durable,
    outputs are no longer sent to me.
    """

    call: str


class TakeItems(Message):
    """The consumer of a generator input is ready for items up to (not including) number
    ``upto``.
    """

    call: str
    index: int
    upto: int


class FeedInput(Message):
    """One more piece of what an input reads while it runs (a web request's body, a WebSocket's
    messages), sent only as far as `FeedWanted` allows. Without ``data``, at any time: who asked is gone;
    the input is told so, or dropped if it has not begun.
    """

    call: str
    index: int
    data: bytes


class LookupEndpoint(Message):
    """Find what answers under a label; `EndpointFound`."""

    request: int
    label: str


class SetAutoscaler(Message):
    """Override a Function's pool settings; what is None stays."""

    request: int
    function: str
    settings: PoolSettings


class GetStats(Message):
    """Ask for a Function's counters."""

    request: int
    function: str


class GetOverview(Message):
    """Ask for all that a sidebar shows."""

    request: int


class WatchOverview(Message):
    """Tell me (`Changed`) when the overview changes."""


class PutSecret(Message):
    """Store environment variables under a name."""

    request: int
    name: str
    values: dict[str, str]
    environment_name: str = ""
    overwrite: bool = False

    def __repr__(self) -> str:
        return f"PutSecret({self.request}, {self.name!r}, {sorted(self.values)})"


class DeleteSecret(Message):
    """Forget what is stored under a name."""

    request: int
    name: str
    environment_name: str = ""


class ListSecrets(Message):
    """Ask which secrets an environment has."""

    request: int
    environment_name: str = ""


class StopHub(Message):
    """Drain and end the hub."""

    request: int


class Deploy(Message):
    """Make these versions (by Function name) what the App's names mean from now on.

    Unless ``partial``, what is not named leaves the App.
    """

    request: int
    app: str
    functions: dict[str, int]
    environment_name: str = ""
    strategy: str = "rolling"  # rolling, recreate
    partial: bool = False
    tag: str = ""
    by: str = ""
    commit: str = ""
    nbfn: str = ""
    tags: dict[str, str] | None = None


class Rollback(Message):
    """Deploy an App as it was at an earlier version; 0 is the one before the current, -1 the current again."""

    request: int
    app_id: str
    version: int = 0
    strategy: str = "rolling"
    by: str = ""
    nbfn: str = ""


class RunApp(Message):
    """Begin an ephemeral App that ends with `StopApp`, or with this client unless ``detached``."""

    request: int
    app_id: str
    name: str
    environment_name: str = ""
    detached: bool = False
    tags: dict[str, str] = {}


class StopApp(Message):
    """End an App: its calls are cancelled, its workers go, its name is free. At the end of its
    ``scope``, the block that it was run in, spawned calls still finish.
    """

    request: int
    app_id: str
    scope: bool = False


class FindApp(Message):
    """Find an App by its id, or a deployed one by name; made, empty, where wanted."""

    request: int
    app: str
    environment_name: str = ""
    create: bool = False


class SetTags(Message):
    """Replace an App's tags."""

    request: int
    app_id: str
    tags: dict[str, str]


class GetApps(Message):
    """Ask for all Apps of an environment, the stopped ones that are remembered included."""

    request: int
    environment_name: str = ""


class GetHistory(Message):
    """Ask for an App's deployments."""

    request: int
    app_id: str


class GetEnvironments(Message):
    """Ask for all environments."""

    request: int


class ChangeEnvironment(Message):
    """Create an environment (no ``name``), delete it (no ``new_name``) or rename it."""

    request: int
    name: str
    new_name: str


class GetLogs(Message):
    """Ask for kept lines, the oldest first, from number ``after`` on; with ``tail`` only the last ones.

    What is empty or 0 asks for nothing. ``wait``: seconds the answer may take while there is no line.
    """

    request: int
    app: str = ""  # ids
    function: str = ""
    call: str = ""
    worker: str = ""
    since: float = 0.0  # seconds since 1970
    until: float = 0.0
    sources: tuple[str, ...] = ()
    search: str = ""
    tail: int = 0
    after: int = 0
    wait: float = 0.0


class StopWorker(Message):
    """End a worker; its inputs run elsewhere. Not ``graceful``: at once."""

    request: int
    worker: str
    graceful: bool = False


class Attach(Message):
    """Have a worker open a Jupyter console; `Attached`."""

    request: int
    worker: str


# Hub to client.


class Attached(Message):
    """Answer to `Attach`: the connection file of the console."""

    request: int
    connection_file: str


class Done(Message):
    """A request was carried out and has no other answer."""

    request: int


class Failed(Message):
    """A request was refused: a code of `nbfn.exception` and a sentence."""

    request: int
    code: str
    message: str


class Registered(Message):
    """Answer to `Register`, `BindVariant`, `Lookup` and `LookupId`."""

    request: int
    info: FunctionInfo


class DefinitionTold(Message):
    """Answer to `GetDefinition`."""

    request: int
    definition: Definition


class Accepted(Message):
    """A durable call is on disk: its inputs below ``upto``, or all there will be (``closed``)."""

    call: str
    upto: int = 0
    closed: bool = True


class CallRefused(Message):
    """A `PutCall` could not be taken; it ends with this error."""

    call: str
    code: str
    message: str


class Window(Message):
    """The client may have this many inputs of the call sent and not yet consumed."""

    call: str
    size: int


class Outputs(Message):
    """Outcomes of inputs, each final."""

    call: str
    outputs: tuple[Output, ...]


class Items(Message):
    """Values that a generator input yielded, from number ``start`` on."""

    call: str
    index: int
    start: int
    payloads: tuple[Payload, ...]


class FeedWanted(Message):
    """An input reads: the client may send ``upto`` pieces (`FeedInput`) in all to this attempt."""

    call: str
    index: int
    attempt: int
    upto: int


class EndpointFound(Message):
    """Answer to `LookupEndpoint`: the Function, or the class and its ``method``."""

    request: int
    info: FunctionInfo
    method: str = ""


class Emission(Message):
    """What remote code wrote: ``channel`` is stdout, stderr (``data`` is UTF-8) or display,
    clear, update (``data`` is JSON).
    """

    call: str
    index: int
    attempt: int
    channel: str
    data: bytes
    worker: str = ""


class Progress(Message):
    """Where a call stands, at most ten times a second while it changes."""

    call: str
    queued: int
    running: int
    retrying: int
    workers: int
    starting: int
    waiting_for: str = ""
    newest: int = 0  # version of its Function, where that is another than the one it runs on


class CallInfo(Message):
    """Answer to `Watch`."""

    request: int
    call: str
    function: str
    kind: str
    num_inputs: int
    closed: bool
    name: str = ""
    ended: bool = False  # every input has its outcome
    expired: bool = False  # ... which was kept long enough and is gone


class Relative(Data):
    """One input in a call graph."""

    call: str
    index: int
    parent: str  # the caller's call and index, empty for a root
    status: int
    function: str
    module: str
    worker: str


class InputTold(Message):
    """Answer to `GetInput`: which version was called with what; without a payload when that is gone."""

    request: int
    function: str
    version: int
    method: str
    payload: Payload | None


class CallGraph(Message):
    """Answer to `GetCallGraph`: the inputs of the family, callers before those they called."""

    request: int
    inputs: tuple[Relative, ...]


class AutoscalerSet(Message):
    """Answer to `SetAutoscaler`: what is in force now."""

    request: int
    settings: PoolSettings


class Stats(Message):
    """Answer to `GetStats`."""

    request: int
    backlog: int
    workers: int
    running: int
    headroom: int


class SecretRow(Data):
    """One stored secret, without its values."""

    name: str
    environment_name: str
    created: float
    keys: tuple[str, ...]


class Secrets(Message):
    """Answer to `ListSecrets`."""

    request: int
    secrets: tuple[SecretRow, ...]


class AppRow(Data):
    """One App."""

    id: str
    name: str
    environment_name: str
    state: str  # ephemeral, ephemeral (detached), deployed, stopping, stopped
    version: int = 0  # of its deployment
    workers: int = 0
    created: float = 0.0  # seconds since 1970
    stopped: float | None = None
    tags: dict[str, str] = {}
    functions: tuple[str, ...] = ()


class DeploymentRow(Data):
    """One deployment of an App."""

    version: int
    at: float  # seconds since 1970
    client: str  # the nbfn that deployed it
    by: str
    commit: str
    tag: str
    functions: dict[str, int] = {}


class EnvironmentRow(Data):
    """One environment."""

    name: str
    created: float
    apps: int = 0


class AppFound(Message):
    """Answer to `Deploy`, `Rollback`, `RunApp` and `FindApp`; ``changed`` says whether it is another deployment."""

    request: int
    app: AppRow
    changed: bool = True


class Apps(Message):
    """Answer to `GetApps`."""

    request: int
    apps: tuple[AppRow, ...]


class History(Message):
    """Answer to `GetHistory`, the newest first."""

    request: int
    deployments: tuple[DeploymentRow, ...]


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


class Logs(Message):
    """Answer to `GetLogs`. ``last``: to go on from; ``ended``: nothing more will come; ``more``: ask again."""

    request: int
    lines: tuple[LogLine, ...]
    last: int
    ended: bool = False
    more: bool = False


class Environments(Message):
    """Answer to `GetEnvironments`."""

    request: int
    environments: tuple[EnvironmentRow, ...]


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


class Overview(Message):
    """Answer to `GetOverview`."""

    request: int
    revision: int
    hub: HubRow
    functions: tuple[FunctionRow, ...]
    calls: tuple[CallRow, ...]
    workers: tuple[WorkerRow, ...]


class Changed(Message):
    """The overview changed; ask again if you show it."""

    revision: int


# Hub to worker.


class Bind(Message):
    """Become this Function version: load it, then say `Bound`."""

    function: str
    version: int
    definition: Definition
    variables: dict[str, str] = {}  # of its secrets and its ``env``, resolved
    environment_name: str = ""

    def __repr__(self) -> str:
        return f"Bind({self.function!r}, {self.version}, {sorted(self.variables)})"


class Run(Message):
    """Run these inputs, in order. ``confirm``: results up to that sequence number are safe and
    may be forgotten.
    """

    inputs: tuple[LeasedInput, ...]
    confirm: int = 0


class Confirm(Message):
    """Results up to this sequence number are safe and may be forgotten."""

    upto: int


class CancelInput(Message):
    """Stop this input if it runs, drop it if it waits; answer with its `Result` (TERMINATED)
    either way.
    """

    lease: int


class Recall(Message):
    """Give back what you have not begun, as `Returned`."""


class ItemsTaken(Message):
    """The consumer wants items of this generator input up to number ``upto``."""

    lease: int
    upto: int


class Fed(Message):
    """One more piece of what this input reads; see `FeedInput`."""

    lease: int
    data: bytes


class Drain(Message):
    """Finish what runs, give back the rest, say `Goodbye` and exit."""


class OpenConsole(Message):
    """Open a Jupyter console; `ConsoleOpened`."""

    request: int  # the hub's number, not the client's


# Worker to hub.


class ConsoleOpened(Message):
    """Answer to `OpenConsole`: the console's connection file, or why there is none."""

    request: int
    connection_file: str
    error: str = ""


class Bound(Message):
    """The Function is loaded; inputs are welcome."""

    function: str
    version: int


class BindFailed(Message):
    """The Function could not be loaded; ``payload`` is the exception."""

    function: str
    version: int
    payload: Payload
    text: str


class Results(Message):
    """Inputs that ended. Kept by the worker, and sent again after a reconnect, until ``seq`` is
    confirmed.
    """

    seq: int
    results: tuple[Result, ...]


class Yielded(Message):
    """Values that a generator input yielded, from number ``start`` on."""

    lease: int
    start: int
    payloads: tuple[Payload, ...]


class WantFeed(Message):
    """This input reads: it takes ``upto`` pieces (`Fed`) in all."""

    lease: int
    upto: int


class Emitted(Message):
    """What user code wrote while this lease ran; see `Emission`."""

    lease: int
    channel: str
    data: bytes


class Returned(Message):
    """Leases given back, never begun."""

    leases: tuple[int, ...]


class Goodbye(Message):
    """The worker exits in good order."""


#: Who may say what to the hub; anything else from that role is refused.
FROM_CLIENT: tuple[type[Message], ...] = (
    ClientHello,
    Register,
    BindVariant,
    Lookup,
    LookupId,
    GetDefinition,
    PutCall,
    PutInputs,
    Cancel,
    Watch,
    GetCallGraph,
    GetInput,
    Release,
    TakeItems,
    FeedInput,
    LookupEndpoint,
    SetAutoscaler,
    GetStats,
    GetOverview,
    WatchOverview,
    StopHub,
    PutSecret,
    DeleteSecret,
    ListSecrets,
    Deploy,
    Rollback,
    RunApp,
    StopApp,
    FindApp,
    SetTags,
    GetApps,
    GetHistory,
    GetEnvironments,
    ChangeEnvironment,
    StopWorker,
    Attach,
    GetLogs,
)
FROM_WORKER: tuple[type[Message], ...] = (
    WorkerHello,
    ConsoleOpened,
    Bound,
    BindFailed,
    Results,
    Yielded,
    WantFeed,
    Emitted,
    Returned,
    Goodbye,
)
TO_CLIENT: tuple[type[Message], ...] = (
    Welcome,
    Refused,
    Done,
    Attached,
    Failed,
    Registered,
    DefinitionTold,
    Accepted,
    CallRefused,
    Window,
    Outputs,
    Items,
    FeedWanted,
    EndpointFound,
    Emission,
    Progress,
    CallInfo,
    CallGraph,
    InputTold,
    AutoscalerSet,
    Stats,
    Overview,
    Changed,
    Secrets,
    AppFound,
    Apps,
    History,
    Environments,
    Logs,
)
TO_WORKER: tuple[type[Message], ...] = (
    Welcome,
    Refused,
    Bind,
    Run,
    Confirm,
    CancelInput,
    Recall,
    ItemsTaken,
    Fed,
    Drain,
    OpenConsole,
)
