"""A client deploys and runs Apps, and keeps their environments and secrets."""

from __future__ import annotations

from nbfn.protocol.messages.base import Data, Message
from nbfn.protocol.messages.fields import Count, Id, Index, Token, Value, Variable


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


class SecretRow(Data):
    """One stored secret, without its values."""

    name: str
    environment_name: str
    created: float
    keys: tuple[str, ...]


class Deploy(Message):
    """Make these versions (by Function name) what the App's names mean from now on.

    Unless ``partial``, what is not named leaves the App.
    """

    request: Token
    app: str
    functions: dict[str, Count]
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

    request: Token
    app_id: Id
    version: Index = 0
    strategy: str = "rolling"
    by: str = ""
    nbfn: str = ""


class RunApp(Message):
    """Begin an ephemeral App that ends with `StopApp`, or with this client unless ``detached``."""

    request: Token
    app_id: Id
    name: str
    environment_name: str = ""
    detached: bool = False
    tags: dict[str, str] = {}


class StopApp(Message):
    """End an App: its calls are cancelled, its workers go, its name is free. At the end of its
    ``scope``, the block that it was run in, spawned calls still finish.
    """

    request: Token
    app_id: Id
    scope: bool = False


class FindApp(Message):
    """Find an App by its id, or a deployed one by name; made, empty, where wanted."""

    request: Token
    app: str
    environment_name: str = ""
    create: bool = False


class AppFound(Message):
    """Answer to `Deploy`, `Rollback`, `RunApp` and `FindApp`; ``changed`` says whether it is another deployment."""

    request: int
    app: AppRow
    changed: bool = True


class FollowApp(Message):
    """Send this client, as `AppOutput`, what an App's workers write, until it or the App ends.

    What is written for calls that this client made or watches is not sent twice.
    """

    request: Token
    app_id: Id


class AppOutput(Message):
    """What a worker of a followed App wrote, or what the hub says of one (channel ``system``)."""

    app_id: str
    function: str  # the name; of a method with its class's
    call: str
    index: int
    channel: str  # stdout, stderr, system
    data: bytes


class SetTags(Message):
    """Replace an App's tags."""

    request: Token
    app_id: Id
    tags: dict[str, str]


class GetApps(Message):
    """Ask for all Apps of an environment, the stopped ones that are remembered included."""

    request: Token
    environment_name: str = ""


class Apps(Message):
    """Answer to `GetApps`."""

    request: int
    apps: tuple[AppRow, ...]


class GetHistory(Message):
    """Ask for an App's deployments."""

    request: Token
    app_id: Id


class History(Message):
    """Answer to `GetHistory`, the newest first."""

    request: int
    deployments: tuple[DeploymentRow, ...]


class GetEnvironments(Message):
    """Ask for all environments."""

    request: Token


class Environments(Message):
    """Answer to `GetEnvironments`."""

    request: int
    environments: tuple[EnvironmentRow, ...]


class ChangeEnvironment(Message):
    """Create an environment (no ``name``), delete it (no ``new_name``) or rename it."""

    request: Token
    name: str
    new_name: str


class PutSecret(Message):
    """Store environment variables under a name."""

    request: Token
    name: str
    values: dict[Variable, Value]
    environment_name: str = ""
    overwrite: bool = False

    def __repr__(self) -> str:
        return f"PutSecret({self.request}, {self.name!r}, {sorted(self.values)})"


class DeleteSecret(Message):
    """Forget what is stored under a name."""

    request: Token
    name: str
    environment_name: str = ""


class ListSecrets(Message):
    """Ask which secrets an environment has."""

    request: Token
    environment_name: str = ""


class Secrets(Message):
    """Answer to `ListSecrets`."""

    request: int
    secrets: tuple[SecretRow, ...]
