"""The results of detached calls of this process (see `nbfn.client.calls.interrupt`)."""

from __future__ import annotations

from typing import Any

from nbfn.client.calls import interrupt
from nbfn.client.calls.active_call import SingleCall
from nbfn.client.calls.generator_call import GeneratorCall
from nbfn.client.calls.outcome import result_of
from nbfn.runtime.stream import Stream
from nbfn.runtime.sync import blocking, wait


class DetachedCall:
    """A `remote` call that was detached. It lasts as long as this process."""

    def __init__(self, call: SingleCall) -> None:
        self._call = call
        self._found: list[Any] = []  # the result, once it was unpickled

    @property
    def object_id(self) -> str:
        """The call's id."""
        return self._call.id

    @blocking
    async def get(self, timeout: float | None = None) -> Any:
        """Wait for the result and return it.

        Args:
            timeout: Seconds to wait; None waits as long as it takes.

        Raises:
            builtins.TimeoutError: If it was not ready in time; the call goes on.
            Exception: What the function raised.
        """
        __tracebackhide__ = True
        call = self._call
        try:
            output = await wait(call.outcome, timeout)
        except KeyboardInterrupt as error:
            interrupt.note_detached(error, call.id)
            raise
        if not self._found:
            value = result_of(call.client.serializer, output, call.function.name, call.id)
            self._found.append(value)
        return self._found[0]

    def cancel(self) -> None:
        """Cancel the call."""
        self._call.cancel()

    def __repr__(self) -> str:
        state = "ended" if self._call.outcome.done() else "running"
        return f"<call {self._call.id} of {self._call.function.name}, {state}: .get() waits for it>"


class DetachedItems(Stream[Any]):
    """The remaining items of a `remote_gen` call that was detached."""

    def __init__(self, call: GeneratorCall) -> None:
        self._call = call
        self._touched = True

    async def _more(self) -> list[Any]:
        __tracebackhide__ = True
        return await self._call.take()

    def _stop(self) -> None:
        self._call.abandon()

    def __repr__(self) -> str:
        return f"<items of {self._call.function.name} ({self._call.id}): iterate over them>"


def detached_call(call_id: str) -> DetachedCall | DetachedItems | None:
    """Return the detached call of an id, if there is one."""
    call = interrupt.detached_call(call_id)
    if isinstance(call, GeneratorCall):
        return DetachedItems(call)
    return DetachedCall(call) if isinstance(call, SingleCall) else None
