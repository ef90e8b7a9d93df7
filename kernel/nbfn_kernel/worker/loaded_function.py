"""The Function or class that a worker has loaded: the callables that inputs name, and the object of a class.

A Function has one target, under the name "". A class has one for each method, bound to the one object of the
worker: it is made first, then its enter hooks run, then inputs, then its exit hooks.
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
from nbfn.serialization.payload import Carrier
from nbfn.serialization.remote_exception import format_exception
from nbfn.types import LOAD_METHOD
from nbfn_kernel.web.asgi import WebEndpoint
from nbfn_kernel.worker import main_module
from nbfn_kernel.worker.input_result import HIDDEN
from nbfn_kernel.worker.target import Target

#: Runs a coroutine to its end.
Run = Callable[[Awaitable[Any]], Any]


class LoadedFunction:
    """The version of a Function that this worker runs.

    Args:
        carrier: Of this process.
        bind: What the hub said of it.

    Raises:
        DeserializationError: If it cannot be rebuilt here.
        Exception: What its code raised when it was loaded.
    """

    def __init__(self, carrier: Carrier, bind: Bind) -> None:
        self.definition = definition = bind.definition
        self._endpoints: list[WebEndpoint] = []
        self._thing: Any = None  # the object, of a class
        loaded = main_module.load(carrier, definition)
        if definition.kind == "cls":
            self._thing = _made(carrier, definition, loaded)
            make = functools.partial(
                _unpickle.method_of_worker, bind.function, bind.version, definition.name
            )
            lifecycle.give_methods(self._thing, make)
            self.targets = self._methods(type(self._thing))
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
        parts = lifecycle.methods(cls)
        return {
            method.name: self._target(
                f"{self.definition.name}.{method.name}",
                parts[method.name].raw.__get__(self._thing),
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
        served = WebEndpoint(name, endpoint, function)
        self._endpoints.append(served)
        return Target(name, served.serve, is_generator=True, is_async=True)

    def on_stuck(self, leave: Callable[[], object]) -> None:
        """Have ``leave`` called when a request was told to stop and something of it goes on."""
        for served in self._endpoints:
            served.leave = leave

    def start(self, run: Run) -> None:
        """Be ready for inputs.

        Args:
            run: Runs a coroutine to its end, on the loop that will run those of inputs.

        Raises:
            Exception: What an enter hook raised.
        """
        if self._thing is not None:
            for hook in lifecycle.enter_hooks(self._thing):
                lifecycle.call(hook, run)
        for served in self._endpoints:
            served.make()
            run(served.start())

    def close(self, run: Run) -> None:
        """Let go of it, in good order: no input will come any more.

        Args:
            run: As for `start`.
        """
        hooks = [] if self._thing is None else lifecycle.exit_hooks(self._thing)
        for hook in (*(served.stop for served in self._endpoints), *hooks):
            try:
                lifecycle.call(hook, run)
            except BaseException as error:  # noqa: BLE001 - the others are to run all the same
                sys.stderr.write(format_exception(error, hide=HIDDEN))


def _made(carrier: Carrier, definition: Definition, cls: Any) -> Any:
    """Make the object that this worker holds."""
    if not isinstance(cls, type):
        raise DeserializationError(f"{definition.name!r} is not a class: {cls!r}.")
    given = definition.arguments
    return lifecycle.remade(
        cls,
        given.data if given is not None else None,
        lambda: carrier.load(given) if given is not None else ((), {}),
    )


def _method_here(function: str, version: int, name: str, method: str) -> Any:
    """Return the Function of a method of this worker's object, for ``self.method.remote(...)``."""
    return nbfn.Cls._method_of_worker(function, version, name, method)
