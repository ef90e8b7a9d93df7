"""Loads the web endpoints of an App in a worker before the first request."""

from __future__ import annotations

import builtins
from collections.abc import Iterable

import msgspec

from nbfn.client.calls.active_call import SingleCall
from nbfn.client.calls.outcome import result_of
from nbfn.client.client import Client
from nbfn.client.registration.function_ref import HydratedFunction
from nbfn.exception import DeserializationError, Error, ExecutionError
from nbfn.protocol.messages import FunctionInfo, Payload
from nbfn.runtime import console_output
from nbfn.runtime.sync import wait
from nbfn.serialization.payload import Serializer
from nbfn.types import LOAD_METHOD, InputStatus

#: Seconds to wait for an endpoint.
WITHIN = 10.0


async def load_endpoints(
    client: Client, states: Iterable[HydratedFunction | None], else_: str = ""
) -> None:
    """Load each web endpoint in a worker, which then waits for its first request.

    Args:
        client: The connection to use.
        states: What is known of the Functions and classes of an App.
        else_: A sentence that says what happens to the App if one cannot be loaded.

    Raises:
        ExecutionError: If one cannot be loaded; its cause is the error in the worker.
    """
    __tracebackhide__ = True
    hydrated = [state for state in states if state is not None and _can_be_loaded(state.info)]
    calls = [_begun(client, state.info) for state in hydrated]
    try:
        for state, call in zip(hydrated, calls, strict=True):
            await _settled(state, call, else_)
    finally:
        for call in calls:
            call.abandon()  # does nothing if it has ended


def _can_be_loaded(info: FunctionInfo) -> bool:
    """Return whether a Function is a web endpoint whose worker can start now.

    A web server cannot, since the previous version still has its port; nor can a class whose objects need parameters.
    """
    endpoints = [info.endpoint, *(method.endpoint for method in info.methods)]
    kinds = {endpoint.kind for endpoint in endpoints if endpoint is not None}
    needs = info.takes_arguments or any(one.default is None for one in info.parameters)
    return bool(kinds) and "server" not in kinds and not needs


def _begun(client: Client, info: FunctionInfo) -> SingleCall:
    target = msgspec.structs.replace(info, method=LOAD_METHOD)
    call = SingleCall(client, target, "remote", Payload(Serializer.nothing()), info.version, "")
    client.open(call)
    return call


async def _settled(state: HydratedFunction, call: SingleCall, else_: str) -> None:
    __tracebackhide__ = True
    name = call.function.name
    try:
        found = await wait(call.outcome, WITHIN)
    except builtins.TimeoutError:
        console_output.write_line(
            f"  {name!r} was not loaded within {WITHIN:.0f} s; its first request waits for it."
        )
        return
    except Error:
        return  # refused, or the hub is gone: the next request to the hub fails then
    if found.status == InputStatus.SUCCESS:
        return
    try:
        result_of(state.client.serializer, found, name, call.id)
    except Exception as error:
        known = state.unloadable() if isinstance(error, DeserializationError) else ""
        why = known or f"{type(error).__name__}: {str(error).removesuffix('.')}."
        raise ExecutionError(
            f"Web endpoint {name!r} cannot be loaded in a worker: {why}{else_}"
        ) from error
