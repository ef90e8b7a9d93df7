"""Messages with which clients deploy, run and list Apps, and manage environments and secrets."""

from __future__ import annotations

from nbfn.protocol.messages.base import Data, Message
from nbfn.protocol.messages.fields import Count, Id, Index, Token, Value, Variable


class AppRow(Data):
    """The description of one App."""

    id: str
    name: str
    environment_name: str
    state: str  # ephemeral, ephemeral (detached), deployed, stopping, stopped
    version: int = 0  # of its deployment; 0 if it is not deployed
    workers: int = 0
    created: float = 0.0  # seconds since 1970
    stopped: float | None = None
    tags: dict[str, str] = {}
    functions: tuple[str, ...] = ()


class DeploymentRow(Data):
    """The description of one deployment of an App."""

    version: int
    at: float  # seconds since 1970
    client: str  # the version of nbfn that deployed it
    by: str
    commit: str
    tag: str
    functions: dict[str, int] = {}


class EnvironmentRow(Data):
    """The description of one environment."""

    name: str
    created: float
    apps: int = 0


class SecretRow(Data):
    """The description of one stored secret, without its values."""

    name: str
    environment_name: str
    created: float
    keys: tuple[str, ...]


class Deploy(Message):
    """Deploy an App: publish these versions of its Functions under their names.

    Functions that the message does not name are removed from the App, unless ``partial``.
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
    """Deploy an earlier version of an App again; 0 is the previous version, -1 the current one."""

    request: Token
    app_id: Id
    version: Index = 0
    strategy: str = "rolling"
    by: str = ""
    nbfn: str = ""


class RunApp(Message):
    """Start an ephemeral App. It ends with `StopApp` or, unless ``detached``, when this client leaves."""

    request: Token
    app_id: Id
    name: str
    environment_name: str = ""
    detached: bool = False
    tags: dict[str, str] = {}


class StopApp(Message):
    """Stop an App: cancel its calls, end its workers and release its name.

    With ``scope``, the ``with app.run()`` block of the App has ended: its spawned calls still finish. An App with a
    session is refused without ``end_session``.
    """

    request: Token
    app_id: Id
    scope: bool = False
    end_session: bool = False


class FindApp(Message):
    """Find an App by its id, or a deployed App by name; with ``create``, create an empty one if missing."""

    request: Token
    app: str
    environment_name: str = ""
    create: bool = False


class AppFound(Message):
    """Answer to `Deploy`, `Rollback`, `RunApp` and `FindApp`.

    ``changed`` is False if a deployment changed nothing.
    """

    request: int
    app: AppRow
    changed: bool = True


class FollowApp(Message):
    """Send the output of an App's workers to this client as `AppOutput`, until the client or the App ends.

    The output of calls that this client made or watches is not sent twice.
    """

    request: Token
    app_id: Id


class AppOutput(Message):
    """Output of a worker of a followed App, or a message of the hub about a worker (channel ``system``)."""

    app_id: str
    function: str  # the name of the Function; for a method, with the name of its class
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
    """Request all Apps of an environment, including stopped Apps that the hub still stores."""

    request: Token
    environment_name: str = ""


class Apps(Message):
    """Answer to `GetApps`."""

    request: int
    apps: tuple[AppRow, ...]


class GetHistory(Message):
    """Request the deployments of an App."""

    request: Token
    app_id: Id


class History(Message):
    """Answer to `GetHistory`: the deployments, newest first."""

    request: int
    deployments: tuple[DeploymentRow, ...]


class GetEnvironments(Message):
    """Request all environments."""

    request: Token


class Environments(Message):
    """Answer to `GetEnvironments`."""

    request: int
    environments: tuple[EnvironmentRow, ...]


class ChangeEnvironment(Message):
    """Create (empty ``name``), delete (empty ``new_name``) or rename an environment."""

    request: Token
    name: str
    new_name: str


class PutSecret(Message):
    """Store a secret: environment variables under a name."""

    request: Token
    name: str
    values: dict[Variable, Value]
    environment_name: str = ""
    overwrite: bool = False

    def __repr__(self) -> str:
        return f"PutSecret({self.request}, {self.name!r}, {sorted(self.values)})"


class DeleteSecret(Message):
    """Delete the secret with a name."""

    request: Token
    name: str
    environment_name: str = ""


class ListSecrets(Message):
    """Request the secrets of an environment, without their values."""

    request: Token
    environment_name: str = ""


class Secrets(Message):
    """Answer to `ListSecrets`."""

    request: int
    secrets: tuple[SecretRow, ...]
