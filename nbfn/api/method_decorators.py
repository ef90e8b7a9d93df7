"""The decorators below ``@app.function()`` and inside ``@app.cls()`` classes, and their types."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
)
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

from nbfn.declarations.options import check_flag
from nbfn.declarations.partial_function import (
    PartialFunction,
    add_options,
    check_batched,
    read_batching,
    read_concurrency,
    unwrap,
)
from nbfn.exception import InvalidError
from nbfn.runtime.traceback_filter import trimmed

if TYPE_CHECKING:
    from nbfn.api.function import Function

P = ParamSpec("P")
R = TypeVar("R")
Original = TypeVar("Original")
F = TypeVar("F")


class Decorated(PartialFunction, Generic[P, R, Original]):
    """The result of the decorators for type checkers; at run time it is a plain `PartialFunction`.

    As an attribute of an object of an ``@app.cls()`` class it is a Function.
    """

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type) -> Function[P, R, Original]: ...
        def __get__(self, instance: Any, owner: type) -> Any: ...


class MethodDecorator(Protocol):
    """The type of ``@method()``: the ``self`` of the method is no parameter of its Function."""

    # One that returns Any fits every overload, so the first takes it.
    @overload
    def __call__(self, raw: Callable[Concatenate[Any, P], Never], /) -> Decorated[P, Any, Any]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> Decorated[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], AsyncGenerator[R, Any]], /
    ) -> Decorated[P, R, AsyncGenerator[R, Any]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], AsyncIterator[R]], /
    ) -> Decorated[P, R, AsyncIterator[R]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], Generator[R, Any, Any]], /
    ) -> Decorated[P, R, Generator[R, Any, Any]]: ...
    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], Iterator[R]], /
    ) -> Decorated[P, R, Iterator[R]]: ...
    @overload
    def __call__(self, raw: Callable[Concatenate[Any, P], R], /) -> Decorated[P, R, R]: ...


class BatchDecorator(Protocol):
    """The type of ``@batched(...)``: callers pass single values and get one, which parameter types cannot express."""

    @overload
    def __call__(
        self, raw: Callable[..., Coroutine[Any, Any, list[R]]], /
    ) -> Decorated[..., R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(self, raw: Callable[..., list[R]], /) -> Decorated[..., R, list[R]]: ...


def _marking(what: str, **changes: Any) -> Callable[[Any], Any]:
    """Return a decorator that marks a function; see `add_options`."""
    return trimmed(lambda raw: add_options(what, raw, **changes))


def forgotten(what: str, given: tuple[Any, ...]) -> None:
    """Check that there is no positional argument, which is usually the function if parentheses are missing.

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
    """Make a method of an ``@app.cls()`` class callable from other processes.

    Args:
        *given: Nothing; detects missing parentheses.
        is_generator: Whether it is a generator, if the ``def`` does not show that.
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
    """Run a method once in each worker before its first input.

    Args:
        *given: Nothing; detects missing parentheses.
        snap: Whether it runs before the hooks without ``snap``, as in Modal, which takes a snapshot after it.
    """
    forgotten("@nbfn.enter", given)
    check_flag("snap", snap)
    return _marking("@nbfn.enter()", enter="snap" if snap else "plain")


@trimmed
def build(*given: Any, force: bool = False) -> Callable[[F], F]:
    """Run a method in each worker before its `enter` hooks, since nbfn builds no image."""
    forgotten("@nbfn.build", given)
    check_flag("force", force)
    return _marking("@nbfn.build()", enter="build")


@trimmed
def exit(*given: Any) -> Callable[[F], F]:  # noqa: A001 - Modal's name
    """Run a method once in each worker that ends regularly."""
    forgotten("@nbfn.exit", given)
    return _marking("@nbfn.exit()", exit=True)


@trimmed
def concurrent(*given: Any, max_inputs: int, target_inputs: int | None = None) -> Callable[[F], F]:
    """Run several inputs at once in each worker: coroutines as tasks of one event loop, others in threads.

    Args:
        *given: Nothing; detects missing parentheses.
        max_inputs: Most inputs that a worker runs at once.
        target_inputs: Inputs for each worker by which the pool is scaled; ``max_inputs`` when not given.

    Raises:
        InvalidError: If a number is not valid.
    """
    forgotten("@nbfn.concurrent", given)
    found = read_concurrency(max_inputs, target_inputs)
    return _marking("@nbfn.concurrent(...)", concurrency=found)


@trimmed
def batched(*given: Any, max_batch_size: int, wait_ms: float) -> BatchDecorator:
    """Run inputs in batches: callers pass single values, the body gets and returns lists.

    Args:
        *given: Nothing; detects missing parentheses.
        max_batch_size: Inputs in one batch, 1 to 1000.
        wait_ms: Milliseconds to wait for a full batch, 0 to 600000.

    Raises:
        InvalidError: If a number is not valid, the function yields, or it has default arguments.
    """
    forgotten("@nbfn.batched", given)
    found = read_batching(max_batch_size, wait_ms)

    @trimmed
    def decorate(raw: Callable[..., Any]) -> Any:
        check_batched(unwrap(raw)[0])
        return add_options("@nbfn.batched(...)", raw, batching=found)

    return decorate
