"""What a Function is: all that the hub, its workers and its callers must know of a version."""

from __future__ import annotations

from nbfn.protocol.messages.base import Data, Payload
from nbfn.protocol.messages.fields import Amount, Count, PathName, Seconds, Value, Variable, Workers


class Environment(Data):
    """Where code must run so that its pickles and imports fit."""

    executable: PathName
    sys_path: tuple[PathName, ...]
    cwd: PathName
    python: str  # "3.11"
    cloudpickle: str


class RetryPolicy(Data):
    """Modal's ``Retries`` in seconds: the n-th delay is initial * coefficient**(n-1), at most
    max_delay.
    """

    max_retries: Workers = 0
    backoff_coefficient: Amount = 1.0
    initial_delay: Seconds = 1.0
    max_delay: Seconds = 60.0


class PoolSettings(Data):
    """How many workers a Function keeps; None in an update means "as it is", in a definition
    "the default".
    """

    min_containers: Workers | None = None
    max_containers: Workers | None = None
    buffer_containers: Workers | None = None
    scaledown_window: Seconds | None = None


class Resources(Data):
    """What a worker of a Function needs; None and 0 ask for nothing. Memory is in bytes, processors in cores."""

    cpu: Amount | None = None
    cpu_limit: Amount | None = None
    memory: Count | None = None
    memory_limit: Count | None = None  # a worker that holds more is ended
    gpu: str | None = None  # the kind; "any" for whatever there is
    gpus: Workers | None = None  # how many


class Concurrency(Data):
    """How many inputs (of batched Functions: batches) one worker runs at once, and how many it should on average."""

    max_inputs: Workers | None = None
    target_inputs: Workers | None = None


class Batching(Data):
    """Inputs that are gathered and run as one; a batch that is not full leaves after ``wait`` seconds."""

    max_batch_size: Workers | None = None
    wait: Seconds | None = None


class Schedule(Data):
    """When the hub calls a Function by itself: a cron line, or a period counted from the deploy.

    ``payload`` is the pickle of no arguments, which the hub cannot make.
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
    """How a Function or method answers HTTP."""

    kind: str  # fastapi, asgi, wsgi, server
    method: str = "GET"
    label: str = ""
    docs: bool = False
    requires_proxy_auth: bool = False
    port: Count = 0  # of a server that the function starts itself
    startup_timeout: Seconds = 5.0


class Method(Data):
    """One method of a class, as callers need to know it."""

    name: str
    is_generator: bool = False
    is_async: bool = False
    batching: Batching = Batching()
    endpoint: Endpoint | None = None
    signature: str = ""
    doc: str = ""
    web_url: str = ""  # where its endpoint answers; the hub fills it in


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
    values: dict[Variable, Value] = {}

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
    timeout: Seconds = 300.0
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
    env: dict[Variable, Value] = {}
    secrets: tuple[Secret, ...] = ()  # the later wins over the earlier, ``env`` over all of them
    single_use: bool = False  # a fresh worker for each input
    at_most_once: bool = False  # an input that began never runs again
    startup_timeout: Seconds | None = None  # seconds to load, enter hooks included
    schedule: Schedule | None = None
    endpoint: Endpoint | None = None
    module: str = ""
    takes_arguments: bool = False  # of a class: only its variants, which have them, get workers
    exit_hooks: bool = False  # of a class: its workers need time to end
    helpers: dict[str, str] = {}  # texts of the other cells that its code is written in, by name
    owner: str = ""  # the notebook that it was registered from, as a path; else empty
    made: Seconds = 0.0  # when, in seconds since 1970
    files: str = ""  # a hash of the user's files that its workers import; else empty

    def __repr__(self) -> str:  # without the values of its variables
        return f"<Definition {self.name!r} {self.digest[:8]}>"


class Variant(Data):
    """What sets a variant of a Function apart, with a pool of its own; None is "as the Function has it".

    Laid over a `Definition` by `nbfn.declarations.overrides.apply_overrides`.
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
    web_url: str = ""  # where its endpoint answers
    takes_arguments: bool = False
    method: str = ""  # which one a caller's handle is bound to; the hub leaves it empty
    deployment: int = 0  # of the App, that the lookup asked for
    owner: str = ""  # the notebook that this version came from, as a path
    made: float = 0.0  # when, in seconds since 1970
