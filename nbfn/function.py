"""`Function`: the handle of one registered callable; every way to call it and to manage its pool."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, Self, TypeVar

from nbfn import context, endpoint, marks
from nbfn.autoscaled import Autoscaled
from nbfn.call import FunctionCall
from nbfn.client import Client
from nbfn.definition import Home, Live, define, generates
from nbfn.durable import DurableCall
from nbfn.exception import Detached, ExecutionError, InvalidError, NotFoundError
from nbfn.inputs import Inputs
from nbfn.logs import LogsManager
from nbfn.mapping import MapResult, each
from nbfn.options import Options, check_name
from nbfn.origin import Origin, Written, by_name, fetched
from nbfn.retries import is_int
from nbfn.single import GeneratorCall, SingleCall
from nbfn.sync import Blocking, Stream, blocking, callers_loop, run, streaming
from nbfn.types import FunctionOrigin
from nbfn.varied import travelled, varied, written
from nbfn.varying import Varying
from nbfn.wire.messages import Variant

P = ParamSpec("P")
R = TypeVar("R")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultingTypeVar

    from nbfn.app import App

    Original = DefaultingTypeVar("Original", default=R)
else:  # defaults of type variables are for checkers; `typing` has them from Python 3.13 on
    Original = TypeVar("Original")


async def _lookup(
    app_name: str,
    name: str | None = None,
    namespace: Any = None,
    client: Client | None = None,
    environment_name: str | None = None,
    *,
    tag: str | None = None,
) -> Function[..., Any]:
    __tracebackhide__ = True
    found: Function[..., Any] = Function.from_name(
        app_name, name, environment_name=environment_name, client=client, tag=tag
    )
    await found._live()
    return found


class Function(Autoscaled, Varying, Generic[P, R, Original]):
    """A callable that runs on the workers of its pool.

    Made by ``@app.function()`` or found by `from_name`; its methods register it by themselves when
    they first need to.

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
    _origin: Origin
    _method: str  # of a class; empty for a function
    _object: str  # how the object prints whose method it is
    _raw: Callable[..., Any] | None  # None: its definition is elsewhere
    _options: Options
    _fetched: Callable[..., Any] | None  # its definition, asked of the hub by a worker
    _here: Callable[..., Any] | None  # how a method is run in this process
    __name__: str
    __wrapped__: Callable[..., Any]

    #: Finds a deployed Function at once; `from_name` is the newer way.
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
    def _make(cls, name: str, origin: Origin, method: str = "") -> Self:
        self = cls.__new__(cls)
        self._name = name
        self._origin = origin
        self._method = method
        self._object = ""
        self._raw = self._fetched = self._here = None
        self._options = Options()
        return self

    @classmethod
    def _local(cls, raw: Callable[..., Any], name: str, options: Options, home: Home) -> Self:
        app = f"App({home.name!r})" if home.name else "App()"
        describe = functools.partial(define, name, raw, options=options)
        origin = Written(raw, name, f"<Function {name!r} of {app}>", home, describe)
        self = cls._make(name, origin)
        self._dress(raw, options)
        return self

    def _dress(self, raw: Callable[..., Any] | None, options: Options) -> None:
        """Make it look like the function that it was made of, which is in this process."""
        self._raw, self._options = raw, options
        if raw is not None:
            self.__doc__ = raw.__doc__
            self.__name__ = self._name
            self.__wrapped__ = raw

    @classmethod
    def _of_object(
        cls,
        origin: Origin,
        of: str,
        method: str,
        raw: Callable[..., Any] | None = None,
        options: Options | None = None,
        here: Callable[..., Any] | None = None,
    ) -> Self:
        """Return a method of an object.

        Args:
            origin: The object's.
            of: How the object prints.
            method: The method's name.
            raw: The undecorated function, where it is known.
            options: What its marks say.
            here: Runs it in this process.
        """
        self = cls._make(method, origin, method)
        self._object = of
        self._dress(raw, options or Options())
        self._here = here
        return self

    @classmethod
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
        """Refer to a Function of a deployed App or of a ``%%remote`` cell; asks nothing before its first use.

        Args:
            app_name: The App's name.
            name: The Function's name in it.
            namespace: Accepted for Modal programs, without meaning.
            environment_name: The environment it was deployed in; "main" when not given.
            version: Stay with this version of the App (see ``nbfn app history``); the newest when not given.
            client: The connection to use; this process's when not given.
            tag: The former name of ``name``.

        Raises:
            InvalidError: If a name is missing or cannot be one.

        Examples:
            >>> Function.from_name("demo", "square")
            Function.from_name('demo', 'square')
        """
        name = check_lookup("Function", app_name, name, tag, version)
        if "." in name:
            cls_name, _, method = name.partition(".")
            raise InvalidError(
                f"{name!r} is no Function but a method of a class: "
                f"use Cls.from_name({app_name!r}, {cls_name!r})().{method}."
            )
        origin = by_name(app_name, name, environment_name or "", version or 0, "Function")
        origin.client = client
        return cls._make(name, origin)

    if not TYPE_CHECKING:  # a checker says that it cannot be called

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            """Refuse: say where it should run."""
            __tracebackhide__ = True
            raise TypeError(
                f"'Function' object is not callable. Use {self._name}.remote(...) to run it on a worker, "
                f"or {self._name}.local(...) to run it here."
            )

    # --- becoming live ---------------------------------------------------------------------------

    @property
    def _state(self) -> Live | None:
        return self._origin.state

    @_state.setter
    def _state(self, state: Live | None) -> None:
        self._origin.state = state

    @property
    def _client(self) -> Client | None:
        return self._origin.client

    @_client.setter
    def _client(self, client: Client | None) -> None:
        self._origin.client = client

    def _move(self, home: Home) -> None:
        """Belong to another App from now on."""
        written(self._origin).move(home)

    async def _live(self) -> Live:
        """Return what the hub knows of this Function, registering or looking it up if need be."""
        __tracebackhide__ = True
        live = await self._origin.live()
        try:
            return live.of(self._method)
        except NotFoundError:  # a name may have become another thing since it was looked up
            return (await self._origin.again()).of(self._method)

    async def _pool(self) -> Live:
        __tracebackhide__ = True
        if self._method:
            raise InvalidError(
                f"The methods of an object share its workers: call this on {self._object}, "
                f"not on its method {self._method!r}."
            )
        return await self._live()

    def _varied(self, changes: Variant, shown: str) -> Self:
        """See `Varying`."""
        if self._method:
            raise InvalidError(
                f"{self!r} is a method: make the variant of its class, Cls.with_options(...)."
            )
        if changes.batching is not None and self._raw is not None:
            marks.check_batched(self._raw)
        made = self._make(self._name, varied(self._origin, changes, shown))
        made._dress(self._raw, self._options)
        return made

    @blocking
    async def hydrate(self, client: Client | None = None) -> Function[P, R, Original]:
        """Learn from the hub what this Function is (registering it if it is local) and return it.

        Args:
            client: The connection that this Function uses from now on; this process's when not given.

        Raises:
            NotFoundError: If it was looked up by a name that is not deployed.
            ConnectionError: If no hub answers.
        """
        __tracebackhide__ = True
        await self._origin.hydrate(client)
        await self._live()
        return self

    @property
    def is_hydrated(self) -> bool:
        """Whether the hub's id of it is known."""
        return self._origin.state is not None

    @property
    def object_id(self) -> str:
        """The Function's id (``fu-...``).

        Raises:
            AttributeError: If it is not known yet; `hydrate` first.
        """
        if (known := self._origin.id) is None:
            raise AttributeError(f"{self!r} has no id yet: call it, or its hydrate(), first.")
        return known

    @property
    def is_generator(self) -> bool:
        """Whether it yields, so that `remote_gen` calls it. Asks the hub for one found by name."""
        return (
            generates(self._raw, self._options)
            if self._raw is not None
            else run(self._live()).info.is_generator
        )

    @property
    def web_url(self) -> str | None:
        """The URL of a web endpoint, None for other Functions; asks the hub where it is not known yet."""
        return self.get_web_url()

    @blocking
    async def get_web_url(self) -> str | None:
        """Return the URL of a web endpoint, None for other Functions.

        Raises:
            NotFoundError: If it was looked up by a name that is not deployed.
            ConnectionError: If no hub answers.
        """
        __tracebackhide__ = True
        if self._raw is not None and self._options.endpoint is None:
            return None
        return (await self._live()).info.web_url or None

    @property
    def logs(self) -> LogsManager:
        """What its inputs wrote: ``fetch``, ``tail`` and ``stream``."""

        async def scope() -> dict[str, str]:
            return {"function": (await self._live()).info.id}

        return LogsManager(scope, self._client)

    def get_dashboard_url(self) -> None:
        """Return None: nbfn has no web dashboard; its panel in JupyterLab shows the Function."""

    @property
    def tag(self) -> str:
        """Its name in its App."""
        return self._name

    @property
    def app(self) -> App:
        """The App it was made by.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        self.get_raw_f()
        return written(self._origin).home.app  # type: ignore[no-any-return]

    @property
    def info(self) -> FunctionOrigin:
        """Where its definition is.

        Raises:
            ExecutionError: If that is elsewhere (it was found by name).
        """
        return FunctionOrigin.of(self.get_raw_f(), self._name)

    @property
    def spec(self) -> Options:
        """What its decorator was told.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        self.get_raw_f()
        return self._options

    # --- calling ---------------------------------------------------------------------------------

    async def _callable(self, way: str) -> Live:
        """Become live, unless it is a web endpoint: those are asked by HTTP."""
        __tracebackhide__ = True
        live = await self._live()
        if live.info.endpoint is not None:
            raise endpoint.not_called(live.info.name, live.info.web_url, way)
        return live

    @blocking
    async def remote(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it on a worker with these arguments and return its result.

        Raises:
            InvalidError: If it is a generator; use `remote_gen`.
            SerializationError: If an argument cannot be pickled; nothing was sent then.
            Exception: What the function raised, with its remote traceback.
        """
        __tracebackhide__ = True
        live = await self._callable("remote")
        if live.info.is_generator:
            raise InvalidError(
                "A generator Function cannot be called with .remote(...). Use .remote_gen(...) instead."
            )
        call = SingleCall(
            live.client,
            live.info,
            "remote",
            live.pickle(args, kwargs),
            live.version,
            context.current_input(),
        )
        live.client.open(call)
        return await call.result()  # type: ignore[no-any-return]

    @streaming
    def remote_gen(self, /, *args: P.args, **kwargs: P.kwargs) -> Stream[R]:
        """Run a generator on a worker and iterate over what it yields, while it runs.

        The call begins when the result is iterated. Leaving the loop early cancels it, so that its
        ``finally`` runs.

        Raises:
            InvalidError: At the first item, if the function is not a generator; use `remote`.
            Exception: After the items before it, what the function raised.
        """
        return _Items(self, args, kwargs)

    @blocking
    async def spawn(self, /, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        """Begin a call and return its handle once it is stored: it survives this process and the hub.

        Raises:
            InvalidError: If it is a generator.
            SerializationError: If an argument cannot be pickled; nothing was sent then.
        """
        __tracebackhide__ = True
        live = await self._callable("spawn")
        if live.info.is_generator:
            raise InvalidError("Cannot spawn a generator Function. Use .remote_gen(...) instead.")
        payload = live.pickle(args, kwargs, durable=True)
        call = DurableCall(
            live.client,
            live.info,
            version=live.version,
            parent=context.current_input(),
            total=1,
        )
        call.put(payload)
        await call.stored()
        return FunctionCall._make(call.id, live.info.name, self._origin.client)

    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> Original:
        """Run it here, in this thread, as if it had never been decorated.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        __tracebackhide__ = True
        return (self._here or self.get_raw_f())(*args, **kwargs)  # type: ignore[no-any-return]

    def get_raw_f(self) -> Callable[..., Any]:
        """Return the very object that was decorated.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        __tracebackhide__ = True
        if self._raw is not None:
            return self._raw
        if self._fetched is None and travelled(self._origin) and not context.is_local():
            self._fetched = run(fetched(self._origin))
        if self._fetched is None:
            raise ExecutionError(
                f"{self!r} has no definition in this process. Call it with .remote(...) instead."
            )
        return self._fetched

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

        Nothing happens before the result is iterated. Inputs are pulled on a helper thread, a
        bounded way ahead of what was taken; leaving the loop early cancels the rest.

        Args:
            *input_iterators: One iterable for each argument, plain or async; the shortest ends it.
            kwargs: Keyword arguments, the same for every input.
            order_outputs: Whether results come in the order of the inputs, not as they are ready.
            return_exceptions: Whether an exception takes the place of its result instead of being raised.
            wrap_returned_exceptions: Accepted for Modal programs; exceptions are returned as they are.

        Raises:
            InvalidError: At the first result, if it is a generator.
            Exception: The first failure to arrive.
        """
        return self._map("map", Inputs(input_iterators), kwargs, order_outputs, return_exceptions)

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
            Inputs((input_iterator,), spread=True),
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
        """Run it for each set of arguments, for what it does, and return when all are done.

        Args:
            *input_iterators: One iterable for each argument; the shortest ends it.
            kwargs: Keyword arguments, the same for every input.
            ignore_exceptions: Whether failing inputs are passed over.

        Raises:
            Exception: The first failure to arrive, unless ignored.
        """
        __tracebackhide__ = True
        results: MapResult[Any] = self._map(
            "for_each", Inputs(input_iterators), kwargs, False, ignore_exceptions
        )
        results.keep_values = False
        await each(results)

    @blocking
    async def spawn_map(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: Mapping[str, Any] = {},
    ) -> FunctionCall[R]:
        """Begin one call with an input for each set of arguments; return its handle once all of them are stored.

        Inputs are stored while they are pulled, so that memory stays bounded. The call survives this
        process and the hub, as that of `spawn` does.

        Args:
            *input_iterators: One iterable for each argument; the shortest ends it.
            kwargs: Keyword arguments, the same for every input.

        Raises:
            InvalidError: If it is a generator.
            Exception: What an iterable raised, or the error of an argument that cannot be pickled;
                what was stored of the call is cancelled then.
        """
        __tracebackhide__ = True
        live = await self._live()
        if live.info.is_generator:
            raise InvalidError(
                "A generator Function cannot be called with .spawn_map(...). Use .remote_gen(...)."
            )
        inputs, fixed = Inputs(input_iterators), dict(kwargs)
        call = DurableCall(
            live.client,
            live.info,
            version=live.version,
            parent=context.current_input(),
            total=inputs.known(),
        )
        loop = await callers_loop()
        call.begin(inputs, lambda args: live.pickle(args, fixed, durable=True), loop)
        await call.stored()
        return FunctionCall._make(call.id, live.info.name, self._origin.client)

    #: Modal's name of `spawn_map` while it was an experiment.
    experimental_spawn_map = spawn_map

    def _map(
        self,
        way: str,
        inputs: Inputs,
        kwargs: Mapping[str, Any],
        order_outputs: bool,
        return_exceptions: bool,
    ) -> MapResult[Any]:
        async def begin() -> Live:
            live = await self._callable(way)
            if live.info.is_generator:
                raise InvalidError(
                    f"A generator Function cannot be called with .{way}(...). Use .remote_gen(...)."
                )
            return live

        return MapResult(
            way,
            begin,
            inputs,
            dict(kwargs),
            ordered=order_outputs,
            returning=return_exceptions,
            parent=context.current_input(),
        )

    # --- looks -----------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"{self._object}.{self._method}" if self._method else self._origin.shown

    def __reduce__(self) -> tuple[Any, ...]:
        return _travelled, (self._name, self._origin, self._object, self._method)


def _travelled(name: str, origin: Origin, of: str, method: str) -> Function[..., Any]:
    if not method:
        return Function._make(name, origin)
    return Function._of_object(origin, of, method)


def check_lookup(
    what: str, app_name: Any, name: str | None, tag: str | None, version: int | None
) -> str:
    """Return the name that something is looked up by.

    Args:
        what: Function or Cls.
        app_name: The App's name.
        name: Its own name ...
        tag: ... or so, as it was called formerly.
        version: The one to call.

    Raises:
        InvalidError: If a name is missing or cannot be one, or there can be no such version.
    """
    check_name("The app's name", app_name)
    if (name is None) == (tag is None):
        raise InvalidError(f"{what}.from_name needs the {what}'s name, once: (app_name, name).")
    if version is not None and (not is_int(version) or version < 1):
        raise InvalidError(f"version is {version!r}; it must be a whole number, 1 or more.")
    return check_name(f"The {what}'s name", name if tag is None else tag)


class _Items(Stream[Any]):
    """What `Function.remote_gen` returns."""

    _made_by = "Function.remote_gen"

    def __init__(
        self, function: Function[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._call: GeneratorCall | None = None

    async def _more(self) -> list[Any]:
        __tracebackhide__ = True
        if self._call is None:
            live = await self._function._callable("remote_gen")
            if not live.info.is_generator:
                raise InvalidError(
                    "This Function is not a generator: call it with .remote(...) instead."
                )
            payload = live.pickle(self._args, self._kwargs)
            self._call = GeneratorCall(
                live.client, live.info, payload, live.version, context.current_input()
            )
            live.client.open(self._call)
        try:
            return await self._call.take()
        except KeyboardInterrupt as error:
            try:
                await self._call.interrupted(error)
            except Detached:
                self._call = None  # it is not ours to end any more
                raise
            raise

    def _stop(self) -> None:
        if self._call is not None:
            self._call.abandon()
