"""`FunctionCall`: a spawned call, whose results can be fetched from any process."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, ClassVar, Generic, Self, TypeVar

from nbfn import exception
from nbfn.client.calls.active_call import settle
from nbfn.client.calls.durable_call import OutcomeWaiter, all_or_first_failure
from nbfn.client.calls.interrupt import note_detached
from nbfn.client.calls.outcome import result_of
from nbfn.client.client import Client, attached, current
from nbfn.client.logs import LogsManager
from nbfn.client.process_info import this_origin
from nbfn.declarations.retries import is_int, is_number
from nbfn.protocol import messages
from nbfn.protocol.messages import CallRow, GetOverview, Output, input_id
from nbfn.runtime.stream import Stream, streaming
from nbfn.runtime.sync import Blocking, blocking, original
from nbfn.runtime.traceback_filter import trimmed
from nbfn.types import InputInfo, InputStatus

R = TypeVar("R")

#: Results of at most this many bytes are kept by the `FunctionCall`.
MOST_KEPT = 16 * 1024
#: Outcomes that `FunctionCall.iter` requests at once.
PAGE = 64

#: Statuses of nbfn that Modal names differently.
_MODAL_STATUS = {
    InputStatus.RUNNING: InputStatus.PENDING,
    InputStatus.INTERNAL_FAILURE: InputStatus.FAILURE,
}


async def _result_or_error(one: OutcomeWaiter) -> Any:
    __tracebackhide__ = True
    try:
        return await one.result(one.futures[0])
    except Exception as error:  # noqa: BLE001 - the user's own; it is returned
        return original(error)


async def _gather(*function_calls: FunctionCall[Any], return_exceptions: bool = False) -> list[Any]:
    """Wait for the first input of each call and return the results in this order.

    Args:
        *function_calls: The calls.
        return_exceptions: Whether exceptions are returned as results; otherwise the first call to fail raises, and the
            others continue.
    """
    __tracebackhide__ = True
    for call in function_calls:
        if not isinstance(call, FunctionCall):
            raise exception.InvalidError(
                f"gather takes FunctionCalls, as spawn returns them, not {type(call).__name__!r}."
            )
    expected = [call._expect(await attached(call._client), range(1)) for call in function_calls]
    try:
        for one in expected:
            try:
                await one.request()
            except exception.Error as error:
                settle(one.futures[0], error=error)
        if not return_exceptions:
            await all_or_first_failure([one.futures[0] for one in expected], expected)
            return [await one.result(one.futures[0]) for one in expected]
        return [await _result_or_error(one) for one in expected]
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        note_detached(error, *(call.object_id for call in function_calls))
        raise
    finally:
        for one in expected:
            one.leave()


class FunctionCall(Generic[R]):
    """A spawned call: fetch its result now, later, or from another process.

    Examples:
        >>> call = train.spawn(epochs=3)  # doctest: +SKIP
        >>> FunctionCall.from_id(call.object_id).get(timeout=60)  # doctest: +SKIP
    """

    __module__ = "nbfn"

    _id: str
    _name: str
    _client: Client | None  # None for that of this process
    _kept: Output | None  # an outcome, if it is small

    gather: ClassVar = Blocking(_gather)

    def __init__(self) -> None:
        raise exception.InvalidError(
            "A FunctionCall comes from Function.spawn(...) or FunctionCall.from_id(...)."
        )

    @classmethod
    def _make(cls, call_id: str, name: str = "", client: Client | None = None) -> Self:
        self = cls.__new__(cls)
        self._id = call_id
        self._name = name
        self._client = client
        self._kept = None
        return self

    @classmethod
    @trimmed
    def from_id(cls, function_call_id: str, client: Client | None = None) -> FunctionCall[Any]:
        """Return the call of an id, which may be from another process. Its first use looks it up.

        Args:
            function_call_id: The `object_id` of the call.
            client: The connection to use; that of this process when not given.

        Raises:
            InvalidError: If it is not the id of a call.
        """
        if not re.fullmatch(r"fc-[0-9A-Za-z]{22}", str(function_call_id)):
            raise exception.InvalidError(
                f"{function_call_id!r} is not the id of a call. Use the object_id of a FunctionCall ('fc-...')."
            )
        return cls._make(function_call_id, client=client)

    @property
    def object_id(self) -> str:
        """The call's id, for `from_id` in any process."""
        return self._id

    def get_dashboard_url(self) -> None:
        """Return None: nbfn has no web dashboard; its panel in JupyterLab shows the call."""

    @property
    def is_hydrated(self) -> bool:
        """Whether its id is known; always so."""
        return True

    @blocking
    async def hydrate(self, client: Client | None = None) -> FunctionCall[R]:
        """Look the call up and return it.

        Args:
            client: The connection that it uses from now on; that of this process when not given.

        Raises:
            NotFoundError: If there is no such call.
        """
        __tracebackhide__ = True
        self._client = client or self._client
        await self._info()
        return self

    @property
    def logs(self) -> LogsManager:
        """The output of its inputs, also after their caller has ended: ``fetch``, ``tail`` and ``stream``."""

        async def scope() -> dict[str, str]:
            return {"call": self._id}

        return LogsManager(scope, self._client)

    @blocking
    async def get(self, timeout: float | None = None, *, index: int = 0) -> R:
        """Wait for the result and return it. May be called any number of times.

        Args:
            timeout: Seconds to wait; None waits without limit, 0 does not wait.
            index: The index of the input, for a call with several.

        Raises:
            builtins.TimeoutError: If it was not ready in time; the call continues.
            InvalidError: If there is no such input.
            NotFoundError: If there is no such call.
            OutputExpiredError: If the result has expired.
            Exception: What the function raised.
        """
        __tracebackhide__ = True
        if timeout is not None and not is_number(timeout):
            raise exception.InvalidError(f"timeout is {timeout!r}; it must be a number of seconds.")
        if not is_int(index):
            raise exception.InvalidError(f"index is {index!r}; it must be a whole number.")
        client = await attached(self._client)
        output = self._kept
        if output is None or output.index != index:
            output = await self._outcome(client, index, timeout)
        return result_of(client.serializer, output, self._name, self._id)  # type: ignore[no-any-return]

    async def _outcome(self, client: Client, index: int, timeout: float | None) -> Output:
        __tracebackhide__ = True
        expected = self._expect(client, range(index, index + 1))
        try:
            await expected.request()
            return await expected.output(expected.futures[0], timeout)
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            note_detached(error, self._id)
            raise
        finally:
            expected.leave()

    def _expect(self, client: Client, indices: range) -> OutcomeWaiter:
        """Return a waiter for the outcomes of some inputs."""
        return OutcomeWaiter(client, self._id, self._name, indices, self._keep)

    def _keep(self, output: Output) -> None:
        """Keep a small outcome, unless the input failed: it may be run again."""
        small = output.payload is None or output.payload.weight <= MOST_KEPT
        if small and output.status == InputStatus.SUCCESS:
            self._kept = output

    @streaming
    def iter(self, *, start: int = 0, end: int | None = None) -> Stream[R]:
        """Iterate over the results of a call with several inputs, in the order of these, waiting for each.

        Args:
            start: The first input's index.
            end: The index after that of the last input; all when not given.

        Raises:
            ValueError: At the first result, if the call has no such inputs.
            NotFoundError: At the first result, if there is no such call.
            OutputExpiredError: At the first result, if the results have expired.
            Exception: What the function raised, in place of a result; this ends the iteration.
        """
        return _Results(self, start, end)

    @blocking
    async def cancel(self, terminate_containers: bool = False) -> None:
        """Cancel the call: waiting inputs never start, running ones are interrupted. Ended ones stay as they are.

        Calls that the interrupted code waits for are cancelled too; those that it spawned are not.

        Args:
            terminate_containers: Kill the workers that run it instead of interrupting them; other inputs on them run
                again elsewhere.

        Raises:
            NotFoundError: If there is no such call.
        """
        __tracebackhide__ = True
        client = await attached(self._client)
        await client.request(
            lambda number: messages.Cancel(number, self._id, terminate=terminate_containers)
        )

    @blocking
    async def retry(self) -> int:
        """Run the inputs without a result again, with the newest version of the Function. Modal has no such method.

        These inputs failed, were cancelled, or did not run. Does not wait. The new outcomes have the same id and
        indices, in every process; they expire later accordingly.

        Returns:
            How many inputs run again.

        Raises:
            ConflictError: If the call still runs.
            InvalidError: If all inputs succeeded.
            NotFoundError: If there is no such call, or its Function is gone.
            OutputExpiredError: If its arguments have expired.
        """
        __tracebackhide__ = True
        client = await attached(self._client)
        token = messages.new_id("re")
        listening = self._expect(
            client, range(0)
        )  # so that output which comes at once is shown too
        try:
            answer: messages.CallRetried = await client.request(
                lambda number: messages.RetryCall(number, self._id, token)
            )
        finally:
            listening.leave()
            with contextlib.suppress(exception.Error):
                await self._watch_outcomes()
        return answer.count

    @blocking
    async def num_inputs(self) -> int:
        """Return how many inputs the call has.

        Raises:
            NotFoundError: If there is no such call.
        """
        return (await self._info()).num_inputs

    async def _info(self) -> messages.CallInfo:
        __tracebackhide__ = True
        client = await attached(self._client)
        answer: messages.CallInfo = await client.request(
            lambda number: messages.Watch(number, self._id, 0, 0, follow=False)
        )
        return answer

    @blocking
    async def get_call_graph(self) -> list[InputInfo]:
        """Return the call graph that this call belongs to: the inputs without a parent, each with the calls it made.

        Of calls that are neither spawned nor recent, only running inputs are known.

        Raises:
            NotFoundError: If there is no such call.
        """
        __tracebackhide__ = True
        client = await attached(self._client)
        graph: messages.CallGraph = await client.request(
            lambda number: messages.GetCallGraph(number, self._id)
        )
        roots: list[InputInfo] = []
        known: dict[str, InputInfo] = {}
        for relative in graph.inputs:
            status = InputStatus(relative.status)
            info = known[f"{relative.call}:{relative.index}"] = InputInfo(
                input_id(relative.call, relative.index),
                relative.call,
                relative.worker,
                _MODAL_STATUS.get(status, status),
                relative.function,
                relative.module,
            )
            parent = known.get(relative.parent)
            (parent.children if parent is not None else roots).append(info)
        return roots

    @blocking
    async def _follow(self) -> messages.CallInfo:
        """Report this call to the observer from now on, also if another process made it."""
        __tracebackhide__ = True
        return await self._watch_outcomes()

    @blocking
    async def _call_info(self) -> messages.CallInfo:
        """Return the state of the call, without reporting it to the observer."""
        __tracebackhide__ = True
        return await self._info()

    def _request_progress(self) -> None:
        """Ask the hub for the progress of the call, which is reported to its observer. Does not wait."""
        client = self._client or current()
        if client is not None:
            client.send(messages.Watch(0, self._id, 0, 0))

    async def _watch_outcomes(self) -> messages.CallInfo:
        __tracebackhide__ = True
        expected = self._expect(await attached(self._client), range(1))
        try:
            return await expected.request()
        finally:
            expected.leave()

    def __await__(self) -> Generator[Any, None, R]:
        return self.get.aio().__await__()

    def __repr__(self) -> str:
        return f"<FunctionCall {self._id}{f' of {self._name}' if self._name else ''}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionCall.from_id, (self._id,)


class _Results(Stream[R]):
    """The result of `FunctionCall.iter`."""

    def __init__(self, handle: FunctionCall[R], start: int, end: int | None) -> None:
        self._handle = handle
        self._next, self._end = start, end
        self._checked = False
        self._page: OutcomeWaiter | None = None
        self._pending: list[Future[Output]] = []

    async def _more(self) -> list[R]:
        __tracebackhide__ = True
        client = await attached(self._handle._client)
        if not self._pending:
            await self._turn_page(client)
        assert self._page is not None
        try:
            batch = [await self._page.result(self._pending.pop(0))]
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            note_detached(error, self._handle.object_id)
            raise
        while self._pending and self._is_plain(self._pending[0]):
            batch.append(await self._page.result(self._pending.pop(0)))
        return batch

    @staticmethod
    def _is_plain(future: Future[Output]) -> bool:
        """Return whether an outcome has arrived and is a success; a failure would discard the results before it."""
        return (
            future.done()
            and future.exception() is None
            and future.result().status == InputStatus.SUCCESS
        )

    async def _turn_page(self, client: Client) -> None:
        __tracebackhide__ = True
        self._stop()
        if not self._checked:
            count = (await self._handle._info()).num_inputs
            end = count if self._end is None else self._end
            if not 0 <= self._next <= end <= count:
                raise ValueError(
                    f"Invalid index range: start={self._next}, end={end}, of a call with {count} inputs."
                )
            self._end, self._checked = end, True
        assert self._end is not None
        page = range(self._next, min(self._next + PAGE, self._end))
        if not page:
            raise StopAsyncIteration
        self._next = page.stop
        self._page = self._handle._expect(client, page)
        self._pending = list(self._page.futures)
        await self._page.request()

    def _stop(self) -> None:
        if self._page is not None:
            self._page.leave()
            self._page = None


# --- recent calls --------------------------------------------------------------------------------


@Blocking
async def calls(*, all: bool = False, client: Client | None = None) -> list[CallRow]:  # noqa: A002 - as in a shell
    """Return the recent calls of this notebook, or of the script of this name, without the session of a notebook.

    Running ones come first, then ended ones, the latest first. Each has ``id``, ``function``, ``app``,
    ``kind``, ``ended``, ``state`` (queued, starting, running, detached, succeeded, failed, cancelled), ``age`` in
    seconds and ``origin``. Its ``total`` inputs are ``succeeded``, ``failed``, ``cancelled``, ``running``,
    ``waiting`` or ``not_run``.

    Args:
        all: Whether to return the calls of all processes.
        client: The connection to use; that of this process when not given.
    """
    __tracebackhide__ = True
    overview = await (await attached(client)).request(GetOverview)
    origin = this_origin()
    found = [row for row in overview.calls if row.kind != "session"]
    return [row for row in found if all or row.origin == origin]
