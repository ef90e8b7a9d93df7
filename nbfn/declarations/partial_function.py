"""Provides `PartialFunction`, a decorated function or class that is not registered with an App yet.

`App.function` and `App.cls` unwrap it. Workers use this module too, because a class is pickled with the options of
its methods.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from nbfn import _unpickle
from nbfn.declarations.options import Batching, Concurrency, Endpoint, Options
from nbfn.declarations.registered import Registered
from nbfn.declarations.retries import LARGEST_COUNT, check_at_most, is_int, is_number
from nbfn.exception import InvalidError
from nbfn.runtime.traceback_filter import trimmed

logger = logging.getLogger("nbfn.client")

#: The attribute of an object for the function that returns the Functions of its decorated methods.
METHODS = "_nbfn_methods"
#: The most inputs of a batch, and the most milliseconds that it may wait for more.
LARGEST_BATCH, LONGEST_WAIT_MS = 1000, 600_000


@dataclass(frozen=True, slots=True)
class DecoratorOptions:
    """The options that the decorators of one function set."""

    method: bool = False
    enter: str = ""  # build, snap, plain
    exit: bool = False
    is_generator: bool | None = None
    batching: Batching | None = None
    concurrency: Concurrency | None = None
    endpoint: Endpoint | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.decorator_options, (msgspec.msgpack.encode(self),)

    @property
    def lifecycle(self) -> bool:
        """Whether the function is a hook that the worker calls."""
        return bool(self.enter) or self.exit

    @property
    def callable(self) -> bool:
        """Whether the function can be called remotely."""
        return self.method or self.batching is not None or self.endpoint is not None

    def applied(self, options: Options) -> Options:
        """Return a copy of options with these options added.

        Args:
            options: The options of `App.function` or `App.cls`.

        Raises:
            InvalidError: If the options contradict each other.
        """
        given: dict[str, Any] = {
            "is_generator": self.is_generator,
            "batching": self.batching,
            "concurrency": self.concurrency,
            "endpoint": self.endpoint,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        found = dataclasses.replace(options, **changes)
        found.check_together()
        return found


def unpack_options(packed: bytes) -> DecoratorOptions:
    """Decode the options in a pickle."""
    return msgspec.msgpack.decode(packed, type=DecoratorOptions)


class PartialFunction:
    """A decorated function or class that is not registered. In a class body it behaves like a method.

    Args:
        raw: The function or class.
        marks: The options that its decorators set.
    """

    def __init__(self, raw: Any, marks: DecoratorOptions) -> None:
        self.raw = raw
        self.marks = marks
        self.taken = False  # whether an App or another decorator has unwrapped it
        self.__doc__ = raw.__doc__
        self.__name__ = getattr(raw, "__name__", "")
        self.__wrapped__ = raw

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.decorated_function, (), dict(self.__dict__)

    def __set_name__(self, owner: type, name: str) -> None:
        self.__name__ = name

    if not TYPE_CHECKING:  # type checkers use `nbfn.api.method_decorators.Decorated`

        def __get__(self, instance: object, owner: type | None = None) -> Any:
            if instance is None:
                return self
            if self.marks.callable:
                return BoundPartial(self.__name__, self.raw, instance)
            return self.raw.__get__(instance, owner)

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            """Raise `InvalidError`, because the function is not registered."""
            raise InvalidError(
                f"{self.__name__!r} is marked but belongs to no App yet: put @app.function() or @app.cls() on top."
            )

    def __del__(self) -> None:
        if not self.__dict__.get("taken", True):
            logger.warning(
                "%r was marked but never became a Function: put @app.function() or @app.cls() on top.",
                self.__name__,
            )

    def __repr__(self) -> str:
        return f"<marked {self.__name__!r}, not registered with an App>"


class BoundPartial:
    """A decorated method that is bound to an object of the user, such as ``self.method`` in another method.

    Calling it, or its `local`, runs the method in this process. Other attributes, such as `remote`, are those of its
    Function.

    Args:
        name: The name of the method.
        raw: The function.
        owner: The object.
    """

    def __init__(self, name: str, raw: Callable[..., Any], owner: object) -> None:
        self.__name__ = name
        self.__func__ = raw
        self.__self__ = owner
        self.__doc__ = raw.__doc__
        self.__wrapped__ = raw.__get__(owner)

    @trimmed
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the method in this process and return its result."""
        return self.__wrapped__(*args, **kwargs)

    local = __call__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # `copy` looks these up before the object has attributes
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        make = getattr(self.__self__, METHODS, None)
        if make is None:
            raise AttributeError(
                f"{self.__name__!r} of {type(self.__self__).__name__!r} has no {name!r} here: "
                "the object was not made by its @app.cls() class."
            )
        return getattr(make(self.__name__), name)

    def __repr__(self) -> str:
        return f"<method {self.__name__!r} of {self.__self__!r}>"


def unwrap(raw: Any) -> tuple[Any, DecoratorOptions]:
    """Return the undecorated function or class, and the options that its decorators set."""
    if not isinstance(raw, PartialFunction):
        return raw, DecoratorOptions()
    raw.taken = True
    return raw.raw, raw.marks


def add_options(what: str, raw: Any, **changes: Any) -> Any:
    """Add the options of a decorator to a function.

    Args:
        what: The name of the decorator, for messages.
        raw: The function, or the `PartialFunction` that another decorator returned.
        **changes: Fields of `DecoratorOptions`.

    Returns:
        A new `PartialFunction`.

    Raises:
        InvalidError: If the options contradict each other, or ``raw`` is already registered.
    """
    raw, before = unwrap(raw)
    if isinstance(raw, Registered):
        raise InvalidError(f"Put {what} below @app.function() or @app.cls(), not above.")
    marks = dataclasses.replace(before, **changes)
    if marks.lifecycle and (marks.callable or marks.concurrency):
        raise InvalidError(
            f"{getattr(raw, '__name__', raw)!r} cannot be both a lifecycle hook (enter, exit) and callable; "
            "write two methods."
        )
    if marks.method and marks.endpoint is not None:
        raise InvalidError(
            f"{getattr(raw, '__name__', raw)!r} has both @nbfn.method() and a web endpoint's decorator; take "
            "@nbfn.method() away: a web endpoint is called by its URL."
        )
    return PartialFunction(raw, marks)


def read_concurrency(max_inputs: Any, target_inputs: Any = None) -> Concurrency:
    """Check the arguments of the decorator `concurrent`.

    Args:
        max_inputs: The most inputs that a worker runs at once.
        target_inputs: The number of inputs at which the pool grows.

    Raises:
        InvalidError: If a number is not valid.
    """
    if not is_int(max_inputs) or max_inputs < 1:
        raise InvalidError(f"max_inputs is {max_inputs!r}; it must be a whole number, 1 or more.")
    check_at_most("max_inputs", max_inputs, LARGEST_COUNT)
    if target_inputs is None:
        return Concurrency(int(max_inputs), None)
    if not is_int(target_inputs) or target_inputs < 1:
        raise InvalidError(f"target_inputs is {target_inputs!r}; it must be 1 or more.")
    if target_inputs > max_inputs:
        raise InvalidError(
            f"target_inputs ({target_inputs}) is above max_inputs ({max_inputs}); it must not be."
        )
    return Concurrency(int(max_inputs), target_inputs)


def read_batching(max_batch_size: Any, wait_ms: Any) -> Batching:
    """Check the arguments of the decorator `batched`.

    Args:
        max_batch_size: The most inputs of a batch.
        wait_ms: Milliseconds that a batch waits for more inputs.

    Raises:
        InvalidError: If a number is not valid.
    """
    if not is_int(max_batch_size) or not 1 <= max_batch_size <= LARGEST_BATCH:
        raise InvalidError(
            f"max_batch_size is {max_batch_size!r}; it must be a whole number from 1 to {LARGEST_BATCH}."
        )
    if not is_number(wait_ms) or not 0 <= wait_ms <= LONGEST_WAIT_MS:
        raise InvalidError(
            f"wait_ms is {wait_ms!r}; it must be milliseconds from 0 to {LONGEST_WAIT_MS}."
        )
    return Batching(int(max_batch_size), float(wait_ms) / 1000)


def check_batched(function: Any) -> None:
    """Check that a function can be batched.

    Args:
        function: The function.

    Raises:
        InvalidError: If it is a generator function, or has default arguments.
    """
    name = getattr(function, "__name__", "it")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidError(f"{name!r} yields; a batched function must return a list.")
    if not isinstance(function, type) and _has_defaults(function):
        raise InvalidError(f"{name!r} is batched, so it cannot have default arguments.")


def _has_defaults(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.default is not p.empty for p in parameters)
