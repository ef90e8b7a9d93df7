"""`Function`: the handle of one registered callable; every way to call it and to manage its pool."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, Self, TypeVar

from nbfn import capture, context, endpoint, exception
from nbfn.call import DurableCall, FunctionCall, GeneratorCall, SingleCall
from nbfn.client import Client, attached
from nbfn.config import default_environment
from nbfn.definition import Home, Live, define, generates
from nbfn.exception import ExecutionError, InvalidError
from nbfn.mapping import Inputs, MapResult, each
from nbfn.options import Options, check_name, check_pool, check_setting
from nbfn.retries import is_int
from nbfn.session import this_environment
from nbfn.snapshot import Snapshot
from nbfn.sync import Blocking, Stream, blocking, run, streaming, wait
from nbfn.types import FunctionAutoscalerSettings, FunctionOrigin, FunctionStats
from nbfn.wire import messages
from nbfn.wire.messages import Message

P = ParamSpec("P")
R = TypeVar("R")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultingTypeVar

    from nbfn.app import App

    Original = DefaultingTypeVar("Original", default=R)
else:  # defaults of type variables are for checkers; `typing` has them from Python 3.13 on
    Original = TypeVar("Original")


def _parent() -> str:
    return context.current_input_id() or ""


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


class Function(Generic[P, R, Original]):
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
    _raw: Callable[..., Any] | None  # None: its definition is elsewhere
    _options: Options
    _home: Home
    _client: Client | None  # None: this process's
    _find: Callable[[int], Message] | None  # asks the hub for it, when the definition is elsewhere
    _travelled: bool  # it came here in a pickle
    _fetched: Callable[..., Any] | None  # its definition, asked of the hub by a worker
    _shown: str
    _state: Live | None
    _registering: bool
    _deployment: int  # of its App, that a handle found by name stays with; 0 for the newest
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
    def _make(cls, name: str) -> Self:
        self = cls.__new__(cls)
        self._name = name
        self._raw = None
        self._options = Options()
        self._home = Home()
        self._client = None
        self._find = None
        self._travelled = False
        self._fetched = None
        self._shown = f"Function({name!r})"
        self._state = None
        self._registering = False
        self._deployment = 0
        return self

    @classmethod
    def _local(cls, raw: Callable[..., Any], name: str, options: Options, home: Home) -> Self:
        self = cls._make(name)
        self._raw, self._options, self._home = raw, options, home
        self.__doc__ = raw.__doc__
        self.__name__ = name
        self.__wrapped__ = raw
        app = f"App({home.name!r})" if home.name else "App()"
        self._shown = f"<Function {name!r} of {app}>"
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
        check_name("The app's name", app_name)
        name = _one_name(name, tag)
        if "." in name:
            cls_name, _, method = name.partition(".")
            raise InvalidError(
                f"{name!r} is no Function but a method of a class: "
                f"use Cls.from_name({app_name!r}, {cls_name!r})().{method}."
            )
        if version is not None and (not is_int(version) or version < 1):
            raise InvalidError(f"version is {version!r}; it must be a whole number, 1 or more.")
        self: Function[..., Any] = cls._make(name)
        environment = environment_name or ""
        self._find = lambda number: messages.Lookup(
            number, app_name, name, environment or default_environment(), self._deployment
        )
        self._client = client
        self._deployment = version or 0
        shown = f", environment_name={environment_name!r}" if environment_name else ""
        shown += f", version={version}" if version else ""
        self._shown = f"Function.from_name({app_name!r}, {name!r}{shown})"
        return self

    if not TYPE_CHECKING:  # a checker says that it cannot be called

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            """Refuse: say where it should run."""
            __tracebackhide__ = True
            raise TypeError(
                f"'Function' object is not callable. Use {self._name}.remote(...) to run it on a worker, "
                f"or {self._name}.local(...) to run it here."
            )

    # --- becoming live ---------------------------------------------------------------------------

    async def _live(self) -> Live:
        """Return what the hub knows of this Function, registering or looking it up if need be."""
        __tracebackhide__ = True
        state = self._state
        if state is None or not state.current():
            client = await attached(self._client)
            if self._raw is None:
                self._state = await self._look_up(client)
                return self._state
            if state is None or (state := await self._found_again(client, state)) is None:
                self._state = await self._register(client, self._raw)
                return self._state
            self._state = state
        for other in state.others:
            if not other._registering and (other._state is None or not other._state.current()):
                await other._live()
        return state

    async def _found_again(self, client: Client, state: Live) -> Live | None:
        """Return what is known, for a hub that came back and has the very version still.

        To call a deployed Function must not deploy it again: another notebook may have redefined it.
        """
        __tracebackhide__ = True
        info = state.info
        if not info.deployed or state.snapshot is None or not state.snapshot.current():
            return None
        try:
            await client.request(lambda number: messages.LookupId(number, info.id, state.version))
        except exception.NotFoundError:
            return None
        return dataclasses.replace(state, client=client, epoch=client.epoch)

    async def _look_up(self, client: Client) -> Live:
        __tracebackhide__ = True
        assert self._find is not None
        answer: messages.Registered = await client.request(self._find)
        info, ours = answer.info, this_environment().python
        if info.environment.python != ours:
            raise exception.VersionError(
                f"Function {info.name!r} runs under Python {info.environment.python}, "
                f"this is Python {ours}. Call it from a notebook with Python "
                f"{info.environment.python}, or deploy it again from this one."
            )
        # A call that finds its App stopped and deployed anew looks for its Function once more.
        client.remember(info.id, self._find(0))
        return Live(client, client.epoch, info, info.version if self._deployment else 0)

    async def _register(self, client: Client, raw: Callable[..., Any]) -> Live:
        __tracebackhide__ = True
        snapshot = Snapshot(raw)
        await self._register_others(snapshot)
        self._registering = True
        try:
            payload, modules = capture.dump(self._name, raw, snapshot)
        finally:
            self._registering = False
        definition = define(self._name, raw, payload, self._options, client.carrier.durable)
        info = await self._home.register(client, definition)
        modules = [module for module in modules if module.__name__.encode() in payload]
        others = [
            value for _, kind, value in snapshot.found if kind == "Function" and value is not self
        ]
        return Live(client, client.epoch, info, info.version, snapshot, modules, others, raw)

    async def _register_others(self, snapshot: Snapshot) -> None:
        """Register the Functions this one calls: they travel as ids, those of a cycle by name."""
        self._registering = True
        try:
            for _, kind, value in snapshot.found:
                if kind == "Function" and value is not self and not value._registering:
                    await value._live()
        finally:
            self._registering = False

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
        if client is not None and client is not self._client:
            self._client, self._state = await attached(client), None
        await self._live()
        return self

    @property
    def is_hydrated(self) -> bool:
        """Whether the hub's id of it is known."""
        return self._state is not None

    @property
    def object_id(self) -> str:
        """The Function's id (``fu-...``).

        Raises:
            AttributeError: If it is not known yet; `hydrate` first.
        """
        if self._state is None:
            raise AttributeError(f"{self!r} has no id yet: call it, or its hydrate(), first.")
        return self._state.info.id

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
        return self._home.app  # type: ignore[no-any-return]

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
            live.client, live.info, "remote", live.pickle(args, kwargs), live.version, _parent()
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
        call = DurableCall(
            live.client,
            live.info,
            payload=live.pickle(args, kwargs, durable=True),
            version=live.version,
            parent=_parent(),
        )
        live.client.open(call)
        await wait(call.accepted)
        return FunctionCall._make(call.id, live.info.name)

    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> Original:
        """Run it here, in this thread, as if it had never been decorated.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        __tracebackhide__ = True
        return self.get_raw_f()(*args, **kwargs)  # type: ignore[no-any-return]

    def get_raw_f(self) -> Callable[..., Any]:
        """Return the very object that was decorated.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        __tracebackhide__ = True
        if self._raw is not None:
            return self._raw
        if self._fetched is None and self._travelled and not context.is_local():
            self._fetched = run(self._fetch())
        if self._fetched is None:
            raise ExecutionError(
                f"{self!r} has no definition in this process. Call it with .remote(...) instead."
            )
        return self._fetched

    async def _fetch(self) -> Callable[..., Any]:
        """Return the callable of a Function that came to this worker as its id."""
        live = await self._live()
        answer: messages.DefinitionTold = await live.client.request(
            lambda number: messages.GetDefinition(number, live.info.id)
        )
        return live.client.carrier.load(answer.definition.payload)  # type: ignore[no-any-return]

    @streaming
    def map(
        self,
        *input_iterators: Iterable[Any],
        kwargs: Mapping[str, Any] = {},
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> Stream[R]:
        """Run it for each set of arguments, in parallel, and iterate over the results.

        Nothing happens before the result is iterated. Inputs are pulled on a helper thread, a
        bounded way ahead of what was taken; leaving the loop early cancels the rest.

        Args:
            *input_iterators: One iterable for each argument; the shortest ends it.
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
        input_iterator: Iterable[Iterable[Any]],
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
        *input_iterators: Iterable[Any],
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
            parent=_parent(),
        )

    # --- its pool --------------------------------------------------------------------------------

    @blocking
    async def keep_warm(self, warm_pool_size: int) -> None:
        """Keep at least this many workers ready, also when nothing is called.

        Args:
            warm_pool_size: Workers; 0 lets the pool go to none.

        Raises:
            InvalidError: If it is negative or above the Function's ``max_containers``.
        """
        __tracebackhide__ = True
        await self._override(min_containers=warm_pool_size)

    @blocking
    async def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
    ) -> FunctionAutoscalerSettings:
        """Change how many workers the pool keeps; what is not given stays as it is.

        Args:
            min_containers: Workers kept when idle.
            max_containers: Most workers.
            buffer_containers: Extra idle workers while the pool is active.
            scaledown_window: Seconds an idle worker is kept.

        Returns:
            All four, as they are now.

        Raises:
            InvalidError: If the numbers do not fit together.
        """
        __tracebackhide__ = True
        check_pool(min_containers, max_containers)
        return await self._override(
            min_containers=min_containers,
            max_containers=max_containers,
            buffer_containers=buffer_containers,
            scaledown_window=scaledown_window,
        )

    async def _override(self, **settings: Any) -> FunctionAutoscalerSettings:
        __tracebackhide__ = True
        given = {
            name: check_setting(name, value)
            for name, value in settings.items()
            if value is not None
        }
        live = await self._live()
        return await Client.set_autoscaler.raw(live.client, live.info.id, **given)

    @blocking
    async def get_current_stats(self) -> FunctionStats:
        """Return how many inputs wait and how many workers there are, as the hub sees it now.

        Raises:
            NotFoundError: If it was looked up by a name that is not deployed.
        """
        __tracebackhide__ = True
        live = await self._live()
        stats: messages.Stats = await live.client.request(
            lambda number: messages.GetStats(number, live.info.id)
        )
        return FunctionStats(stats.backlog, stats.workers, stats.running, stats.headroom)

    # --- looks -----------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return self._shown

    def __reduce__(self) -> tuple[Any, ...]:
        if self._state is not None:
            return _from_id, (self._state.info.id, self._name, self._deployment)
        if self._registering:  # it refers to itself: it is found by name when it runs
            return _from_home, (self._home.place, self._name, self._home.environment)
        raise InvalidError(
            f"{self!r} cannot be sent before the hub knows it. Call its hydrate() first, or call it once."
        )


def _one_name(name: str | None, tag: str | None) -> str:
    if (name is None) == (tag is None):
        raise InvalidError("Function.from_name needs the Function's name, once: (app_name, name).")
    return check_name("The function's name", name if tag is None else tag)


def _from_id(function_id: str, name: str, deployment: int) -> Function[..., Any]:
    self: Function[..., Any] = Function._make(name)
    self._travelled = True
    self._find = lambda number: messages.LookupId(number, function_id, 0, deployment)
    self._deployment = deployment
    self._shown = f"<Function {name!r} {function_id}>"
    return self


def _from_home(app: str, name: str, environment_name: str) -> Function[..., Any]:
    self: Function[..., Any] = Function._make(name)
    self._travelled = True
    self._find = lambda number: messages.Lookup(number, app, name, environment_name)
    return self


class _Items(Stream[Any]):
    """What `Function.remote_gen` returns."""

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
            self._call = GeneratorCall(live.client, live.info, payload, live.version, _parent())
            live.client.open(self._call)
        return await self._call.take()

    def _stop(self) -> None:
        if self._call is not None:
            self._call.abandon()
