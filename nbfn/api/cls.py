"""`Cls`, a registered class, and `Instance`, an object of it whose methods run on workers.

At the hub a class is a Function of kind "cls": each of its workers holds one object, and a call names a method.
Objects with other parameters or constructor arguments are variants of it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, Self

from nbfn import _unpickle
from nbfn.api import autoscaler, variants
from nbfn.api.function import Function
from nbfn.api.lookup import deployed_ref
from nbfn.api.variants import ConstructorArguments, object_ref, variant_ref
from nbfn.client.client import Client
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.definition import define_class
from nbfn.client.registration.function_ref import (
    FunctionRef,
    HydratedFunction,
    LocalRef,
    not_a_class,
)
from nbfn.client.registration.remote_ref import by_id
from nbfn.declarations.class_checks import check_arguments
from nbfn.declarations.lifecycle import (
    enter_hooks,
    is_async,
    make_object,
    remote_methods,
    set_method_factory,
)
from nbfn.declarations.options import Options
from nbfn.declarations.parameters import ConstructorShape, constructor_shape, with_defaults
from nbfn.declarations.partial_function import check_batched, unwrap
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
    """Look up a deployed class at once; `from_name`, which waits until the first use, is the newer form.

    Args:
        app_name: The App's name.
        name: The class's name in it.
        namespace: Accepted for Modal programs; has no effect.
        client: The connection to use; that of this process when not given.
        environment_name: The environment that it was deployed in; "main" when not given.
        tag: The former name of ``name``.

    Raises:
        NotFoundError: If no such class is deployed.
    """
    __tracebackhide__ = True
    found = Cls.from_name(app_name, name, environment_name=environment_name, client=client, tag=tag)
    await found._resolve()
    return found


class Cls(Registered):
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

    _name: str
    _ref: FunctionRef
    _raw: type | None  # the undecorated class; None if it is not in this process
    _options: Options

    lookup: ClassVar = Blocking(_lookup)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise InvalidError("A Cls is made by @app.cls() or Cls.from_name(...), not by Cls(...).")

    @classmethod
    def _make(
        cls, name: str, ref: FunctionRef, raw: type | None = None, options: Options | None = None
    ) -> Self:
        self = cls.__new__(cls)
        self._options = options or Options()
        self._name = name
        self._ref = ref
        self._raw = raw
        if raw is not None:
            self.__doc__ = raw.__doc__
        return self

    @functools.cached_property  # computed late, since a class that is being unpickled is still empty
    def _shape(self) -> ConstructorShape | None:
        """What its constructor takes; None if its definition is not in this process."""
        return None if self._raw is None else constructor_shape(self._raw)

    @classmethod
    def _local(cls, raw: type, name: str, options: Options, scope: AppScope) -> Self:
        for base in raw.__mro__:
            for part in vars(base).values():
                unwrap(part)  # so that no warning says that an App is missing
        app = f"App({scope.name!r})" if scope.name else "App()"
        describe = functools.partial(define_class, name, raw, options=options)
        ref = LocalRef(raw, name, f"<Cls {name!r} of {app}>", scope, describe)
        return cls._make(name, ref, raw, options)

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
        """Refer to a class of a deployed App, which its first use looks up.

        Args:
            app_name: The App's name.
            name: The class's name in it.
            namespace: Accepted for Modal programs; has no effect.
            environment_name: The environment that it was deployed in; "main" when not given.
            version: Stay with this version of the App (see ``nbfn app history``); the newest when not given.
            client: The connection to use; that of this process when not given.
            tag: The former name of ``name``.

        Raises:
            InvalidError: If a name is missing or not valid.

        Examples:
            >>> Cls.from_name("demo", "Model")
            Cls.from_name('demo', 'Model')
        """
        ref = deployed_ref(
            "Cls", app_name, name, tag=tag, version=version, environment_name=environment_name
        )
        ref.client = client
        return cls._make(ref.name, ref)

    @classmethod
    def _method_of_worker(
        cls, function: str, version: int, name: str, method: str
    ) -> Function[..., Any]:
        """Return the Function of a method of the object that this worker has, which calls the pool.

        Args:
            function: The id of the class that this worker runs.
            version: Its version.
            name: The class's name.
            method: The method's name.
        """
        return _method_of_worker(function, version, name, method)

    async def _resolve(self) -> HydratedFunction:
        """Return what is known of this class, after registering it or looking it up if needed."""
        __tracebackhide__ = True
        known = await self._ref.resolve()
        if known.info.kind != "cls":  # the name may belong to something else since it was looked up
            known = await self._ref.resolve_again()
        if known.info.kind != "cls":
            raise NotFoundError(not_a_class(known.info))
        return known

    @blocking
    async def hydrate(self, client: Client | None = None) -> Cls:
        """Register this class if it is local, otherwise look it up, and return it.

        Args:
            client: The connection that it uses from now on; that of this process when not given.

        Returns:
            This class.

        Raises:
            NotFoundError: If it was looked up by a name that is not deployed, or that of a Function.
            ConnectionError: If no hub answers.
        """
        __tracebackhide__ = True
        await self._ref.hydrate(client)
        await self._resolve()
        return self

    @property
    def is_hydrated(self) -> bool:
        """Whether its id at the hub is known."""
        return self._ref.state is not None

    @property
    def object_id(self) -> str:
        """The class's id (``cs-...``).

        Raises:
            AttributeError: If it is not known yet; `hydrate` first.
        """
        if (known := self._ref.id) is None:
            raise AttributeError(f"{self!r} has no id yet: call its hydrate() first.")
        return f"cs-{known[3:]}"

    with_options = variants.with_options
    with_concurrency = variants.with_concurrency
    with_batching = variants.with_batching

    def _variant(self, changes: Variant, shown: str) -> Self:
        """See `nbfn.api.variants.HasVariants`."""
        if changes.batching is not None and self._raw is not None:
            parts = remote_methods(self._raw).values()
            if not any(part.marks.batching for part in parts):  # then all are batched
                for part in parts:
                    check_batched(part.raw)
        ref = variant_ref(self._ref, changes, shown)
        return self._make(self._name, ref, self._raw, self._options)

    def _class(self) -> type:
        """Return the undecorated class.

        Raises:
            ExecutionError: If its definition is not in this process (it was found by name).
        """
        __tracebackhide__ = True
        found = self._raw if self._raw is not None else self._ref.definition()
        if found is None:
            raise ExecutionError(
                f"{self!r} has no definition in this process. Call its methods with .remote(...) instead."
            )
        return found

    @trimmed
    def __call__(self, /, *args: Any, **kwargs: Any) -> Instance:
        """Return an `Instance`; no code of the class runs, here or remotely.

        Args:
            *args: Arguments of the class's own constructor; parameters are keywords.
            **kwargs: Values of its parameters, or further arguments of its constructor.

        Returns:
            An object whose methods are Functions.

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
        if name in remote_methods(raw):
            return UnboundMethod(self._name, name, remote_methods(raw)[name].raw)
        return getattr(raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        elif self._raw is not None:
            setattr(self._raw, name, value)
        else:
            raise AttributeError(
                f"{self!r} has no definition in this process: its attributes cannot be set."
            )

    def __copy__(self) -> Self:
        """Return the class itself, as for a plain class."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._class(),)

    def __instancecheck__(self, thing: object) -> bool:
        return isinstance(thing, self._class())

    def __repr__(self) -> str:
        return self._ref.shown

    def __reduce__(self) -> tuple[Any, ...]:
        # While its own code is being pickled, the class is part of that.
        own = self._raw if self._ref.pickling else None
        return _unpickle.cls, (self._name, self._ref, own)


class Instance(Registered):
    """An object of a `Cls`: its methods are Functions that share one pool of workers.

    For ``.local()`` it makes the object in this process, as a worker would.
    """

    __module__ = "nbfn"

    def __init__(self, cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._cls = cls
        self._arguments = ConstructorArguments(args, kwargs)
        self._functions: dict[str, Function[..., Any]] = {}
        self._thing: Any = None  # the object itself, once it was made in this process
        self._hooks: list[Callable[[], Any]] = []  # enter hooks that have not run yet
        self._making = threading.RLock()
        self._entering = asyncio.Lock()

    @functools.cached_property  # computed late, since a class that is being unpickled is still empty
    def _ref(self) -> FunctionRef:
        shape = self._cls._shape
        if shape is not None and not shape.takes_arguments:
            return self._cls._ref  # all its objects are alike, so the class's own pool serves them
        return object_ref(self._cls._ref, self._arguments)

    keep_warm = autoscaler.keep_warm
    update_autoscaler = autoscaler.update_autoscaler
    get_current_stats = autoscaler.get_current_stats

    async def _resolve(self) -> HydratedFunction:
        """See `nbfn.api.autoscaler.HasPool`."""
        __tracebackhide__ = True
        known = await self._ref.resolve()
        if known.info.kind != "cls":
            raise NotFoundError(not_a_class(known.info))
        return known

    async def _resolve_pool(self) -> HydratedFunction:
        """See `nbfn.api.autoscaler.HasPool`."""
        __tracebackhide__ = True
        return await self._resolve()

    def _function(self, name: str) -> Function[..., Any]:
        """Return the Function of a method."""
        known = self._functions.get(name)
        if known is None:
            part = remote_methods(self._cls._raw).get(name) if self._cls._raw is not None else None
            known = self._functions[name] = Function._make(
                name,
                self._ref,
                part.raw if part is not None else None,
                part.marks.applied(self._cls._options) if part is not None else None,
                method=name,
                of=repr(self),
                run_local=functools.partial(self._run_local, name),
            )
        return known

    def __getattr__(self, name: str) -> Any:
        if is_protocol(name) or "_cls" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raw = self._cls._raw
        if raw is None:
            if name.startswith("_"):
                raise AttributeError(
                    f"{self!r} has no definition in this process: its attribute {name!r} cannot be read."
                )
            return self._function(name)
        if name in remote_methods(raw):
            return self._function(name)
        return getattr(self._object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        elif self._cls._raw is not None:
            setattr(self._object(), name, value)
        else:
            raise AttributeError(
                f"{self!r} has no definition in this process: its attributes cannot be set."
            )

    def __repr__(self) -> str:
        shown = repr(self._cls) if self._cls._raw is None else self._cls._name
        return f"{shown}({self._arguments})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.instance, (self._cls, self._arguments.args, self._arguments.kwargs)

    # --- in this process -------------------------------------------------------------------------

    def _object(self) -> Any:
        """Return the object in this process, which is made at the first use; its enter hooks run later."""
        __tracebackhide__ = True
        with self._making:
            if self._thing is None:
                cls, given = self._cls._class(), self._arguments
                name, values = self._cls._name, None
                shape = constructor_shape(cls)
                if shape.has_parameters:
                    values = with_defaults(name, shape.parameters, given.kwargs)
                thing = make_object(cls, values, given.args, given.kwargs)
                set_method_factory(thing, self._function)
                self._hooks = enter_hooks(thing)
                self._thing = thing
            return self._thing

    def _run_local(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Run a method in this process, after the enter hooks: all of them if it is async, else those that are not."""
        __tracebackhide__ = True
        thing = self._object()
        part = remote_methods(type(thing)).get(name)
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
    """A method of a class without an object. It cannot be called."""

    def __init__(self, cls: str, name: str, raw: Callable[..., Any]) -> None:
        self._cls = cls
        self._method = name
        self.__doc__ = raw.__doc__
        self.__wrapped__ = raw

    def get_raw_f(self) -> Callable[..., Any]:
        """Return the undecorated function."""
        return self.__wrapped__

    def __getattr__(self, name: str) -> Any:
        if is_protocol(name):  # asked also of a copy that has no attributes yet
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise AttributeError(
            f"{self!r} has no {name!r}: did you forget to instantiate the class first? "
            f"Write {self._cls}().{self._method}.{name}."
        )

    def __repr__(self) -> str:
        return f"{self._cls}.{self._method}"


@functools.cache  # a worker has one object, and each Function is looked up once
def _method_of_worker(function: str, version: int, name: str, method: str) -> Function[..., Any]:
    return Function._make(method, by_id(function, name, 0, version), method=method, of=f"{name}()")


def _cls_unpickled(name: str, ref: FunctionRef, raw: type | None) -> Cls:
    return Cls._make(name, ref, raw)


def _instance_unpickled(cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Instance:
    return Instance(cls, args, kwargs)


def is_protocol(name: str) -> bool:
    """Return whether Python or IPython looks a name up on the `Cls` itself, not on the user's class."""
    dunder = name.startswith("__") and name.endswith("__")
    return dunder or name.startswith(("_repr_", "_ipython_"))
