"""Records of Apps: their owner, their state and their deployments."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Deployments of an App that are kept for the history and for rollbacks.
HISTORY_KEPT = 100


@dataclass(slots=True)
class Deployment:
    """The versions of an App's Functions from one time on."""

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

    A deployed App can be looked up by name. An ephemeral one belongs to the client ``owner`` and ends with that
    process or, if ``scoped``, with its ``with app.run()``.
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
    #: Clients that receive the output of its workers.
    followers: set[str] = field(default_factory=set)
    final: bool = False  # it was stopped, and does not restart when its owner reconnects
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
