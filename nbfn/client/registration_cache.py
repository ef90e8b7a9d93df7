"""`RegistrationCache`: what made the Functions of this process known, said again to a hub that has lost them.

A hub forgets ephemeral Apps when it ends. A call that it refuses for that is opened again, once, when
its Function is there.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec

from nbfn import exception
from nbfn.client.active_call import ActiveCall
from nbfn.protocol import messages
from nbfn.protocol.messages import FunctionInfo, Message


class RegistrationCache:
    """Those of one connection; used on its thread.

    Args:
        ask: Asks the hub without waiting, and gives the answer.
    """

    def __init__(self, ask: Callable[[Message], Future[Any]]) -> None:
        self._ask = ask
        self._kept: dict[str, Message] = {}  # by Function

    def keep(self, function_id: str, register: Message) -> None:
        """Keep what registered a Function."""
        self._kept[function_id] = register

    def refused(self, call: ActiveCall, error: exception.Error, epoch: int) -> None:
        """End a call that the hub refused; if it does not know its Function, register that again first."""
        register = self._kept.get(call.function.id)
        unknown = isinstance(error, exception.NotFoundError)
        if not unknown or register is None or call.reopened == epoch:
            call.fail(error)
            return
        call.reopened = epoch
        self._register(call, register)

    def _register(self, call: ActiveCall, register: Message) -> None:
        """Tell a hub again of a call's Function; of a variant's base first."""
        base = register.function if isinstance(register, messages.BindVariant) else ""
        if (of_base := self._kept.get(base)) is not None:

            def then(info: FunctionInfo) -> None:
                bind = msgspec.structs.replace(register, function=info.id)
                self._say(call, bind, lambda variant: self._reopen(call, bind, variant))

            self._say(call, of_base, then)
        else:
            self._say(call, register, lambda info: self._reopen(call, register, info))

    def _say(
        self, call: ActiveCall, register: Message, then: Callable[[FunctionInfo], None]
    ) -> None:
        def arrived(done: Future[messages.Registered]) -> None:
            if isinstance(error := done.exception(), exception.Error):
                call.fail(error)
            else:
                then(done.result().info)

        self._ask(register).add_done_callback(arrived)

    def _reopen(self, call: ActiveCall, register: Message, info: FunctionInfo) -> None:
        self.keep(info.id, register)
        before = call.function
        call.function = msgspec.structs.replace(info, name=before.name, method=before.method)
        call.version = info.version
        call.client.send(lambda: call.opening(resent=True))
