"""Makes objects of ``@app.cls()`` classes, and finds their remote methods and hooks, for workers and ``.local``."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nbfn.declarations.parameters import declared_parameters, decode_values
from nbfn.declarations.partial_function import METHODS, PartialFunction


def decorated_methods(cls: type) -> dict[str, PartialFunction]:
    """Return the decorated functions of a class and its bases, in order; an override replaces one of a base."""
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
    """Make an object from the values of its parameters, or with its constructor if ``values`` is None."""
    __tracebackhide__ = True
    if values is None:
        return cls(*args, **kwargs)
    thing: Any = cls.__new__(cls)  # type: ignore[call-overload]
    for name, value in values.items():
        setattr(thing, name, value)
    return thing


def make_from_handle(cls: type, supplied: bytes | None, load: Callable[[], tuple[Any, Any]]) -> Any:
    """Make the object of a handle from the arguments of the handle.

    Args:
        cls: The user's class.
        supplied: The encoded values of its parameters; None if none were given.
        load: Returns the arguments of its constructor, if it has no parameters.
    """
    __tracebackhide__ = True
    if has_parameters(cls):
        return make_object(cls, decode_values(supplied) if supplied is not None else {}, (), {})
    args, kwargs = load()
    return make_object(cls, None, args, kwargs)


def set_method_factory(thing: object, make: Callable[[str], Any]) -> None:
    """Let an object's ``self.method.remote(...)`` find the method's Function.

    Args:
        thing: The user's object.
        make: Gives the Function of a method by name.
    """
    with contextlib.suppress(AttributeError, TypeError):  # one with __slots__ has no room for it
        object.__setattr__(thing, METHODS, make)


def has_parameters(cls: type) -> bool:
    """Return whether a class declares parameters."""
    return bool(declared_parameters(cls))


def enter_hooks(thing: Any) -> list[Callable[[], Any]]:
    """Return the hooks to call before an object's first input: build, then snap, then the rest."""
    legacy = [way for way in ("__aenter__", "__enter__") if hasattr(type(thing), way)]
    parts = decorated_methods(type(thing)).values()
    ordered = [
        part for kind in ("build", "snap", "plain") for part in parts if part.marks.enter == kind
    ]
    return [
        *(getattr(thing, way) for way in legacy[:1]),
        *(part.raw.__get__(thing) for part in ordered),
    ]


def exit_hooks(thing: Any) -> list[Callable[[], Any]]:
    """Return the hooks to call after an object's last input."""
    parts = [part for part in decorated_methods(type(thing)).values() if part.marks.exit]
    legacy = [way for way in ("__aexit__", "__exit__") if hasattr(type(thing), way)]
    return [
        *(part.raw.__get__(thing) for part in parts),
        *(_call_exit(getattr(thing, way)) for way in legacy[:1]),
    ]


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
    """Call a hook; ``wait`` runs the awaitable that an async hook returns."""
    __tracebackhide__ = True
    if inspect.isawaitable(came := hook()):
        wait(came)
