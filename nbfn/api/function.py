"""`Function`: a registered callable, with the methods that call it on workers."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, Self, TypeVar

from nbfn import _unpickle, context
from nbfn.api import autoscaler, endpoint_checks, variants
from nbfn.api.call import FunctionCall
from nbfn.api.lookup import deployed_ref
from nbfn.api.variants import has_options, local_ref
from nbfn.client.calls.active_call import COUNTED, SingleCall, throttle
from nbfn.client.calls.durable_call import DurableCall
from nbfn.client.calls.generator_call import GeneratorItems
from nbfn.client.calls.input_iterator import InputIterator
from nbfn.client.calls.map_result import MapResult, each
from nbfn.client.client import Client
from nbfn.client.logs import LogsManager
from nbfn.client.registration.app_like import AppLike
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.definition import define, generates
from nbfn.client.registration.function_ref import FunctionRef, HydratedFunction, LocalRef
from nbfn.declarations import partial_function
from nbfn.declarations.lifecycle import remote_methods
from nbfn.declarations.options import Options
from nbfn.declarations.registered import Registered
from nbfn.exception import DeserializationError, ExecutionError, InvalidError, NotFoundError
from nbfn.protocol.messages import Variant
from nbfn.runtime.stream import Stream, streaming
from nbfn.runtime.sync import Blocking, blocking, callers_loop, run
from nbfn.runtime.traceback_filter import trimmed
from nbfn.types import FunctionOrigin

P = ParamSpec("P")
R = TypeVar("R")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultingTypeVar

    Original = DefaultingTypeVar("Original", default=R)
else:  # defaults of type variables are for checkers; `typing` has them from Python 3.13 on
    Original = TypeVar("Original")

#: Warns of a random generator among the keyword arguments of a map.
_EACH_A_COPY = (
    "Function {!r} is mapped with the random generator {{!r}} in kwargs: every input gets a copy of it and draws "
    "the same numbers."
)


async def _lookup(
    app_name: str,
    name: str | None = None,
    namespace: Any = None,
    client: Client | None = None,
    environment_name: str | None = None,
    *,
    tag: str | None = None,
) -> Function[..., Any]:
    """Look up a deployed Function at once; `from_name`, which waits until the first use, is the newer form.

    Args:
        app_name: The App's name.
        name: The Function's name in it.
        namespace: Accepted for Modal programs; has no effect.
        client: The connection to use; that of this process when not given.
        environment_name: The environment that it was deployed in; "main" when not given.
        tag: The former name of ``name``.

    Raises:
        NotFoundError: If no such Function is deployed.
    """
    __tracebackhide__ = True
    found: Function[..., Any] = Function.from_name(
        app_name, name, environment_name=environment_name, client=client, tag=tag
    )
    await found._resolve()
    return found


class Function(Registered, Generic[P, R, Original]):
    """A callable that runs on the workers of its pool.

    Made by ``@app.function()`` or found by `from_name`. The first call registers it or looks it up.

    Examples:
        >>> app = App()  # doctest: +SKIP
        >>> @app.function()  # doctest: +SKIP
        ... def square(x):
        ...     return x * x
        >>> square.remote(3), list(square.map(range(4)))  # doctest: +SKIP
        (9, [0, 1, 4, 9])
    """

    __module__ = "nbfn"

    _name: str
    _ref: FunctionRef
    _method: str  # of a class; empty for a function
    _object: str  # the repr of the object whose method this is
    _raw: Callable[..., Any] | None  # the undecorated function; None if it is not in this process
    _options: Options
    _run_local: Callable[..., Any] | None  # runs a method in this process
    __name__: str
    __wrapped__: Callable[..., Any]

    lookup: ClassVar = Blocking(_lookup)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise InvalidError(
            "A Function is made by @app.function() or Function.from_name(...), not by Function(...)."
        )

    def __class_getitem__(cls, parameters: Any) -> Any:  # the third defaults to the second
        if isinstance(parameters, tuple) and len(parameters) == 2:
            parameters = (*parameters, parameters[1])
        return super().__class_getitem__(parameters)  # type: ignore[misc]

    @classmethod
    def _make(
        cls,
        name: str,
        ref: FunctionRef,
        raw: Callable[..., Any] | None = None,
        options: Options | None = None,
        *,
        method: str = "",
        of: str = "",
        run_local: Callable[..., Any] | None = None,
    ) -> Self:
        """Return a Function.

        Args:
            name: Its name.
            ref: What it refers to; of a method, the object's.
            raw: The undecorated function, if it is in this process.
            options: Those of its decorator.
            method: The name of the method, if it is one.
            of: The repr of the object whose method it is.
            run_local: Runs the method in this process.
        """
        self = cls.__new__(cls)
        self._name, self._ref = name, ref
        self._method, self._object = method, of
        self._raw, self._options = raw, options or Options()
        self._run_local = run_local
        if raw is not None:
            self.__doc__ = raw.__doc__
            self.__name__ = name
            self.__wrapped__ = raw.__get__(raw) if method else raw  # its signature has no self
        return self

    @classmethod
    def _local(cls, raw: Callable[..., Any], name: str, options: Options, scope: AppScope) -> Self:
        """Return the Function of a ``def`` in this process."""
        app = f"App({scope.name!r})" if scope.name else "App()"
        describe = functools.partial(define, name, raw, options=options)
        ref = LocalRef(raw, name, f"<Function {name!r} of {app}>", scope, describe)
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
    ) -> Function[..., Any]:
        """Refer to a Function of a deployed App or of a ``%%remote`` cell, which its first use looks up.

        Args:
            app_name: The App's name.
            name: The Function's name in it.
            namespace: Accepted for Modal programs; has no effect.
            environment_name: The environment that it was deployed in; "main" when not given.
            version: Stay with this version of the App (see ``nbfn app history``); the newest when not given.
            client: The connection to use; that of this process when not given.
            tag: The former name of ``name``.

        Raises:
            InvalidError: If a name is missing or not valid.

        Examples:
            >>> Function.from_name("demo", "square")
            Function.from_name('demo', 'square')
        """
        ref = deployed_ref(
            "Function", app_name, name, tag=tag, version=version, environment_name=environment_name
        )
        if "." in ref.name:
            cls_name, _, method = ref.name.partition(".")
            raise InvalidError(
                f"{ref.name!r} is a method of a class, not a Function: "
                f"use Cls.from_name({app_name!r}, {cls_name!r})().{method}."
            )
        ref.client = client
        return cls._make(ref.name, ref)

    if not TYPE_CHECKING:  # type checkers report such a call themselves

        @trimmed
        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            """Raise a TypeError that names `remote` and `local`."""
            __tracebackhide__ = True
            raise TypeError(
                f"'Function' object is not callable. Use {self._name}.remote(...) to run it on a worker, "
                f"or {self._name}.local(...) to run it here."
            )

    # --- registration ----------------------------------------------------------------------------

    async def _resolve(self) -> HydratedFunction:
        """Return what is known of this Function, after registering it or looking it up if needed."""
        __tracebackhide__ = True
        known = self._ref.current() or await self._ref.resolve()
        try:
            return known.of(self._method)
        except NotFoundError:  # the name may belong to something else since it was looked up
            return (await self._ref.resolve_again()).of(self._method)

    async def _resolve_callable(self, way: str, *, generator: bool = False) -> HydratedFunction:
        """Resolve it for a call.

        Args:
            way: The method that calls it, such as "map".
            generator: Whether it must be a generator; otherwise it must not be one.

        Raises:
            InvalidError: If it is a web endpoint, which only HTTP requests call, or the wrong kind of function.
        """
        __tracebackhide__ = True
        known = await self._resolve()
        info = known.info
        if info.endpoint is not None:
            raise endpoint_checks.not_called(info.name, info.web_url, way)
        if info.is_generator and not generator:
            raise InvalidError(_NO_GENERATOR.get(way, _NOT_CALLED_WITH).format(way))
        if generator and not info.is_generator:
            raise InvalidError(
                "This Function is not a generator: call it with .remote(...) instead."
            )
        return known

    async def _resolve_pool(self) -> HydratedFunction:
        """See `nbfn.api.autoscaler.HasPool`."""
        __tracebackhide__ = True
        if self._method:
            raise InvalidError(
                f"The methods of an object share its workers: call this on {self._object}, "
                f"not on its method {self._method!r}."
            )
        return await self._resolve()

    def _variant(self, changes: Variant, shown: str) -> Self:
        """See `nbfn.api.variants.HasVariants`."""
        if self._method:
            raise InvalidError(
                f"{self!r} is a method: make the variant of its class, Cls.with_options(...)."
            )
        if self._options.endpoint is not None:
            raise endpoint_checks.no_variants(self._name)
        if changes.batching is not None and self._raw is not None:
            partial_function.check_batched(self._raw)
        ref = variants.variant_ref(self._ref, changes, shown)
        return self._make(self._name, ref, self._raw, self._options)

    with_options = variants.with_options
    with_concurrency = variants.with_concurrency
    with_batching = variants.with_batching
    keep_warm = autoscaler.keep_warm
    update_autoscaler = autoscaler.update_autoscaler
    get_current_stats = autoscaler.get_current_stats

    @blocking
    async def hydrate(self, client: Client | None = None) -> Function[P, R, Original]:
        """Register this Function if it is local, otherwise look it up, and return it.

        Args:
            client: The connection that it uses from now on; that of this process when not given.

        Returns:
            This Function.

        Raises:
            NotFoundError: If it was looked up by a name that is not deployed.
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
        """The Function's id (``fu-...``).

        Raises:
            AttributeError: If it is not known yet; `hydrate` first.
        """
        if (known := self._ref.id) is None:
            raise AttributeError(f"{self!r} has no id yet: call it, or its hydrate(), first.")
        return known

    @property
    def is_generator(self) -> bool:
        """Whether it yields, so that `remote_gen` calls it. Asks the hub for one found by name."""
        if self._raw is not None:
            return generates(self._raw, self._options)
        return run(self._resolve()).info.is_generator

    @property
    def web_url(self) -> str | None:
        """The URL of a web endpoint, None for other Functions; asks the hub if it is not known yet."""
        return self.get_web_url()

    @blocking
    async def get_web_url(self) -> str | None:
        """Return the URL of a web endpoint, None for other Functions.

        Raises:
            InvalidError: If it is a method of a variant: its class gets the requests.
            NotFoundError: If it was looked up by a name that is not deployed.
            ConnectionError: If no hub answers.
        """
        __tracebackhide__ = True
        if self._raw is not None and self._options.endpoint is None:
            return None
        info = (await self._resolve()).info
        if info.endpoint is not None and has_options(self._ref):
            raise endpoint_checks.no_variants(f"{self._ref.name}.{self._method}")
        return info.web_url or None

    @property
    def logs(self) -> LogsManager:
        """The output of its inputs: ``fetch``, ``tail`` and ``stream``."""

        async def scope() -> dict[str, str]:
            return {"function": (await self._resolve()).info.id}

        return LogsManager(scope, self._ref.client)

    def get_dashboard_url(self) -> None:
        """Return None: nbfn has no web dashboard; its panel in JupyterLab shows the Function."""

    @property
    def tag(self) -> str:
        """Its name in its App."""
        return self._name

    @property
    def app(self) -> AppLike:
        """The App that made it.

        Raises:
            ExecutionError: If its definition is not in this process (it was found by name).
        """
        self.get_raw_f()
        app = local_ref(self._ref).scope.app
        assert app is not None
        return app

    @property
    def info(self) -> FunctionOrigin:
        """Where it is defined.

        Raises:
            ExecutionError: If its definition is not in this process (it was found by name).
        """
        return FunctionOrigin.of(self.get_raw_f(), self._name)

    @property
    def spec(self) -> Options:
        """The options of its decorator.

        Raises:
            ExecutionError: If its definition is not in this process (it was found by name).
        """
        self.get_raw_f()
        return self._options

    # --- calls -----------------------------------------------------------------------------------

    @blocking
    async def remote(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it on a worker with these arguments and return its result.

        Raises:
            InvalidError: If it is a generator; use `remote_gen`.
            SerializationError: If an argument cannot be pickled; nothing was sent then.
            Exception: What the function raised, with its remote traceback.
        """
        __tracebackhide__ = True
        hydrated = self._ref.current()
        if hydrated is None or self._method or not hydrated.callable:
            hydrated = await self._resolve_callable("remote")
        running = context.current()
        parent = context.input_name(running) if running else ""
        # The code of an input does not wait for room: what takes it may wait for that input.
        if throttle.full and not parent:
            await throttle.room()
        payload = hydrated.pickle(args, kwargs)
        call = SingleCall(
            hydrated.client, hydrated.info, "remote", payload, hydrated.version, parent
        )
        counted = len(payload.data) >= COUNTED or bool(payload.segments)
        if counted:
            throttle.enter(payload.weight)
        try:
            hydrated.client.open(call)
            return await call.result()  # type: ignore[no-any-return]
        except DeserializationError as error:
            if call.was_not_loaded and (sentence := hydrated.unloadable()):
                error.add_note(sentence)
            raise
        finally:
            if counted:
                throttle.leave(payload.weight)

    @streaming
    def remote_gen(self, /, *args: P.args, **kwargs: P.kwargs) -> Stream[R]:
        """Run a generator on a worker and iterate over what it yields, while it runs.

        The call begins when the result is iterated. Leaving the loop early cancels it, and its ``finally`` runs.

        Raises:
            InvalidError: At the first item, if the function is not a generator; use `remote`.
            Exception: After the items before it, what the function raised.
        """
        return GeneratorItems(
            functools.partial(self._resolve_callable, "remote_gen", generator=True), args, kwargs
        )

    @blocking
    async def spawn(self, /, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        """Begin a call and return it once it is stored: it survives this process and the hub.

        Raises:
            InvalidError: If it is a generator.
            SerializationError: If an argument cannot be pickled; nothing was sent then.
        """
        __tracebackhide__ = True
        hydrated = await self._resolve_callable("spawn")
        if throttle.full:
            await throttle.room()
        payload = hydrated.pickle(args, kwargs, durable=True)
        call = DurableCall(
            hydrated.client,
            hydrated.info,
            version=hydrated.version,
            parent=context.spawning_input(),
            total=1,
        )
        throttle.enter(payload.weight)
        try:
            call.put(payload)
            await call.stored()
        finally:
            throttle.leave(payload.weight)
        return FunctionCall._make(call.id, hydrated.info.name, self._ref.client)

    @streaming
    def map(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: Mapping[str, Any] = {},
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> Stream[R]:
        """Run it for each set of arguments, in parallel, and iterate over the results.

        The call begins when the result is iterated. A helper thread reads the inputs, only so far ahead of the results
        that were taken; leaving the loop early cancels the rest.

        Args:
            *input_iterators: One iterable for each argument, plain or async; the shortest ends the inputs.
            kwargs: Keyword arguments, the same for every input.
            order_outputs: Whether results come in the order of the inputs, otherwise as they are ready.
            return_exceptions: Whether exceptions are returned as results instead of being raised.
            wrap_returned_exceptions: Accepted for Modal programs; exceptions are never wrapped.

        Raises:
            InvalidError: At the first result, if it is a generator.
            Exception: The first failure to arrive.
        """
        return self._map(
            "map", InputIterator(input_iterators), kwargs, order_outputs, return_exceptions
        )

    @streaming
    def starmap(
        self,
        input_iterator: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        kwargs: Mapping[str, Any] = {},
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> Stream[R]:
        """Run it for each sequence of arguments; otherwise as `map`.

        Raises:
            TypeError: If an input is not iterable.
        """
        return self._map(
            "starmap",
            InputIterator((input_iterator,), spread=True),
            kwargs,
            order_outputs,
            return_exceptions,
        )

    @blocking
    async def for_each(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: Mapping[str, Any] = {},
        ignore_exceptions: bool = False,
    ) -> None:
        """Run it for each set of arguments, ignore the results, and return when all are done.

        Args:
            *input_iterators: One iterable for each argument; the shortest ends the inputs.
            kwargs: Keyword arguments, the same for every input.
            ignore_exceptions: Whether to ignore the failures of inputs.

        Raises:
            Exception: The first failure to arrive, unless ignored.
        """
        __tracebackhide__ = True
        results: MapResult[Any] = self._map(
            "for_each", InputIterator(input_iterators), kwargs, False, ignore_exceptions
        )
        results.keep_values = False
        await each(results)

    @blocking
    async def spawn_map(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: Mapping[str, Any] = {},
    ) -> FunctionCall[R]:
        """Begin one call with an input for each set of arguments, and return it once all of them are stored.

        Inputs are stored as they are read, so that memory stays bounded. The call survives this process and the hub.

        Args:
            *input_iterators: One iterable for each argument; the shortest ends the inputs.
            kwargs: Keyword arguments, the same for every input.

        Raises:
            InvalidError: If it is a generator.
            Exception: What an iterable raised, or the error of an argument that cannot be pickled; the stored inputs of
                the call are cancelled then.
        """
        __tracebackhide__ = True
        hydrated = await self._resolve_callable("spawn_map")
        self._warn_of_generators(kwargs, hydrated.info.name)
        inputs, fixed = InputIterator(input_iterators), dict(kwargs)
        call = DurableCall(
            hydrated.client,
            hydrated.info,
            version=hydrated.version,
            parent=context.spawning_input(),
            total=inputs.known(),
        )
        loop = await callers_loop()
        call.begin(inputs, lambda args: hydrated.pickle(args, fixed, durable=True), loop)
        await call.stored()
        return FunctionCall._make(call.id, hydrated.info.name, self._ref.client)

    #: Modal's name of `spawn_map` while it was an experiment.
    experimental_spawn_map = spawn_map

    def _map(
        self,
        way: str,
        inputs: InputIterator,
        kwargs: Mapping[str, Any],
        order_outputs: bool,
        return_exceptions: bool,
    ) -> MapResult[Any]:
        async def begin() -> HydratedFunction:
            hydrated = await self._resolve_callable(way)
            self._warn_of_generators(kwargs, hydrated.info.name)
            return hydrated

        return MapResult(
            way,
            begin,
            inputs,
            dict(kwargs),
            ordered=order_outputs,
            returning=return_exceptions,
            parent=context.current_input(),
        )

    def _warn_of_generators(self, kwargs: Mapping[str, Any], name: str) -> None:
        """Warn, once, of a random generator that every input of a map gets a copy of."""
        if kwargs:
            self._ref.look_for_generators(kwargs.items(), _EACH_A_COPY.format(name))

    # --- in this process -------------------------------------------------------------------------

    @trimmed
    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> Original:
        """Run it in this thread, as if it had never been decorated.

        Raises:
            ExecutionError: If its definition is not in this process (it was found by name).
        """
        __tracebackhide__ = True
        return (self._run_local or self.get_raw_f())(*args, **kwargs)  # type: ignore[no-any-return]

    @trimmed
    def get_raw_f(self) -> Callable[..., Any]:
        """Return the undecorated function.

        Raises:
            ExecutionError: If its definition is not in this process (it was found by name).
        """
        __tracebackhide__ = True
        if self._raw is not None:
            return self._raw
        if (found := self._ref.definition()) is None:
            raise ExecutionError(
                f"{self!r} has no definition in this process. Call it with .remote(...) instead."
            )
        raw: Callable[..., Any] = remote_methods(found)[self._method].raw if self._method else found
        return raw

    def __copy__(self) -> Self:
        """Return the Function itself, as for a plain function."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return f"{self._object}.{self._method}" if self._method else self._ref.shown

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.function, (self._name, self._ref, self._object, self._method)


#: What a call of a generator with a method for other Functions raises.
_NOT_CALLED_WITH = (
    "A generator Function cannot be called with .{}(...). Use .remote_gen(...) instead."
)
_NO_GENERATOR = {
    "spawn": "Cannot spawn a generator Function. Use .remote_gen(...) instead.",
}


def _unpickled(name: str, ref: FunctionRef, of: str, method: str) -> Function[..., Any]:
    return Function._make(method or name, ref, method=method, of=of)
