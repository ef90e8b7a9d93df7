"""`AppLike`: the type of an App as its Functions use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from nbfn.client.logs import LogsManager
from nbfn.runtime.stream import Streaming
from nbfn.runtime.sync import Blocking


class AppLike(Protocol):
    """The public members of `nbfn.App`, whose module imports that of Functions."""

    image: Any

    @property
    def name(self) -> str | None:
        """Its name."""

    @property
    def description(self) -> str | None:
        """Its name."""

    @property
    def app_id(self) -> str | None:
        """Its id at the hub."""

    @property
    def is_interactive(self) -> bool:
        """Whether it runs with ``interactive=True``."""

    @property
    def registered_functions(self) -> Mapping[str, Any]:
        """Its Functions by name."""

    @property
    def registered_classes(self) -> Mapping[str, Any]:
        """Its classes by name."""

    @property
    def registered_entrypoints(self) -> Mapping[str, Any]:
        """Its local entrypoints by name."""

    @property
    def registered_web_endpoints(self) -> Sequence[str]:
        """The names of its Functions that are web endpoints."""

    @property
    def logs(self) -> LogsManager:
        """The output of the inputs of its Functions."""

    @property
    def function(self) -> Callable[..., Any]:
        """Makes a decorator that turns a ``def`` into a Function."""

    @property
    def cls(self) -> Callable[..., Any]:
        """Makes a decorator that turns a class into a `Cls`."""

    @property
    def local_entrypoint(self) -> Callable[..., Any]:
        """Makes a decorator of a function that ``nbfn run`` runs."""

    @property
    def include(self) -> Callable[..., Any]:
        """Moves all Functions and classes of another App to this one."""

    @property
    def run(self) -> Streaming[..., Any]:
        """Runs the App until the end of the ``with`` block."""

    @property
    def deploy(self) -> Blocking[..., Any]:
        """Deploys its Functions, so that any notebook finds them by name."""

    @property
    def set_tags(self) -> Blocking[..., None]:
        """Replaces its tags."""

    @property
    def get_tags(self) -> Blocking[..., dict[str, str]]:
        """Returns its tags."""
