"""The versions of one Function: when each was released, by whom, and how to have an earlier one back."""

from __future__ import annotations

from typing import Any

from nbfn._version import __version__
from nbfn.api.deployment import deployer
from nbfn.client.client import Client
from nbfn.protocol import messages
from nbfn.protocol.messages import DeploymentRow, FunctionInfo
from nbfn.runtime.sync import run


class NoVersionError(ValueError):
    """Raised when a version was never released; the text is for the user."""


def versions(client: Client, info: FunctionInfo) -> dict[int, DeploymentRow]:
    """Return the first release of each version of a Function that the hub can tell of, the newest version first."""
    first: dict[int, DeploymentRow] = {}
    for release in client.app_history(info.app_id):  # the newest first
        if (version := release.functions.get(info.name)) is not None:
            first[version] = release
    return dict(sorted(first.items(), reverse=True))


def roll_back(client: Client, info: FunctionInfo, version: int) -> messages.AppRow:
    """Have a Function's name mean an earlier version; the other Functions of its App stay.

    Raises:
        NoVersionError: If the hub knows no such release.
    """
    known = versions(client, info)
    if version not in known:
        there = ", ".join(f"v{number}" for number in known) or "none"
        raise NoVersionError(f"{info.name} has no release of v{version} (there are: {there}).")
    answer: Any = run(
        client.request(
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
    )
    app: messages.AppRow = answer.app
    return app
