"""Describes Functions and classes for those who show them: the notebook, the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nbfn.api.cls import Cls
from nbfn.api.function import Function
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.function_ref import HydratedFunction, LocalRef


@dataclass(frozen=True, slots=True)
class Description:
    """What this process knows of a Function or class.

    Attributes:
        name: Its name in its App; of a method, the method's name.
        method: The method's name; empty if it is none.
        definition: The undecorated function or class; None if it is not in this process.
        app: The App's name, empty if that has none or is not known.
        scope: Where it is registered; None if it was found by name.
        hydrated: What is known of it since it was registered or looked up; None before.
    """

    name: str
    method: str
    definition: Any
    app: str
    scope: AppScope | None
    hydrated: HydratedFunction | None


def describe(handle: Function[..., Any, Any] | Cls) -> Description:
    """Return what this process knows of a Function or class, without asking the hub."""
    ref, base = handle._ref, handle._ref.base
    scope = base.scope if isinstance(base, LocalRef) else None
    app = base.state.info.app if base.state is not None else scope.name if scope is not None else ""
    method = handle._method if isinstance(handle, Function) else ""
    return Description(handle._name, method, handle._raw, app, scope, ref.state)


def hydrated(handle: Function[..., Any, Any] | Cls) -> HydratedFunction:
    """Return what is known of a Function or class, after registering it or looking it up if needed.

    Raises:
        NotFoundError: If it was looked up by a name that is not deployed.
        ConnectionError: If no hub answers.
    """
    __tracebackhide__ = True
    handle.hydrate()
    known = handle._ref.state
    assert known is not None
    return known
