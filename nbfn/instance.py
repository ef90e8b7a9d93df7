"""`Instance`: the handle of one object of a class: its methods are Functions with one pool of workers.

For what runs in this process (``.local()``) it makes the object itself, as a worker would.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from nbfn import _unpickle
from nbfn.exception import NotFoundError
from nbfn.function import Function
from nbfn.handles.autoscaled import Autoscaled
from nbfn.handles.varied import Supplied, supplied
from nbfn.lifecycle import enter_hooks, give_methods, is_async, made, methods
from nbfn.parameters import filled, shape_of
from nbfn.registration.definition import Live, not_a_class
from nbfn.registration.origin import Origin

if TYPE_CHECKING:
    from nbfn.cls import Cls


class Instance(Autoscaled):
    """One object of a class, as `Cls` makes it: its methods are Functions, with one pool of workers."""

    __module__ = "nbfn"

    def __init__(self, cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._cls = cls
        self._supplied = Supplied(args, kwargs)
        self._functions: dict[str, Function[..., Any]] = {}
        self._thing: Any = None  # the object itself, made for what runs here
        self._hooks: list[Callable[[], Any]] = []  # that are still to be run before it does
        self._making = threading.RLock()
        self._entering = asyncio.Lock()

    @functools.cached_property  # not before it is asked for: a class that just travelled is still empty
    def _origin(self) -> Origin:
        shape = self._cls._shape
        if shape is not None and not shape.takes_arguments:
            return self._cls._origin  # all its objects are what the class's own workers hold
        return supplied(self._cls._origin, self._supplied)

    async def _live(self) -> Live:
        __tracebackhide__ = True
        live = await self._origin.live()
        if live.info.kind != "cls":
            raise NotFoundError(not_a_class(live.info))
        return live

    async def _pool(self) -> Live:
        __tracebackhide__ = True
        return await self._live()

    def _function(self, name: str) -> Function[..., Any]:
        """Return the Function of a method."""
        known = self._functions.get(name)
        if known is None:
            part = methods(self._cls._raw).get(name) if self._cls._raw is not None else None
            known = self._functions[name] = Function._of_object(
                self._origin,
                repr(self),
                name,
                raw=part.raw if part is not None else None,
                options=part.marks.applied(self._cls._options) if part is not None else None,
                here=functools.partial(self._run_here, name),
            )
        return known

    def __getattr__(self, name: str) -> Any:
        if is_protocol(name) or "_cls" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raw = self._cls._raw
        if raw is None:
            if name.startswith("_"):
                raise AttributeError(
                    f"{self!r} is elsewhere: its attribute {name!r} cannot be read."
                )
            return self._function(name)
        if name in methods(raw):
            return self._function(name)
        return getattr(self._object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        elif self._cls._raw is not None:
            setattr(self._object(), name, value)
        else:
            raise AttributeError(f"{self!r} is elsewhere: its attributes cannot be set.")

    def __repr__(self) -> str:
        shown = repr(self._cls) if self._cls._raw is None else self._cls._name
        return f"{shown}({self._supplied})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.instance, (self._cls, self._supplied.args, self._supplied.kwargs)

    # --- in this process -------------------------------------------------------------------------

    def _object(self) -> Any:
        """Return the object itself, made now if need be; its enter hooks wait for the first method."""
        __tracebackhide__ = True
        with self._making:
            if self._thing is None:
                cls, given = self._cls._class(), self._supplied
                name, values = self._cls._name, None
                shape = shape_of(cls)
                if shape.has_parameters:
                    values = filled(name, shape.parameters, given.kwargs)
                thing = made(cls, values, given.args, given.kwargs)
                give_methods(thing, self._function)
                self._hooks = enter_hooks(thing)
                self._thing = thing
            return self._thing

    def _run_here(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Run a method in this process, after the enter hooks that can be run from it."""
        __tracebackhide__ = True
        thing = self._object()
        part = methods(type(thing)).get(name)
        if part is None:
            raise NotFoundError(f"Class {self._cls._name!r} has no method {name!r}.")
        if inspect.iscoroutinefunction(part.raw):
            return self._awaited(part.raw(thing, *args, **kwargs))
        if inspect.isasyncgenfunction(part.raw):
            return self._iterated(part.raw(thing, *args, **kwargs))
        with self._making:
            for hook in [hook for hook in self._hooks if not is_async(hook)]:
                hook()
                self._hooks.remove(hook)
        return part.raw(thing, *args, **kwargs)

    async def _enter(self) -> None:
        async with self._entering:
            while self._hooks:
                came = self._hooks[0]()
                if inspect.isawaitable(came):
                    await came
                del self._hooks[0]

    async def _awaited(self, running: Awaitable[Any]) -> Any:
        await self._enter()
        return await running

    async def _iterated(self, running: AsyncIterator[Any]) -> AsyncIterator[Any]:
        await self._enter()
        async for value in running:
            yield value


def _instance_travelled(cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Instance:
    return Instance(cls, args, kwargs)


def is_protocol(name: str) -> bool:
    """Return whether Python or IPython asks for it, of the handle and not of the user's class."""
    dunder = name.startswith("__") and name.endswith("__")
    return dunder or name.startswith(("_repr_", "_ipython_"))
