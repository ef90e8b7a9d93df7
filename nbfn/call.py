"""Single calls: `remote`, `spawn` and generators on the wire, and `FunctionCall`, the handle of a spawned call."""

from __future__ import annotations

import builtins
import re
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from typing import Any, Generic, Self, TypeVar

from nbfn import exception
from nbfn.client import Client
from nbfn.session import OpenCall, Session, settle
from nbfn.sync import blocking, wait
from nbfn.types import InputStatus
from nbfn.wire import failure, messages
from nbfn.wire.messages import FunctionInfo, Message, Output, Payload
from nbfn.wire.payload import Carrier

R = TypeVar("R")
T = TypeVar("T")

#: Items of a generator that may be under way before the consumer has taken them; workers begin with as many.
READ_AHEAD = 64


def result_of(carrier: Carrier, output: Output, name: str, call_id: str) -> Any:
    """Return the value of an outcome, or raise its error. Runs on the caller's thread.

    Args:
        carrier: Of this process.
        output: The outcome.
        name: The Function's name, for notes and messages.
        call_id: The call's id, likewise.
    """
    __tracebackhide__ = True
    if output.status != InputStatus.SUCCESS:
        raise _error_of(carrier, output, name, call_id)
    if output.payload is None:
        return None
    try:
        return value_of(carrier, output.payload, name)
    finally:
        carrier.discard(output.payload)


def value_of(carrier: Carrier, payload: Payload, name: str) -> Any:
    """Return a value that a Function returned or yielded.

    Raises:
        ExecutionError: If it cannot be rebuilt in this process.
    """
    __tracebackhide__ = True
    try:
        return carrier.load(payload)
    except exception.DeserializationError as error:
        raise exception.ExecutionError(
            f"Could not deserialize the result of {name!r} due to an error here: {error}"
        ) from error.__cause__


def _error_of(carrier: Carrier, output: Output, name: str, call_id: str) -> BaseException:
    """Return the error of a failed outcome, with a note that says where and when it happened."""
    error: BaseException
    if output.fault is not None:
        fault = output.fault
        error = exception.from_fault(fault.code, fault.message, fault.details)
    elif output.payload is not None:
        error = failure.load_exception(carrier, output.payload)
        carrier.discard(output.payload)
    else:
        error = exception.RemoteError(f"An input of {name!r} ended without a result ({call_id}).")
    if output.worker:
        times = f", attempt {output.attempt}" if output.attempt > 1 else ""
        error.add_note(f"{name or 'The call'} ran on {output.worker[:8]}…{times} ({call_id})")
    return error


def outcome_name(status: int) -> str:
    """Return how an observer is told of an outcome: success, failure or terminated."""
    if status == InputStatus.SUCCESS:
        return "success"
    return "terminated" if status == InputStatus.TERMINATED else "failure"


class SingleCall(OpenCall):
    """A call with one input whose caller waits for the outcome."""

    def __init__(
        self,
        client: Session,
        function: FunctionInfo,
        kind: str,
        payload: Payload,
        version: int,
        parent: str,
    ) -> None:
        self._input = messages.NewInput(0, payload)
        self._parent = parent
        self.outcome: Future[Output] = Future()
        super().__init__(client, function, kind, version=version)

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `OpenCall.opening`."""
        yield messages.PutCall(
            self.id,
            self.function.id,
            self.version,
            self.kind,
            (self._input,),
            resent=resent,
            parent=self._parent,
            method=self.function.method,
        )

    def receive(self, message: Message) -> None:
        """See `OpenCall.receive`."""
        if isinstance(message, messages.Outputs):
            output = message.outputs[0]
            self.count(1, output.status != InputStatus.SUCCESS)
            self.end(outcome_name(output.status), settled=True)
            settle(self.outcome, output)
            # Last: freeing 100 MB takes as long as ten calls, and nobody waits for it.
            self.client.carrier.reclaim(self._input.payload)

    def fail(self, error: exception.Error) -> None:
        """See `OpenCall.fail`."""
        self.client.carrier.discard(self._input.payload)
        self.end("failure", error)
        settle(self.outcome, error=error)

    def abandon(self) -> None:
        """Cancel it: the caller was interrupted."""
        self.cancel()
        self.end("terminated")
        self.client.carrier.discard(self._input.payload)

    async def result(self) -> Any:
        """Wait for the outcome; an interrupt cancels the call."""
        __tracebackhide__ = True
        try:
            output = await wait(self.outcome)
        except exception.Error:
            raise
        except BaseException:
            self.abandon()
            raise
        return result_of(self.client.carrier, output, self.function.name, self.id)


class GeneratorCall(SingleCall):
    """A call of a generator Function: its items, then its outcome."""

    def __init__(
        self, client: Client, function: FunctionInfo, payload: Payload, version: int, parent: str
    ) -> None:
        self._items: deque[Payload] = deque()
        self._arrived = 0  # items that came
        self._taken = 0  # items the consumer has had
        self._upto = READ_AHEAD
        self._news: Future[None] | None = None
        super().__init__(client, function, "generator", payload, version, parent)

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `OpenCall.opening`."""
        yield from super().opening(resent=resent)
        if resent:
            yield messages.TakeItems(self.id, 0, self._upto)

    def receive(self, message: Message) -> None:
        """See `OpenCall.receive`."""
        if isinstance(message, messages.Items):
            known = self._arrived - message.start  # said again after a reconnect
            new = message.payloads[max(0, known) :]
            self._items.extend(new)
            self._arrived += len(new)
        else:
            super().receive(message)
        if (news := self._news) is not None:
            settle(news)

    def fail(self, error: exception.Error) -> None:
        """See `OpenCall.fail`."""
        super().fail(error)
        if (news := self._news) is not None:
            settle(news)

    async def take(self) -> list[Any]:
        """Return the new items, at least one; at the end raise StopAsyncIteration or the error."""
        __tracebackhide__ = True
        while not self._items:
            if self.outcome.done():
                output = self.outcome.result()
                result_of(self.client.carrier, output, self.function.name, self.id)
                raise StopAsyncIteration
            self._news = Future()
            if not self._items and not self.outcome.done():
                await wait(self._news)
            self._news = None
        payloads = [self._items.popleft() for _ in range(len(self._items))]
        self._taken += len(payloads)
        if self._upto - self._taken < READ_AHEAD // 2:
            self._upto = self._taken + READ_AHEAD
            self.client.send(messages.TakeItems(self.id, 0, self._upto))
        return [self._load(payload) for payload in payloads]

    def _load(self, payload: Payload) -> Any:
        try:
            return value_of(self.client.carrier, payload, self.function.name)
        finally:
            self.client.carrier.discard(payload)


class DurableCall(OpenCall):
    """A spawned call: told to the hub by who spawned it, watched by whoever wants its outcome."""

    waiting = False

    def __init__(
        self,
        client: Session,
        function: FunctionInfo,
        *,
        payload: Payload | None = None,
        version: int = 0,
        call_id: str = "",
        parent: str = "",
    ) -> None:
        self._input = messages.NewInput(0, payload) if payload is not None else None
        self._parent = parent
        self.accepted: Future[None] = Future()
        self.outputs: dict[int, Output] = {}
        self._waiters: list[tuple[int, Future[Output]]] = []
        super().__init__(client, function, "spawn", version=version, call_id=call_id)
        self.waiting = payload is not None

    def opening(self, *, resent: bool) -> Iterable[Message]:
        """See `OpenCall.opening`."""
        if self._input is None:
            yield messages.Watch(0, self.id)
            return
        yield messages.PutCall(
            self.id,
            self.function.id,
            self.version,
            self.kind,
            (self._input,),
            durable=True,
            resent=resent,
            parent=self._parent,
            method=self.function.method,
        )

    def receive(self, message: Message) -> None:
        """See `OpenCall.receive`."""
        if isinstance(message, messages.Accepted):
            self._settled_input()
            settle(self.accepted)
        elif isinstance(message, messages.Outputs):
            new = [output for output in message.outputs if output.index not in self.outputs]
            self.outputs.update((output.index, output) for output in new)
            self.count(len(new), sum(output.status != InputStatus.SUCCESS for output in new))
            waiters, self._waiters = self._waiters, []
            for index, future in waiters:
                if (output := self.outputs.get(index)) is not None:
                    settle(future, output)
                else:
                    self._waiters.append((index, future))
            self.waiting = bool(self._waiters)
            if self.done >= (self.total or 1):
                self.end(outcome_name(max(output.status for output in self.outputs.values())))

    def _settled_input(self) -> None:
        if self._input is not None:
            self.client.carrier.discard(self._input.payload)
            self._input = None
        self.waiting = bool(self._waiters)

    def fail(self, error: exception.Error) -> None:
        """See `OpenCall.fail`."""
        self._settled_input()
        self.end("failure", error)
        settle(self.accepted, error=error)
        waiters, self._waiters = self._waiters, []
        for _, future in waiters:
            settle(future, error=type(error)(*error.args))

    async def watch(self) -> messages.CallInfo:
        """Have the hub tell all it knows and will know of this call.

        Raises:
            NotFoundError: If it knows no such call.
        """
        __tracebackhide__ = True
        try:
            info: messages.CallInfo = await self.client.request(
                lambda number: messages.Watch(number, self.id)
            )
        except exception.NotFoundError:
            self.end("failure")
            raise
        self.total = info.num_inputs or 1
        return info

    async def output(self, index: int, timeout: float | None) -> Output:
        """Wait for the outcome of one input; the builtin TimeoutError after ``timeout`` seconds."""
        __tracebackhide__ = True
        future: Future[Output] = Future()
        self._waiters.append((index, future))
        self.waiting = True
        if (known := self.outputs.get(index)) is not None:
            return known
        try:
            return await wait(future, timeout)
        except builtins.TimeoutError:
            name = f" of {self.function.name!r}" if self.function.name else ""
            raise builtins.TimeoutError(
                f"Call {self.id}{name} was not ready after {timeout:g} s; it goes on."
            ) from None
        finally:
            self._waiters = [pair for pair in self._waiters if pair[1] is not future]


def _tracked(client: Session, handle: FunctionCall[Any]) -> DurableCall:
    known = client.tracked(handle.object_id)
    if isinstance(known, DurableCall):
        return known
    return DurableCall(client, _stranger(handle._name), call_id=handle.object_id)


def _stranger(name: str = "") -> FunctionInfo:
    """Stand in for the Function of a call that is known by its id only."""
    nowhere = messages.Environment("", (), "", "", "")
    return FunctionInfo(
        "", "", "", name, 0, False, False, False, "", "", nowhere, 0.0, messages.PoolSettings()
    )


class FunctionCall(Generic[R]):
    """The handle of a spawned call: fetch its result now, later, or from another process.

    Examples:
        >>> call = train.spawn(epochs=3)  # doctest: +SKIP
        >>> FunctionCall.from_id(call.object_id).get(timeout=60)  # doctest: +SKIP
    """

    __module__ = "nbfn"

    _id: str
    _name: str
    _kept: Output | None  # the outcome, once it is known and small

    def __init__(self) -> None:
        raise exception.InvalidError(
            "A FunctionCall comes from Function.spawn(...) or FunctionCall.from_id(...)."
        )

    @classmethod
    def _make(cls, call_id: str, name: str = "") -> Self:
        self = cls.__new__(cls)
        self._id = call_id
        self._name = name
        self._kept = None
        return self

    @classmethod
    def from_id(cls, function_call_id: str, client: Client | None = None) -> FunctionCall[Any]:
        """Return the handle of a call made anywhere by you; nothing is asked before its first use.

        Args:
            function_call_id: The `object_id` of the call.
            client: Accepted for Modal programs; this process's client is used.

        Raises:
            InvalidError: If it is not the id of a call.
        """
        if not re.fullmatch(r"fc-[0-9A-Za-z]{22}", str(function_call_id)):
            raise exception.InvalidError(
                f"{function_call_id!r} is not the id of a call. Use the object_id of a FunctionCall ('fc-...')."
            )
        return cls._make(function_call_id)

    @property
    def object_id(self) -> str:
        """The call's id; `from_id` finds it from any process."""
        return self._id

    @blocking
    async def get(self, timeout: float | None = None, *, index: int = 0) -> R:
        """Wait for the result and return it, as often as you like.

        Args:
            timeout: Seconds to wait; None waits as long as it takes, 0 only looks.
            index: Which input's result, of a call with several.

        Raises:
            builtins.TimeoutError: If it was not ready in time; the call goes on.
            NotFoundError: If no such call is known.
            OutputExpiredError: If the result was kept long enough and is gone.
            Exception: What the function raised.
        """
        __tracebackhide__ = True
        client = await Client.attach.raw()
        if self._kept is not None and self._kept.index == index:
            return result_of(client.carrier, self._kept, self._name, self._id)  # type: ignore[no-any-return]
        call = client.track(_tracked(client, self))
        assert isinstance(call, DurableCall)
        watching = await call.watch()
        if index >= watching.num_inputs > 0 or index < 0:
            raise exception.InvalidError(
                f"Call {self._id} has {watching.num_inputs} inputs; there is no index {index}."
            )
        if (
            timeout == 0
        ):  # only look: what the hub has comes right behind its first answer, so before its second
            await call.watch()
        output = await call.output(index, timeout)
        if output.payload is None or not output.payload.segments:
            self._kept = output
        return result_of(client.carrier, output, self._name, self._id)  # type: ignore[no-any-return]

    @blocking
    async def cancel(self, terminate_containers: bool = False) -> None:
        """Cancel the call: what waits never starts, what runs is interrupted. Does nothing to a finished call.

        Args:
            terminate_containers: Accepted for Modal programs; a body that does not end is killed anyway.

        Raises:
            NotFoundError: If no such call is known.
        """
        client = await Client.attach.raw()
        await Client.cancel_call.raw(client, self._id)

    @blocking
    async def num_inputs(self) -> int:
        """Return how many inputs the call has.

        Raises:
            NotFoundError: If no such call is known.
        """
        client = await Client.attach.raw()
        info: messages.CallInfo = await client.request(
            lambda number: messages.Watch(number, self._id)
        )
        return info.num_inputs

    def __await__(self) -> Generator[Any, None, R]:
        return self.get.aio().__await__()

    def __repr__(self) -> str:
        return f"<FunctionCall {self._id}{f' of {self._name}' if self._name else ''}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionCall.from_id, (self._id,)
