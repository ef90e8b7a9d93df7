"""Lists the versions of a Function, and rolls back to an earlier one."""

from __future__ import annotations

from nbfn._version import __version__
from nbfn.api.deployment import deployer
from nbfn.client.client import Client
from nbfn.exception import NotFoundError
from nbfn.protocol import messages
from nbfn.protocol.messages import DeploymentRow, FunctionInfo


async def versions(client: Client, info: FunctionInfo) -> dict[int, DeploymentRow]:
    """Return the first release of each version of a Function in the App's history.

    Args:
        client: The client.
        info: The Function.

    Returns:
        The releases by version, the newest version first.
    """
    answer: messages.History = await client.request(
        lambda number: messages.GetHistory(number, info.app_id)
    )
    first: dict[int, DeploymentRow] = {}
    for release in answer.deployments:  # newest first
        if (version := release.functions.get(info.name)) is not None:
            first[version] = release
    return dict(sorted(first.items(), reverse=True))


async def roll_back(client: Client, info: FunctionInfo, version: int) -> messages.AppRow:
    """Deploy an earlier version of a Function; the other Functions of its App do not change.

    Args:
        client: The client.
        info: The Function.
        version: The version.

    Returns:
        The App after the deployment.

    Raises:
        NotFoundError: If the version was never released.
    """
    known = await versions(client, info)
    if version not in known:
        there = ", ".join(f"v{number}" for number in known) or "none"
        raise NotFoundError(f"{info.name} has no release of v{version} (there are: {there}).")
    answer: messages.AppFound = await client.request(
        lambda number: messages.Deploy(
            number,
            info.app,
            {info.name: version},
            info.environment_name,
            partial=True,
            tag=f"{info.name} back to v{version}",
            by=deployer(),
            nbfn=__version__,
        )
    )
    return answer.app
