"""Holds the Function or class that a worker has loaded, as the targets that inputs call.

A Function has one target, with the name "". A class has one target for each method, bound to the worker's one instance:
the worker creates the instance, runs its enter hooks, runs inputs, and runs its exit hooks.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import nbfn
from nbfn import _unpickle
from nbfn.declarations import lifecycle
from nbfn.exception import DeserializationError
from nbfn.protocol.messages import Bind, Definition, Endpoint
from nbfn.serialization.payload import Serializer
from nbfn.serialization.remote_exception import format_exception
from nbfn.types import LOAD_METHOD
from nbfn_kernel.web.asgi import WebEndpoint
from nbfn_kernel.worker import main_module
from nbfn_kernel.worker.input_result import HIDDEN
from nbfn_kernel.worker.target import Target

#: Runs a coroutine until it is complete.
Run = Callable[[Awaitable[Any]], Any]


class LoadedFunction:
    """The version of a Function or class that this worker runs.

    Args:
        serializer: Unpickles the code.
        bind: The hub's message with the definition.

    Raises:
        DeserializationError: If the code cannot be unpickled.
        Exception: Any exception that the user's code raises when it is loaded.
    """

    def __init__(self, serializer: Serializer, bind: Bind) -> None:
        self.definition = definition = bind.definition
        self._endpoints: list[WebEndpoint] = []
        self._instance: Any = None  # of a class
        loaded = main_module.load(serializer, definition)
        if definition.kind == "cls":
            self._instance = _make_instance(serializer, definition, loaded)
            make = functools.partial(
                _unpickle.method_of_worker, bind.function, bind.version, definition.name
            )
            lifecycle.set_method_factory(self._instance, make)
            self.targets = self._methods(type(self._instance))
        else:
            self.targets = {
                "": self._target(
                    definition.name,
                    loaded,
                    definition.endpoint,
                    is_generator=definition.is_generator,
                    is_async=definition.is_async,
                )
            }

        self.targets[LOAD_METHOD] = Target(
            definition.name, lambda: None, is_generator=False, is_async=False
        )

    def _methods(self, cls: type) -> dict[str, Target]:
        parts = lifecycle.remote_methods(cls)
        return {
            method.name: self._target(
                f"{self.definition.name}.{method.name}",
                parts[method.name].raw.__get__(self._instance),
                method.endpoint,
                is_generator=method.is_generator,
                is_async=method.is_async,
            )
            for method in self.definition.methods
        }

    def _target(
        self,
        name: str,
        function: Callable[..., Any],
        endpoint: Endpoint | None,
        *,
        is_generator: bool,
        is_async: bool,
    ) -> Target:
        if endpoint is None:
            return Target(name, function, is_generator, is_async)
        web_endpoint = WebEndpoint(name, endpoint, function)
        self._endpoints.append(web_endpoint)
        return Target(name, web_endpoint.serve, is_generator=True, is_async=True)

    def set_abort(self, abort: Callable[[], object]) -> None:
        """Set the function that ends the worker when a web request was cancelled and its handler does not end."""
        for endpoint in self._endpoints:
            endpoint.abort = abort

    def start(self, run: Run) -> None:
        """Run the enter hooks, and load and start web endpoints.

        Args:
            run: Runs a coroutine until it is complete, on the loop that will run inputs.

        Raises:
            Exception: Any exception that an enter hook or an endpoint's code raises.
        """
        if self._instance is not None:
            for hook in lifecycle.enter_hooks(self._instance):
                lifecycle.call_hook(hook, run)
        for endpoint in self._endpoints:
            endpoint.make()
            run(endpoint.start())

    def close(self, run: Run) -> None:
        """Stop web endpoints and run the exit hooks, after the last input. Exceptions are written to stderr.

        Args:
            run: As for `start`.
        """
        hooks = [] if self._instance is None else lifecycle.exit_hooks(self._instance)
        for hook in (*(endpoint.stop for endpoint in self._endpoints), *hooks):
            try:
                lifecycle.call_hook(hook, run)
            except BaseException as error:  # noqa: BLE001 - the other hooks run nevertheless
                sys.stderr.write(format_exception(error, hide=HIDDEN))


def _make_instance(serializer: Serializer, definition: Definition, cls: Any) -> Any:
    """Create the worker's instance of a class."""
    if not isinstance(cls, type):
        raise DeserializationError(f"{definition.name!r} is not a class: {cls!r}.")
    arguments = definition.arguments
    return lifecycle.make_from_handle(
        cls,
        arguments.data if arguments is not None else None,
        lambda: serializer.load(arguments) if arguments is not None else ((), {}),
    )


def method_of_worker(function: str, version: int, name: str, method: str) -> Any:
    """Return the Function of a method of the worker's instance, for ``self.method.remote(...)``."""
    return nbfn.Cls._method_of_worker(function, version, name, method)
