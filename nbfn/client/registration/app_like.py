"""`AppLike`: the App of a Function, as the Function knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from nbfn.client.logs import LogsManager
from nbfn.runtime.stream import Streaming
from nbfn.runtime.sync import Blocking


class AppLike(Protocol):
    """What can be asked of an `nbfn.App`, which is made of Functions, so that they cannot import it."""

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
        """What the inputs of its Functions wrote."""

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
        """Takes over all Functions and classes of another App."""

    @property
    def run(self) -> Streaming[..., Any]:
        """Runs the App until the end of the ``with`` block."""

    @property
    def deploy(self) -> Blocking[..., Any]:
        """Has any notebook find its Functions by its name."""

    @property
    def set_tags(self) -> Blocking[..., None]:
        """Replaces its tags."""

    @property
    def get_tags(self) -> Blocking[..., dict[str, str]]:
        """Returns its tags."""
