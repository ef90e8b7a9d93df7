"""`RegistrationCache`: keeps the messages that registered Functions, for a hub that has forgotten these.

A hub forgets ephemeral Apps when it ends. If it refuses a call for that reason, the Function is registered again and
the call is sent once more.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec

from nbfn import exception
from nbfn.client.calls.active_call import ActiveCall
from nbfn.protocol import messages
from nbfn.protocol.messages import FunctionInfo, Message


class RegistrationCache:
    """The registrations of one connection. Used on its thread.

    Args:
        request: Sends a request without waiting and returns its answer.
    """

    def __init__(self, request: Callable[[Message], Future[Any]]) -> None:
        self._send_request = request
        self._kept: dict[str, Message] = {}  # by Function

    def keep(self, function_id: str, register: Message) -> None:
        """Keep the message that registered a Function."""
        self._kept[function_id] = register

    def refused(self, call: ActiveCall, error: exception.Error, epoch: int) -> None:
        """Handle a refused call: register its Function again if the hub has forgotten it, otherwise fail the call."""
        register = self._kept.get(call.function.id)
        unknown = isinstance(error, exception.NotFoundError)
        if not unknown or register is None or call.reopened == epoch:
            call.fail(error)
            return
        call.reopened = epoch
        self._register(call, register)

    def _register(self, call: ActiveCall, register: Message) -> None:
        """Register the Function of a call again; of a variant, its base first."""
        base = register.function if isinstance(register, messages.BindVariant) else ""
        if (of_base := self._kept.get(base)) is not None:

            def then(info: FunctionInfo) -> None:
                bind = msgspec.structs.replace(register, function=info.id)
                self._request(call, bind, lambda variant: self._reopen(call, bind, variant))

            self._request(call, of_base, then)
        else:
            self._request(call, register, lambda info: self._reopen(call, register, info))

    def _request(
        self, call: ActiveCall, register: Message, then: Callable[[FunctionInfo], None]
    ) -> None:
        def arrived(done: Future[messages.Registered]) -> None:
            if isinstance(error := done.exception(), exception.Error):
                call.fail(error)
            else:
                then(done.result().info)

        self._send_request(register).add_done_callback(arrived)

    def _reopen(self, call: ActiveCall, register: Message, info: FunctionInfo) -> None:
        self.keep(info.id, register)
        before = call.function
        call.function = msgspec.structs.replace(info, name=before.name, method=before.method)
        call.version = info.version
        call.client.send(lambda: call.opening(resent=True))
