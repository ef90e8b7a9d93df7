"""What decorators below ``@app.function()`` and inside ``@app.cls()`` classes say of a function.

A mark wraps the function in a `Partial`, which `App.function` and `App.cls` unwrap again. Workers
know this module too: a class travels with its marks.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
)
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Never,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)

import msgspec

from nbfn import _unpickle
from nbfn.backtrace import trimmed
from nbfn.exception import InvalidError
from nbfn.options import Batching, Concurrency, Endpoint, Options, check_flag
from nbfn.retries import LARGEST_COUNT, check_at_most, is_int, is_number

if TYPE_CHECKING:
    from nbfn.function import Function

P = ParamSpec("P")
R = TypeVar("R")
Original = TypeVar("Original")
F = TypeVar("F")

logger = logging.getLogger("nbfn.client")

#: Where an object of a class keeps what makes the Functions of its marked methods.
METHODS = "_nbfn_methods"
#: Bounds of a batch: inputs, and milliseconds it may wait.
LARGEST_BATCH, LONGEST_WAIT_MS = 1000, 600_000


@dataclass(frozen=True, slots=True)
class Marks:
    """All that was said of one function; later marks add to earlier ones."""

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
        """Whether it is run by the worker, not called."""
        return bool(self.enter) or self.exit

    @property
    def callable(self) -> bool:
        """Whether it can be called from elsewhere."""
        return self.method or self.batching is not None or self.endpoint is not None

    def applied(self, options: Options) -> Options:
        """Return options with these marks added.

        Raises:
            InvalidError: If they and the marks exclude each other.
        """
        said: dict[str, Any] = {
            "is_generator": self.is_generator,
            "batching": self.batching,
            "concurrency": self.concurrency,
            "endpoint": self.endpoint,
        }
        told = {name: value for name, value in said.items() if value is not None}
        found = dataclasses.replace(options, **told)
        found.check_together()
        return found


def unpacked(packed: bytes) -> Marks:
    """Return the marks that a pickle has."""
    return msgspec.msgpack.decode(packed, type=Marks)


class Partial(Generic[P, R, Original]):
    """A marked function (or class) that no App has taken up yet; inside a class, a method as any other."""

    def __init__(self, raw: Any, marks: Marks) -> None:
        self.raw = raw
        self.marks = marks
        self.taken = False  # by an App, or by a mark on top
        self.__doc__ = raw.__doc__
        self.__name__ = getattr(raw, "__name__", "")
        self.__wrapped__ = raw

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.decorated_function, (), dict(self.__dict__)

    def __set_name__(self, owner: type, name: str) -> None:
        self.__name__ = name

    if TYPE_CHECKING:  # on the objects that an ``@app.cls()`` class makes, it is a Function

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type) -> Function[P, R, Original]: ...
        def __get__(self, instance: Any, owner: type) -> Any: ...

    else:

        def __get__(self, instance: object, owner: type | None = None) -> Any:
            if instance is None:
                return self
            if self.marks.callable:
                return Bound(self.__name__, self.raw, instance)
            return self.raw.__get__(instance, owner)

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            """Refuse: it is not registered."""
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


class Bound:
    """A marked method of a user's own object, as ``self.method`` gives it inside of another.

    Called, or by `local`, it runs right here; all else, such as `remote`, is its Function's.
    """

    def __init__(self, name: str, raw: Callable[..., Any], owner: object) -> None:
        self.__name__ = name
        self.__func__ = raw
        self.__self__ = owner
        self.__doc__ = raw.__doc__
        self.__wrapped__ = raw.__get__(owner)

    @trimmed
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run it here."""
        return self.__wrapped__(*args, **kwargs)

    local = __call__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own; a copy that has nothing yet asks, too
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


class MethodDecorator(Protocol):
    """What ``@method()`` is: the method's ``self`` is no parameter of its Function."""

    # One that returns Any fits every overload, so the first takes it.
    @overload
    def __call__(self, raw: Callable[Concatenate[Any, P], Never], /) -> Partial[P, Any, Any]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> Partial[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], AsyncGenerator[R, Any]], /
    ) -> Partial[P, R, AsyncGenerator[R, Any]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], AsyncIterator[R]], /
    ) -> Partial[P, R, AsyncIterator[R]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], Generator[R, Any, Any]], /
    ) -> Partial[P, R, Generator[R, Any, Any]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], Iterator[R]], /
    ) -> Partial[P, R, Iterator[R]]: ...
    @overload
    def __call__(self, raw: Callable[Concatenate[Any, P], R], /) -> Partial[P, R, R]: ...


class BatchDecorator(Protocol):
    """What ``@batched(...)`` is: callers pass single values and get one, which no parameter list can say."""

    @overload
    def __call__(
        self, raw: Callable[..., Coroutine[Any, Any, list[R]]], /
    ) -> Partial[..., R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(self, raw: Callable[..., list[R]], /) -> Partial[..., R, list[R]]: ...


def unwrapped(raw: Any) -> tuple[Any, Marks]:
    """Return a function, or class, without its marks, and the marks."""
    if not isinstance(raw, Partial):
        return raw, Marks()
    raw.taken = True
    return raw.raw, raw.marks


def mark(what: str, raw: Any, **changes: Any) -> Any:
    """Add marks to a function.

    Args:
        what: The decorator's name, for messages.
        raw: The function, or what an earlier mark made of it.
        **changes: Fields of `Marks`.

    Raises:
        InvalidError: If the marks contradict each other.
    """
    raw, before = unwrapped(raw)
    if type(raw).__module__ == "nbfn":  # a Function or Cls already
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
    return Partial(raw, marks)


def _marking(what: str, **changes: Any) -> Callable[[Any], Any]:
    """Return the decorator that adds marks; see `mark`."""
    return trimmed(lambda raw: mark(what, raw, **changes))


def forgotten(what: str, given: tuple[Any, ...]) -> None:
    """Refuse a positional argument, which is mostly the function that forgotten parentheses give.

    Raises:
        InvalidError: If there is one.
    """
    if not given:
        return
    if callable(given[0]):
        raise InvalidError(f"Did you forget parentheses? Write {what}() above the def.")
    raise InvalidError(f"The options of {what}(...) are keywords: name them.")


@trimmed
def method(*given: Any, is_generator: bool | None = None, keep_warm: Any = None) -> MethodDecorator:
    """Make a method of an ``@app.cls()`` class callable from elsewhere.

    Args:
        *given: Nothing; there to tell that the parentheses are missing.
        is_generator: Whether it yields, where that cannot be seen from the ``def``.
        keep_warm: Modal's former option; it belongs on the class.

    Raises:
        InvalidError: If the parentheses are missing.
    """
    forgotten("@nbfn.method", given)
    if keep_warm is not None:
        raise InvalidError("keep_warm belongs on the class: @app.cls(min_containers=...).")
    if is_generator is not None:
        check_flag("is_generator", is_generator)
    return _marking("@nbfn.method()", method=True, is_generator=is_generator)


@trimmed
def enter(*given: Any, snap: bool = False) -> Callable[[F], F]:
    """Have a method run once in each worker before its first input.

    Args:
        *given: Nothing; there to tell that the parentheses are missing.
        snap: Whether it runs before the hooks without ``snap``, as what Modal snapshots does.
    """
    forgotten("@nbfn.enter", given)
    check_flag("snap", snap)
    return _marking("@nbfn.enter()", enter="snap" if snap else "plain")


@trimmed
def build(*given: Any, force: bool = False) -> Callable[[F], F]:
    """Have a method run in each worker before its `enter` hooks: there is no image to be built here."""
    forgotten("@nbfn.build", given)
    check_flag("force", force)
    return _marking("@nbfn.build()", enter="build")


@trimmed
def exit(*given: Any) -> Callable[[F], F]:  # noqa: A001 - Modal's name
    """Have a method run once in each worker that ends in good order."""
    forgotten("@nbfn.exit", given)
    return _marking("@nbfn.exit()", exit=True)


@trimmed
def concurrent(*given: Any, max_inputs: int, target_inputs: int | None = None) -> Callable[[F], F]:
    """Let each worker run several inputs at once: coroutines as tasks of one event loop, others in threads.

    Args:
        *given: Nothing; there to tell that the parentheses are missing.
        max_inputs: Inputs that a worker runs at once, at most.
        target_inputs: Inputs for each worker that the size of the pool aims at; ``max_inputs`` when not given.

    Raises:
        InvalidError: If a number does not fit.
    """
    forgotten("@nbfn.concurrent", given)
    found = read_concurrency(max_inputs, target_inputs)
    return _marking("@nbfn.concurrent(...)", concurrency=found)


def read_concurrency(max_inputs: Any, target_inputs: Any = None) -> Concurrency:
    """Check the two numbers of `concurrent`."""
    if not is_int(max_inputs) or max_inputs < 1:
        raise InvalidError(f"max_inputs is {max_inputs!r}; it must be a whole number, 1 or more.")
    check_at_most("max_inputs", max_inputs, LARGEST_COUNT)
    if target_inputs is not None and (not is_int(target_inputs) or target_inputs < 1):
        raise InvalidError(f"target_inputs is {target_inputs!r}; it must be 1 or more.")
    if target_inputs is not None and target_inputs > max_inputs:
        raise InvalidError(
            f"target_inputs ({target_inputs}) is above max_inputs ({max_inputs}); it must not be."
        )
    return Concurrency(int(max_inputs), target_inputs)


@trimmed
def batched(*given: Any, max_batch_size: int, wait_ms: float) -> BatchDecorator:
    """Gather inputs and run them as one: callers pass single values, the body gets and returns lists.

    Args:
        *given: Nothing; there to tell that the parentheses are missing.
        max_batch_size: Inputs in one batch, 1 to 1000.
        wait_ms: Milliseconds that a batch waits to be full, 0 to 600000.

    Raises:
        InvalidError: If a number does not fit, the function yields, or it has default arguments.
    """
    forgotten("@nbfn.batched", given)
    found = read_batching(max_batch_size, wait_ms)

    @trimmed
    def decorate(raw: Callable[..., Any]) -> Any:
        check_batched(unwrapped(raw)[0])
        return mark("@nbfn.batched(...)", raw, batching=found)

    return decorate


def read_batching(max_batch_size: Any, wait_ms: Any) -> Batching:
    """Check the two numbers of `batched`."""
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
    """Refuse a function that cannot be run on batches.

    Raises:
        InvalidError: If it yields, or has default arguments.
    """
    name = getattr(function, "__name__", "it")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidError(f"{name!r} yields; a batched function must return a list.")
    if not isinstance(function, type) and _has_defaults(function):
        raise InvalidError(f"{name!r} is batched, so it cannot have default arguments.")


def _has_defaults(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.default is not p.empty for p in parameters)
