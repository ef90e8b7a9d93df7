"""Environments: namespaces for the names of Apps and secrets; "main" is always there."""

from __future__ import annotations

from nbfn.client import Client
from nbfn.options import check_name
from nbfn.sync import Blocking
from nbfn.wire import messages
from nbfn.wire.messages import EnvironmentRow


async def _list() -> list[EnvironmentRow]:
    client = await Client.attach.raw()
    answer: messages.Environments = await client.request(messages.GetEnvironments)
    return list(answer.environments)


async def _change(name: str, new_name: str) -> None:
    __tracebackhide__ = True
    client = await Client.attach.raw()
    await client.request(lambda number: messages.ChangeEnvironment(number, name, new_name))


async def _create(name: str) -> None:
    __tracebackhide__ = True
    await _change("", check_name("The environment's name", name))


async def _update(current_name: str, *, new_name: str) -> None:
    __tracebackhide__ = True
    check_name("The environment's name", current_name)
    await _change(current_name, check_name("The environment's name", new_name))


async def _delete(name: str) -> None:
    __tracebackhide__ = True
    await _change(check_name("The environment's name", name), "")


#: ``list_environments()``: all of them, with ``name``, ``created`` and the number of living ``apps``.
list_environments = Blocking(_list)
#: ``create_environment(name)``. Raises ConflictError if there is one of that name.
create_environment = Blocking(_create)
#: ``update_environment(current_name, *, new_name)``: rename it, with all that is in it.
#: Raises NotFoundError if there is none, ConflictError if the new name is taken, InvalidError for "main".
update_environment = Blocking(_update)
#: ``delete_environment(name)``: its Apps are stopped. Raises NotFoundError, and InvalidError for "main".
delete_environment = Blocking(_delete)
