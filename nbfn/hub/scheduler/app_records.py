"""What the hub remembers of Apps: who they belong to, whether they live, what each deployment had."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Deployments of an App that can be told of and rolled back to.
HISTORY_KEPT = 100


@dataclass(slots=True)
class Deployment:
    """What an App's names meant from one moment on."""

    version: int
    at: float  # seconds since 1970
    client: str = ""  # the nbfn that deployed it
    by: str = ""
    commit: str = ""
    tag: str = ""
    functions: dict[str, int] = field(default_factory=dict)  # name -> version of the Function


@dataclass(slots=True)
class AppRecord:
    """One App.

    A deployed App has a name that finds it. An ephemeral one belongs to the client ``owner``: it lives
    as long as that process, or, ``scoped``, as long as its ``with app.run()``.
    """

    id: str
    name: str
    environment_name: str
    deployed: bool
    owner: str = ""
    scoped: bool = False
    detached: bool = False
    created: float = 0.0
    stopped: float | None = None
    followers: set[str] = field(default_factory=set)  # clients that are sent what its workers write
    final: bool = False  # it was stopped, not only left by its owner, who may come back
    version: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    anchors: dict[str, float] = field(default_factory=dict)  # when each Function was last deployed
    deployments: dict[int, Deployment] = field(default_factory=dict)

    def add_deployment(self, deployment: Deployment) -> None:
        """Make a deployment the current one."""
        self.version = deployment.version
        self.deployments[deployment.version] = deployment
        for old in sorted(self.deployments)[:-HISTORY_KEPT]:
            del self.deployments[old]
