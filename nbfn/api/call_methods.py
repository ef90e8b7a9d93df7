"""`Calling`: the ways to call a Function on workers, once or with many inputs."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar

from nbfn import context
from nbfn.api import endpoint_checks
from nbfn.api.call import FunctionCall
from nbfn.client.calls.call_throttle import throttle
from nbfn.client.calls.durable_call import DurableCall
from nbfn.client.calls.input_iterator import InputIterator
from nbfn.client.calls.map_result import MapResult, each
from nbfn.client.calls.single_call import GeneratorCall, SingleCall
from nbfn.client.registration.definition import HydratedFunction
from nbfn.client.registration.function_ref import FunctionRef
from nbfn.exception import DeserializationError, Detached, InvalidError
from nbfn.runtime.stream import Stream, streaming
from nbfn.runtime.sync import blocking, callers_loop

P = ParamSpec("P")
R = TypeVar("R")

#: What is said of a random generator among the keyword arguments of a map.
_EACH_A_COPY = (
    "Function {!r} is mapped with the random generator {{!r}} in kwargs: every input gets a copy of it and draws "
    "the same numbers."
)


class Calling(Generic[P, R]):
    """Base of `Function`: its calls."""

    _ref: FunctionRef

    async def _live(self) -> HydratedFunction:
        """Return what the hub knows of it."""
        raise NotImplementedError

    async def _callable(self, way: str) -> HydratedFunction:
        """Become live, unless it is a web endpoint: those are asked by HTTP."""
        __tracebackhide__ = True
        live = await self._live()
        if live.info.endpoint is not None:
            raise endpoint_checks.not_called(live.info.name, live.info.web_url, way)
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
        # Code of an input does not wait for others: they may wait for it.
        parent = context.current_input()
        if throttle.full and not parent:
            await throttle.room()
        payload = live.pickle(args, kwargs)
        call = SingleCall(live.client, live.info, "remote", payload, live.version, parent)
        throttle.enter(payload.weight)
        try:
            live.client.open(call)
            return await call.result()  # type: ignore[no-any-return]
        except DeserializationError as error:
            if call.was_not_loaded and (sentence := live.unloadable()):
                error.add_note(sentence)
            raise
        finally:
            throttle.leave(payload.weight)

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
        if throttle.full:
            await throttle.room()
        payload = live.pickle(args, kwargs, durable=True)
        call = DurableCall(
            live.client,
            live.info,
            version=live.version,
            parent=context.spawning_input(),
            total=1,
        )
        throttle.enter(payload.weight)
        try:
            call.put(payload)
            await call.stored()
        finally:
            throttle.leave(payload.weight)
        return FunctionCall._make(call.id, live.info.name, self._ref.client)

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
        self._look_at(kwargs, live)
        inputs, fixed = InputIterator(input_iterators), dict(kwargs)
        call = DurableCall(
            live.client,
            live.info,
            version=live.version,
            parent=context.spawning_input(),
            total=inputs.known(),
        )
        loop = await callers_loop()
        call.begin(inputs, lambda args: live.pickle(args, fixed, durable=True), loop)
        await call.stored()
        return FunctionCall._make(call.id, live.info.name, self._ref.client)

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
            live = await self._callable(way)
            if live.info.is_generator:
                raise InvalidError(
                    f"A generator Function cannot be called with .{way}(...). Use .remote_gen(...)."
                )
            self._look_at(kwargs, live)
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

    def _look_at(self, kwargs: Mapping[str, Any], live: HydratedFunction) -> None:
        if kwargs:
            self._ref.look_for_generators(kwargs.items(), _EACH_A_COPY.format(live.info.name))


class _Items(Stream[Any]):
    """What `Function.remote_gen` returns."""

    _made_by = "Function.remote_gen"

    def __init__(
        self, function: Calling[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._call: GeneratorCall | None = None

    def __repr__(self) -> str:
        return "<items of Function.remote_gen, single use: iterate over them>"

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
