"""Deploys an App: registers all its Functions first, then makes its name refer to them in one step.

A deployment that fails leaves the previous one in place.
"""

from __future__ import annotations

import dataclasses
import getpass
import logging
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nbfn import exception
from nbfn._names import check_name
from nbfn._version import __version__
from nbfn.api.load_check import load_endpoints
from nbfn.client.client import Client, attached
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.function_ref import HydratedFunction, LocalRef
from nbfn.exception import InvalidError
from nbfn.protocol import messages
from nbfn.runtime import console_output

logger = logging.getLogger("nbfn.client")

#: How the workers of the previous version are replaced.
STRATEGIES = ("rolling", "recreate")


async def deploy(
    scope: AppScope,
    refs: Sequence[LocalRef],
    *,
    name: str,
    environment_name: str | None = None,
    tag: str = "",
    strategy: str = "rolling",
    tags: Mapping[str, str] | None = None,
    partial: bool = False,
    client: Client | None = None,
) -> messages.AppFound:
    """Deploy an App under a name.

    Args:
        scope: The App's scope.
        refs: Its Functions and classes.
        name: The name.
        environment_name: The environment; that of the scope, or the default one, when not given.
        tag: A label for the history.
        strategy: rolling or recreate.
        tags: Of the App.
        partial: Whether other Functions of the deployed App stay in it.
        client: The connection to use; that of this process when not given.

    Returns:
        The deployed App, and whether anything changed.

    Raises:
        InvalidError: If the name or the strategy is not valid.
        NotFoundError: If there is no such environment.
        ExecutionError: If a web endpoint cannot be loaded in a worker.
    """
    __tracebackhide__ = True
    if strategy not in STRATEGIES:
        raise InvalidError(f"strategy is {strategy!r}; it must be 'rolling' or 'recreate'.")
    session = await attached(client)
    before, states = dataclasses.replace(scope), [(ref, ref.state) for ref in refs]
    scope.deployed_name = check_name("The app's name", name)
    scope.environment_name = environment_name or scope.environment
    scope.staged = {}
    try:
        await _stage(session, scope, refs, client)
        await load_endpoints(session, [ref.state for ref in refs], " Nothing was deployed.")
        found = await _commit(session, scope, refs, tag, strategy, tags, partial=partial)
    except BaseException:
        _put_back(scope, before, states)
        raise
    if before.running_id:  # the Functions stay in the run that goes on
        _put_back(scope, before, states)
        scope.deployed_name, scope.environment_name = found.app.name, before.environment_name
        return found
    scope.staged = None
    scope.app_id = found.app.id
    return found


async def _stage(
    session: Client, scope: AppScope, refs: Sequence[LocalRef], client: Client | None
) -> None:
    """Register the current version of each Function and class, without releasing it."""
    try:
        there: messages.AppFound = await session.request(
            lambda number: messages.FindApp(number, scope.deployed_name, scope.environment)
        )
        app_id = there.app.id
    except exception.NotFoundError:
        app_id = ""
    for ref in refs:
        ref.client = client or ref.client
        if (state := ref.state) is not None and (
            state.info.app_id != app_id or not state.current()
        ):
            ref.state = None
    for ref in refs:
        await ref.resolve()


async def _commit(
    session: Client,
    scope: AppScope,
    refs: Sequence[LocalRef],
    tag: str,
    strategy: str,
    tags: Mapping[str, str] | None,
    *,
    partial: bool,
) -> messages.AppFound:
    versions = {ref.name: ref.state.version for ref in refs if ref.state is not None}
    commit = _commit_of(refs)
    found: messages.AppFound = await session.request(
        lambda number: messages.Deploy(
            number,
            scope.deployed_name,
            versions,
            scope.environment,
            strategy,
            partial,
            tag,
            deployer(),
            commit,
            __version__,
            None if tags is None else dict(tags),
        )
    )
    if found.changed:
        logger.debug("%s %r deployed as v%d", found.app.id, scope.deployed_name, found.app.version)
        console_output.write_line(
            f"{console_output.DONE} App {scope.deployed_name!r} deployed as v{found.app.version}."
        )
    else:
        logger.debug("%s %r is unchanged: deployment skipped", found.app.id, scope.deployed_name)
        console_output.write_line(
            f"App {scope.deployed_name!r} is unchanged (v{found.app.version}): deployment skipped."
        )
    return found


def _put_back(
    scope: AppScope, before: AppScope, states: Sequence[tuple[LocalRef, HydratedFunction | None]]
) -> None:
    for field in dataclasses.fields(before):
        setattr(scope, field.name, getattr(before, field.name))
    for ref, state in states:
        ref.state = state


def deployer() -> str:
    """Return the user's name, for the history of deployments."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as containers have them
        return ""


def _commit_of(refs: Sequence[LocalRef]) -> str:
    """Return the short hash of the current commit of the code, with a ``*`` if files have changed since."""
    files = [
        Path(code.co_filename)
        for ref in refs
        if (code := getattr(ref.raw, "__code__", None)) is not None
    ]
    folder = next((file.parent for file in files if file.is_file()), Path.cwd())
    commit = _git(folder, "rev-parse", "--short", "HEAD")
    if not commit:
        return ""
    return f"{commit}*" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit


def _git(folder: Path, *arguments: str) -> str:
    if "git" in _absent:
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=5.0,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        _absent.add("git")
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


_absent: set[str] = set()
