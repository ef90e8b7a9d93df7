"""`Cls`: the handle of a registered class; called, it gives an `Instance`, the handle of one object.

A class is a Function of kind "cls": each of its workers holds one object, and a call names a method.
What tells objects apart (parameters, or a constructor's arguments) makes them variants of it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, Self

from nbfn import _unpickle
from nbfn.api.autoscaler import Autoscaled
from nbfn.api.function import Function
from nbfn.api.handle import Handle, check_lookup
from nbfn.api.variant_methods import Varying
from nbfn.api.variants import ConstructorArguments, supplied, varied
from nbfn.client.client import Client
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.definition import HydratedFunction, define_class, not_a_class
from nbfn.client.registration.function_ref import FunctionRef, LocalRef, by_id, by_name
from nbfn.declarations.class_checks import check_arguments
from nbfn.declarations.lifecycle import enter_hooks, give_methods, is_async, made, methods
from nbfn.declarations.options import Options
from nbfn.declarations.parameters import Shape, filled, shape_of
from nbfn.declarations.partial_function import check_batched, unwrapped
from nbfn.declarations.registered import Registered
from nbfn.exception import ExecutionError, InvalidError, NotFoundError
from nbfn.protocol.messages import Variant
from nbfn.runtime.sync import Blocking, blocking
from nbfn.runtime.traceback_filter import trimmed


async def _lookup(
    app_name: str,
    name: str | None = None,
    namespace: Any = None,
    client: Client | None = None,
    environment_name: str | None = None,
    *,
    tag: str | None = None,
) -> Cls:
    """Find a deployed class at once; `from_name` is the newer way.

    Args:
        app_name, name, environment_name, client, tag: As of `from_name`.
        namespace: Accepted for Modal programs, without meaning.

    Raises:
        NotFoundError: If there is none.
    """
    __tracebackhide__ = True
    found = Cls.from_name(app_name, name, environment_name=environment_name, client=client, tag=tag)
    await found._live()
    return found


class Cls(Handle, Varying):
    """A class whose objects live on workers: calling it gives an `Instance`.

    Made by ``@app.cls()`` or found by `from_name`.

    Examples:
        >>> @app.cls()  # doctest: +SKIP
        ... class Model:
        ...     name: str = nbfn.parameter(default="small")
        ...
        ...     @nbfn.enter()
        ...     def load(self):
        ...         self.weights = load(self.name)
        ...
        ...     @nbfn.method()
        ...     def predict(self, x):
        ...         return self.weights @ x
        >>> Model(name="large").predict.remote(x)  # doctest: +SKIP
    """

    __module__ = "nbfn"

    _raw: type | None  # None: its definition is elsewhere
    _options: Options
    _fetched: type | None  # its definition, asked of the hub by a worker

    lookup: ClassVar = Blocking(_lookup)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise InvalidError("A Cls is made by @app.cls() or Cls.from_name(...), not by Cls(...).")

    @classmethod
    def _make(
        cls, name: str, origin: FunctionRef, raw: type | None = None, options: Options | None = None
    ) -> Self:
        self = cls.__new__(cls)
        self._options = options or Options()
        self._name = name
        self._ref = origin
        self._raw = raw
        self._fetched = None
        if raw is not None:
            self.__doc__ = raw.__doc__
        return self

    @functools.cached_property  # not before it is asked for: a class that just travelled is still empty
    def _shape(self) -> Shape | None:
        """What objects of the class are made of; None if its definition is elsewhere."""
        return None if self._raw is None else shape_of(self._raw)

    @classmethod
    def _local(cls, raw: type, name: str, options: Options, scope: AppScope) -> Self:
        for base in raw.__mro__:
            for part in vars(base).values():
                unwrapped(part)  # an App has taken it up
        app = f"App({scope.name!r})" if scope.name else "App()"
        describe = functools.partial(define_class, name, raw, options=options)
        origin = LocalRef(raw, name, f"<Cls {name!r} of {app}>", scope, describe)
        return cls._make(name, origin, raw, options)

    @classmethod
    @trimmed
    def from_name(
        cls,
        app_name: str,
        name: str | None = None,
        namespace: Any = None,
        environment_name: str | None = None,
        *,
        version: int | None = None,
        client: Client | None = None,
        tag: str | None = None,
    ) -> Self:
        """Refer to a class of a deployed App; asks nothing before its first use.

        Args:
            app_name: The App's name.
            name: The class's name in it.
            namespace: Accepted for Modal programs, without meaning.
            environment_name: The environment it was deployed in; "main" when not given.
            version: Stay with this version of the App (see ``nbfn app history``); the newest when not given.
            client: The connection to use; this process's when not given.
            tag: The former name of ``name``.

        Raises:
            InvalidError: If a name is missing or cannot be one.

        Examples:
            >>> Cls.from_name("demo", "Model")
            Cls.from_name('demo', 'Model')
        """
        app, name, where = check_lookup("Cls", app_name, name, tag, version, environment_name)
        origin = by_name(app, name, where, version or 0, "Cls")
        origin.client = client
        return cls._make(name, origin)

    @classmethod
    def _method_of_worker(
        cls, function: str, version: int, name: str, method: str
    ) -> Function[..., Any]:
        """Return a method of the object that this worker holds, to be run by its pool.

        Args:
            function: The id that the worker was bound to.
            version: Its version.
            name: The class's name.
            method: The method's.
        """
        return _method_of_worker(function, version, name, method)

    async def _live(self) -> HydratedFunction:
        __tracebackhide__ = True
        live = await self._ref.live()
        if live.info.kind != "cls":
            live = await self._ref.again()
        if live.info.kind != "cls":
            raise NotFoundError(not_a_class(live.info))
        return live

    @blocking
    async def hydrate(self, client: Client | None = None) -> Cls:
        """Learn from the hub what this class is (registering it if it is local) and return it.

        Args:
            client: The connection that it uses from now on; this process's when not given.

        Raises:
            NotFoundError: If it was looked up by a name that is not deployed, or is none of a class.
            ConnectionError: If no hub answers.
        """
        __tracebackhide__ = True
        await self._hydrate(client)
        return self

    @property
    def object_id(self) -> str:
        """The class's id (``cs-...``).

        Raises:
            AttributeError: If it is not known yet; `hydrate` first.
        """
        if (known := self._ref.id) is None:
            raise AttributeError(f"{self!r} has no id yet: call its hydrate() first.")
        return f"cs-{known[3:]}"

    def _varied(self, changes: Variant, shown: str) -> Self:
        """See `Varying`."""
        if changes.batching is not None and self._raw is not None:
            parts = methods(self._raw).values()
            if not any(part.marks.batching for part in parts):  # then it is for all
                for part in parts:
                    check_batched(part.raw)
        origin = varied(self._ref, changes, shown)
        return self._make(self._name, origin, self._raw, self._options)

    def _class(self) -> type:
        """Return the class itself.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        __tracebackhide__ = True
        if (found := self._definition()) is None:
            raise ExecutionError(
                f"{self!r} has no definition in this process. Call its methods with .remote(...) instead."
            )
        return found  # type: ignore[no-any-return]

    @trimmed
    def __call__(self, /, *args: Any, **kwargs: Any) -> Instance:
        """Return a handle of one object; nothing is run, here or remotely.

        Args:
            *args: Of the class's own constructor; parameters are keywords.
            **kwargs: Its parameters, or more of its constructor.

        Raises:
            InvalidError: If the class has no such parameter.
            TypeError: If its constructor takes no such arguments.
        """
        __tracebackhide__ = True
        if self._shape is not None:
            check_arguments(self._shape, self._name, args, kwargs)
        return Instance(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        raw: type | None = self.__dict__.get("_raw")
        if raw is None or is_protocol(name):
            shown = self.__dict__.get("_name", "Cls")
            raise AttributeError(
                f"Class {shown!r} has no attribute {name!r} here. If it is a method, did you forget to "
                f"instantiate the class first? Write {shown}().{name}."
            )
        if name in methods(raw):
            return UnboundMethod(self._name, name, methods(raw)[name].raw)
        return getattr(raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        elif self._raw is not None:
            setattr(self._raw, name, value)
        else:
            raise AttributeError(f"{self!r} is elsewhere: its attributes cannot be set.")

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._class(),)

    def __instancecheck__(self, thing: object) -> bool:
        return isinstance(thing, self._class())

    def __repr__(self) -> str:
        return self._ref.shown

    def __reduce__(self) -> tuple[Any, ...]:
        # Where it refers to itself the class is there anyway, as what this handle is part of.
        own = self._raw if self._ref.dumping else None
        return _unpickle.cls, (self._name, self._ref, own)


class Instance(Registered, Autoscaled):
    """One object of a class, as `Cls` makes it: its methods are Functions, with one pool of workers.

    For what runs in this process (``.local()``) it makes the object itself, as a worker would.
    """

    __module__ = "nbfn"

    def __init__(self, cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._cls = cls
        self._supplied = ConstructorArguments(args, kwargs)
        self._functions: dict[str, Function[..., Any]] = {}
        self._thing: Any = None  # the object itself, made for what runs here
        self._hooks: list[Callable[[], Any]] = []  # that are still to be run before it does
        self._making = threading.RLock()
        self._entering = asyncio.Lock()

    @functools.cached_property  # not before it is asked for: a class that just travelled is still empty
    def _ref(self) -> FunctionRef:
        shape = self._cls._shape
        if shape is not None and not shape.takes_arguments:
            return self._cls._ref  # all its objects are what the class's own workers hold
        return supplied(self._cls._ref, self._supplied)

    async def _live(self) -> HydratedFunction:
        __tracebackhide__ = True
        live = await self._ref.live()
        if live.info.kind != "cls":
            raise NotFoundError(not_a_class(live.info))
        return live

    async def _pool(self) -> HydratedFunction:
        __tracebackhide__ = True
        return await self._live()

    def _function(self, name: str) -> Function[..., Any]:
        """Return the Function of a method."""
        known = self._functions.get(name)
        if known is None:
            part = methods(self._cls._raw).get(name) if self._cls._raw is not None else None
            known = self._functions[name] = Function._of_object(
                self._ref,
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


class UnboundMethod:
    """A method of a class, without an object: it cannot be called."""

    def __init__(self, cls: str, name: str, raw: Callable[..., Any]) -> None:
        self._cls = cls
        self._method = name
        self.__doc__ = raw.__doc__
        self.__wrapped__ = raw

    def get_raw_f(self) -> Callable[..., Any]:
        """Return the undecorated function."""
        return self.__wrapped__

    def __getattr__(self, name: str) -> Any:
        if is_protocol(name):  # a copy that has nothing yet asks, too
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise AttributeError(
            f"{self!r} has no {name!r}: did you forget to instantiate the class first? "
            f"Write {self._cls}().{self._method}.{name}."
        )

    def __repr__(self) -> str:
        return f"{self._cls}.{self._method}"


@functools.cache  # one worker has one object, and each Function asks the hub once
def _method_of_worker(function: str, version: int, name: str, method: str) -> Function[..., Any]:
    return Function._of_object(by_id(function, name, 0, version), f"{name}()", method)


def _cls_unpickled(name: str, origin: FunctionRef, raw: type | None) -> Cls:
    return Cls._make(name, origin, raw)


def _instance_unpickled(cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Instance:
    return Instance(cls, args, kwargs)


def is_protocol(name: str) -> bool:
    """Return whether Python or IPython asks for it, of the handle and not of the user's class."""
    dunder = name.startswith("__") and name.endswith("__")
    return dunder or name.startswith(("_repr_", "_ipython_"))
