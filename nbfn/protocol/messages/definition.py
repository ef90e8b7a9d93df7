"""Defines the description of a Function version that hub, workers and callers exchange."""

from __future__ import annotations

from nbfn.protocol.messages.base import Data, Payload
from nbfn.protocol.messages.fields import (
    Amount,
    CallbackUrl,
    Count,
    PathName,
    Seconds,
    Value,
    Variable,
    Workers,
)


class Environment(Data):
    """The Python environment that code requires so that its pickles can be loaded and its imports work."""

    executable: PathName
    sys_path: tuple[PathName, ...]
    cwd: PathName
    python: str  # "3.11"
    cloudpickle: str


class RetryPolicy(Data):
    """The retries of a Function. Delays are in seconds.

    The n-th delay is ``initial_delay * backoff_coefficient**(n-1)``, at most ``max_delay``.
    """

    max_retries: Workers = 0
    backoff_coefficient: Amount = 1.0
    initial_delay: Seconds = 1.0
    max_delay: Seconds = 60.0


class PoolSettings(Data):
    """The limits of a Function's worker pool; ``scaledown_window`` is in seconds.

    None means the default in a definition, and "unchanged" in an update.
    """

    min_containers: Workers | None = None
    max_containers: Workers | None = None
    buffer_containers: Workers | None = None
    scaledown_window: Seconds | None = None


class Resources(Data):
    """The resources that a worker of a Function requests; None and 0 request nothing.

    Memory is in bytes, ``cpu`` in cores.
    """

    cpu: Amount | None = None
    cpu_limit: Amount | None = None
    memory: Count | None = None
    memory_limit: Count | None = None  # a worker that exceeds it is killed
    gpu: str | None = None  # the type; "any" for any type
    gpus: Workers | None = None  # the number of GPUs


class Concurrency(Data):
    """The maximum and target number of inputs, or batches, that one worker runs at the same time."""

    max_inputs: Workers | None = None
    target_inputs: Workers | None = None


class Batching(Data):
    """The batches of a batched Function; a batch that is not full is dispatched after ``wait`` seconds."""

    max_batch_size: Workers | None = None
    wait: Seconds | None = None


class Schedule(Data):
    """The times at which the hub calls a Function: a cron line, or a period that starts at the deployment.

    ``payload`` is the pickle of empty arguments; the hub does not pickle values itself.
    """

    payload: Payload
    cron: str = ""
    timezone: str = "UTC"
    years: Count = 0
    months: Count = 0
    weeks: Count = 0
    days: Count = 0
    hours: Count = 0
    minutes: Count = 0
    seconds: Seconds = 0.0


class Endpoint(Data):
    """The web endpoint of a Function or method."""

    kind: str  # fastapi, asgi, wsgi, server
    method: str = "GET"
    label: str = ""
    docs: bool = False
    requires_proxy_auth: bool = False
    port: Count = 0  # of a server that the function itself starts
    startup_timeout: Seconds = 5.0


class Method(Data):
    """The description of a method of a class for its callers."""

    name: str
    is_generator: bool = False
    is_async: bool = False
    batching: Batching = Batching()
    endpoint: Endpoint | None = None
    signature: str = ""
    doc: str = ""
    web_url: str = ""  # of its endpoint; the hub sets it


class Parameter(Data):
    """One `nbfn.parameter` of a class. ``default`` is in MessagePack; None if the parameter is required."""

    name: str
    type: str  # str, int, bytes, bool
    default: bytes | None = None


class Secret(Data):
    """Environment variables of a Function: in ``values``, or stored under ``name`` in an environment."""

    name: str = ""
    environment_name: str = ""  # empty for the environment of the App
    required_keys: tuple[str, ...] = ()
    values: dict[Variable, Value] = {}

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, {sorted(self.values)})"


class Definition(Data):
    """One version of a Function: its name, its pickled code and the options with which it runs.

    A class is a Function of kind "cls": each worker has one instance, and a call names one of ``methods``.
    """

    name: str
    payload: Payload
    digest: str  # identifies the version
    environment: Environment
    is_generator: bool = False
    is_async: bool = False
    timeout: Seconds = 300.0
    retries: RetryPolicy = RetryPolicy()
    pool: PoolSettings = PoolSettings()
    signature: str = ""
    doc: str = ""
    source: str = ""
    filename: str = ""
    kind: str = "function"  # function, cls, session
    methods: tuple[Method, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    arguments: Payload | None = None  # of the constructor of a class; only variants have them
    resources: Resources = Resources()
    concurrency: Concurrency = Concurrency()
    batching: Batching = Batching()
    env: dict[Variable, Value] = {}
    secrets: tuple[Secret, ...] = ()  # a later one overrides an earlier one, ``env`` all of them
    single_use: bool = False  # whether each input runs in a new worker
    at_most_once: bool = False  # whether an input that has started is never retried
    startup_timeout: Seconds | None = None  # to load the Function, including enter hooks
    schedule: Schedule | None = None
    endpoint: Endpoint | None = None
    module: str = ""
    takes_arguments: bool = False  # of a class: only its variants have workers
    exit_hooks: bool = False  # of a class: whether its workers run exit hooks before they end
    helpers: dict[str, str] = {}  # sources of other cells that define its code, by file name
    owner: str = ""  # path of the notebook that registered it; empty if there is none
    made: Seconds = 0.0  # when it was registered, in seconds since 1970
    files: str = ""  # a hash of the user's files that its workers import; empty if there are none
    callback_url: CallbackUrl = ""  # the hub posts to it when a call ends; empty for none

    def __repr__(self) -> str:  # does not show the values of environment variables
        return f"<Definition {self.name!r} {self.digest[:8]}>"


class Variant(Data):
    """The options in which a variant differs from its Function; None for those of the Function.

    A variant has its own worker pool. `nbfn.declarations.overrides.apply_overrides` applies the
    options to a `Definition`.
    """

    timeout: Seconds | None = None
    retries: RetryPolicy | None = None
    pool: PoolSettings | None = None
    resources: Resources | None = None
    concurrency: Concurrency | None = None
    batching: Batching | None = None
    env: dict[Variable, Value] | None = None
    secrets: tuple[Secret, ...] | None = None
    arguments: Payload | None = None

    def __repr__(self) -> str:  # does not show the values of environment variables
        given = (name for name in self.__struct_fields__ if getattr(self, name) is not None)
        return f"<Variant {', '.join(given)}>"


class FunctionInfo(Data):
    """The description of a registered Function for clients; ``timeout`` is in seconds."""

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
    created: bool = True  # False if the same definition was already registered
    kind: str = "function"
    methods: tuple[Method, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    endpoint: Endpoint | None = None
    batching: Batching = Batching()
    environment_name: str = ""
    web_url: str = ""  # of its endpoint
    takes_arguments: bool = False
    method: str = ""  # the method that a caller's handle is bound to; the hub leaves it empty
    deployment: int = 0  # the deployment of the App that the lookup requested
    owner: str = ""  # path of the notebook that registered this version
    made: float = 0.0  # when this version was registered, in seconds since 1970
    warm: int = 0  # workers that its pool keeps now, which may differ from what its definition says
    impossible: str = ""  # why it can have no worker on the hub's machine, if that is so
