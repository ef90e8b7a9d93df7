"""Checks the arguments of `Function.from_name` and `Cls.from_name`."""

from __future__ import annotations

from typing import Any

from nbfn._names import check_environment, check_name
from nbfn.client.registration.remote_ref import RemoteRef, by_name
from nbfn.declarations.retries import is_int
from nbfn.exception import InvalidError


def deployed_ref(
    what: str,
    app_name: Any,
    name: str | None,
    *,
    tag: str | None,
    version: int | None,
    environment_name: str | None,
) -> RemoteRef:
    """Return a reference to a deployed Function or class, which is not looked up yet.

    Args:
        what: "Function" or "Cls".
        app_name: The App's name.
        name: The name in the App ...
        tag: ... or the same under its former parameter.
        version: The version of the App; None for the newest.
        environment_name: The environment that it was deployed in; None for the default one.

    Raises:
        InvalidError: If a name is missing or not valid, or the version is no whole number of 1 or more.
    """
    app = check_name("The app's name", app_name)
    if (name is None) == (tag is None):
        raise InvalidError(f"{what}.from_name needs the {what}'s name, once: (app_name, name).")
    environment = check_environment(environment_name)
    if version is not None and (not is_int(version) or version < 1):
        raise InvalidError(f"version is {version!r}; it must be a whole number, 1 or more.")
    name = check_name(f"The {what}'s name", name if tag is None else tag)
    return by_name(app, name, environment, version or 0, what)
