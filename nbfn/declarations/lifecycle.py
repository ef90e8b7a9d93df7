"""Creates objects of ``@app.cls()`` classes and finds their remote methods and hooks, for workers and ``.local``."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nbfn.declarations.parameters import declared_parameters, decode_values
from nbfn.declarations.partial_function import METHODS, PartialFunction


def decorated_methods(cls: type) -> dict[str, PartialFunction]:
    """Return the decorated functions of a class and its bases, in order of definition, without overridden ones."""
    found: dict[str, PartialFunction] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, PartialFunction):
                found[name] = value
            else:
                found.pop(name, None)
    return found


def remote_methods(cls: type) -> dict[str, PartialFunction]:
    """Return the methods of a class that can be called remotely."""
    return {name: part for name, part in decorated_methods(cls).items() if part.marks.callable}


def make_object(cls: type, values: Mapping[str, Any] | None, args: Any, kwargs: Any) -> Any:
    """Create an object of a class.

    Args:
        cls: The class.
        values: The values of its parameters; None to call the constructor.
        args: The positional arguments of the constructor.
        kwargs: The keyword arguments of the constructor.
    """
    __tracebackhide__ = True
    if values is None:
        return cls(*args, **kwargs)
    thing: Any = cls.__new__(cls)  # type: ignore[call-overload]
    for name, value in values.items():
        setattr(thing, name, value)
    return thing


def make_from_handle(cls: type, supplied: bytes | None, load: Callable[[], tuple[Any, Any]]) -> Any:
    """Create the object of a handle from the arguments of the handle.

    Args:
        cls: The class of the user.
        supplied: The encoded values of its parameters; None if there are none.
        load: Function that returns the arguments of the constructor, for a class without parameters.
    """
    __tracebackhide__ = True
    if has_parameters(cls):
        return make_object(cls, decode_values(supplied) if supplied is not None else {}, (), {})
    args, kwargs = load()
    return make_object(cls, None, args, kwargs)


def set_method_factory(thing: object, make: Callable[[str], Any]) -> None:
    """Enable ``self.method.remote(...)`` in the methods of an object.

    Args:
        thing: The object of the user.
        make: Function that returns the Function of a method by name.
    """
    with contextlib.suppress(AttributeError, TypeError):  # an object with __slots__ cannot store it
        object.__setattr__(thing, METHODS, make)


def has_parameters(cls: type) -> bool:
    """Return whether a class declares parameters."""
    return bool(declared_parameters(cls))


def enter_hooks(thing: Any) -> list[Callable[[], Any]]:
    """Return the hooks to call before the first input of an object: build, then snap, then other enter hooks."""
    order = ("build", "snap", "plain")
    parts = [part for part in decorated_methods(type(thing)).values() if part.marks.enter in order]
    parts.sort(key=lambda part: order.index(part.marks.enter))
    return [
        *_context_methods(thing, "__aenter__", "__enter__"),
        *(part.raw.__get__(thing) for part in parts),
    ]


def exit_hooks(thing: Any) -> list[Callable[[], Any]]:
    """Return the hooks to call after the last input of an object."""
    parts = [part for part in decorated_methods(type(thing)).values() if part.marks.exit]
    return [
        *(part.raw.__get__(thing) for part in parts),
        *map(_call_exit, _context_methods(thing, "__aexit__", "__exit__")),
    ]


def _context_methods(thing: object, *names: str) -> list[Callable[..., Any]]:
    """Return the first of these methods that an object has; hooks of a class without decorators."""
    return [getattr(thing, name) for name in names if hasattr(type(thing), name)][:1]


def has_exit_hooks(cls: type) -> bool:
    """Return whether a class has exit hooks."""
    return (
        any(part.marks.exit for part in decorated_methods(cls).values())
        or hasattr(cls, "__exit__")
        or hasattr(cls, "__aexit__")
    )


def _call_exit(leave: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: leave(None, None, None)


def is_async(hook: Callable[[], Any]) -> bool:
    """Return whether a hook must be awaited."""
    return inspect.iscoroutinefunction(hook)


def call_hook(hook: Callable[[], Any], wait: Callable[[Awaitable[Any]], Any]) -> None:
    """Call a hook and wait until it is done.

    Args:
        hook: The hook.
        wait: Function that runs the awaitable of an async hook to completion.
    """
    __tracebackhide__ = True
    if inspect.isawaitable(came := hook()):
        wait(came)
