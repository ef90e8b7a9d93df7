"""Environments: namespaces for the names of Apps and secrets. "main" always exists."""

from __future__ import annotations

from nbfn._names import check_name
from nbfn.client.client import Client
from nbfn.protocol import messages
from nbfn.protocol.messages import EnvironmentRow
from nbfn.runtime.sync import Blocking


@Blocking
async def list_environments() -> list[EnvironmentRow]:
    """Return all environments, with ``name``, ``created`` and the number of running or deployed ``apps``."""
    client = await Client.attach.raw()
    answer: messages.Environments = await client.request(messages.GetEnvironments)
    return list(answer.environments)


async def _change(name: str, new_name: str) -> None:
    __tracebackhide__ = True
    client = await Client.attach.raw()
    await client.request(lambda number: messages.ChangeEnvironment(number, name, new_name))


@Blocking
async def create_environment(name: str) -> None:
    """Create an environment.

    Raises:
        ConflictError: If there is one of that name.
    """
    __tracebackhide__ = True
    await _change("", check_name("The environment's name", name))


@Blocking
async def update_environment(current_name: str, *, new_name: str) -> None:
    """Rename an environment, with all that is in it.

    Raises:
        NotFoundError: If there is none.
        ConflictError: If the new name is taken.
        InvalidError: If it is "main".
    """
    __tracebackhide__ = True
    current = check_name("The environment's name", current_name)
    await _change(current, check_name("The environment's name", new_name))


@Blocking
async def delete_environment(name: str) -> None:
    """Delete an environment; its Apps are stopped.

    Raises:
        NotFoundError: If there is none.
        InvalidError: If it is "main".
    """
    __tracebackhide__ = True
    await _change(check_name("The environment's name", name), "")
