"""`OutcomeWaiter`: waits for outcomes of a spawned call."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from nbfn import exception
from nbfn.client.calls.durable_call import DurableCall
from nbfn.client.calls.outcome import result_of
from nbfn.client.client import Client
from nbfn.client.connection import settle
from nbfn.protocol import messages
from nbfn.protocol.messages import FunctionInfo, Output
from nbfn.runtime.sync import wait
from nbfn.types import InputStatus


def _unknown_function(name: str) -> FunctionInfo:
    """Return a placeholder for the Function of a call of which only the id is known."""
    nowhere = messages.Environment("", (), "", "", "")
    return FunctionInfo(
        "", "", "", name, 0, False, False, False, "", "", nowhere, 0.0, messages.PoolSettings()
    )


class OutcomeWaiter:
    """Waits for the outcomes of some inputs of a call.

    Args:
        client: The connection to use.
        call_id: The call's id.
        name: Its Function's name; empty if not known.
        indices: The inputs.
        on_output: Called with each outcome.
    """

    def __init__(
        self,
        client: Client,
        call_id: str,
        name: str,
        indices: range,
        on_output: Callable[[Output], None],
    ) -> None:
        self._client = client
        self._name = name
        self._indices = indices
        self._on_output = on_output
        self._info: messages.CallInfo | None = None
        while True:
            known = client.tracked(call_id)
            if not isinstance(known, DurableCall):
                known = DurableCall(client, _unknown_function(name), call_id=call_id)
            self._call = known
            self.futures = [known.expect(index) for index in indices]
            if client.track(known) is known:
                return
            known.leave(self.futures)  # it ended just now, and another thread watches it again

    async def request(self) -> messages.CallInfo:
        """Ask the hub for the outcomes, which it sends now or when the inputs end.

        Returns:
            The state of the call.

        Raises:
            NotFoundError: If there is no such call.
            InvalidError: If there are no such inputs.
        """
        __tracebackhide__ = True
        call, indices = self._call, self._indices
        self._info = info = await call.watch(indices.start, indices.stop)
        if indices.start < 0 or (info.closed and indices.stop > info.num_inputs):
            wrong = indices.start if indices.start < 0 else indices.stop - 1
            raise exception.InvalidError(
                f"Call {call.id} has {info.num_inputs} inputs; there is no index {wrong}."
            )
        if info.expired:
            for future in self.futures:
                gone = f"The results of call {call.id} were kept for their time and are gone (setting retention)."
                settle(future, error=exception.OutputExpiredError(gone))
        return info

    async def result(self, future: Future[Output]) -> Any:
        """Wait for one of `futures` and return its value.

        Raises:
            Exception: What the function raised.
        """
        __tracebackhide__ = True
        output = await self.output(future)
        return result_of(self._client.serializer, output, self._name, self._call.id)

    async def output(self, future: Future[Output], timeout: float | None = None) -> Output:
        """Wait for one of `futures` and return the outcome.

        Raises:
            builtins.TimeoutError: After ``timeout`` seconds.
        """
        __tracebackhide__ = True
        try:
            output = await wait(future, timeout)
        except builtins.TimeoutError:
            of = f" of {self._name!r}" if self._name else ""
            raise builtins.TimeoutError(
                f"Call {self._call.id}{of} was not ready after {timeout:g} s; it goes on."
            ) from None
        self._on_output(output)
        return output

    def leave(self) -> None:
        """Stop waiting."""
        self._call.leave(self.futures)
        if self._info is not None:
            self._call.release_if_ended(self._info)


async def all_or_first_failure(
    futures: Sequence[Future[Output]], expected: Sequence[OutcomeWaiter]
) -> None:
    """Wait until all futures are done; raise the error of the first to fail."""
    __tracebackhide__ = True
    news: Future[int | None] = Future()
    missing = set(range(len(futures)))

    def arrived(place: int, future: Future[Output]) -> None:
        missing.discard(place)
        if future.exception() is not None or future.result().status != InputStatus.SUCCESS:
            settle(news, place)
        elif not missing:
            settle(news, None)

    for place, future in enumerate(futures):
        future.add_done_callback(lambda done, place=place: arrived(place, done))  # type: ignore[misc]
    failed = await wait(news)
    if failed is not None:
        await expected[failed].result(futures[failed])
