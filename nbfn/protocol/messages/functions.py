"""Messages with which clients register, look up and scale Functions."""

from __future__ import annotations

from nbfn.protocol.messages.base import Message
from nbfn.protocol.messages.definition import Definition, FunctionInfo, PoolSettings, Variant
from nbfn.protocol.messages.fields import Count, Id, Token


class Register(Message):
    """Create or update a Function of an App.

    ``app_id`` is the id of an ephemeral App of this client; it is empty for a deployed App.
    """

    request: Token
    app: str
    definition: Definition
    app_id: Id = ""
    environment_name: str = ""
    staged: bool = False  # only store the version; a `Deploy` that publishes it follows


class BindVariant(Message):
    """Create or find a variant of a Function; the digest identifies the variant."""

    request: Token
    function: Id
    variant: Variant
    digest: str
    shown: str = ""  # shown to users after the name of the Function, such as "(name='x')"


class Lookup(Message):
    """Find a deployed Function by App and name; with ``deployment``, its version in that deployment."""

    request: Token
    app: str
    name: str
    environment_name: str = ""
    deployment: Count = 0


class LookupId(Message):
    """Find any Function by its id; with ``version``, check that this version still exists."""

    request: Token
    function: Id
    version: Count = 0
    deployment: Count = 0


class Registered(Message):
    """Answer to `Register`, `BindVariant`, `Lookup` and `LookupId`."""

    request: int
    info: FunctionInfo


class GetDefinition(Message):
    """Request the definition of a Function: for `Function.local` in a worker, or to debug it in a client."""

    request: Token
    function: Id
    version: Count = 0  # 0 for the newest


class DefinitionTold(Message):
    """Answer to `GetDefinition`."""

    request: int
    definition: Definition


class LookupEndpoint(Message):
    """Find the web endpoint with a label; the answer is `EndpointFound`."""

    request: Token
    label: str


class EndpointFound(Message):
    """Answer to `LookupEndpoint`: a Function, or a class and the name of its ``method``."""

    request: int
    info: FunctionInfo
    method: str = ""


class SetAutoscaler(Message):
    """Override the pool settings of a Function; settings that are None do not change."""

    request: Token
    function: Id
    settings: PoolSettings


class AutoscalerSet(Message):
    """Answer to `SetAutoscaler`: the settings now in effect."""

    request: int
    settings: PoolSettings


class GetStats(Message):
    """Request the counters of a Function."""

    request: Token
    function: Id


class Stats(Message):
    """Answer to `GetStats`."""

    request: int
    backlog: int
    workers: int
    running: int
    headroom: int


class StopFunction(Message):
    """Cancel the calls of a Function and end its workers; it keeps none warm until its settings change.

    A Function with sessions is refused without ``end_session``.
    """

    request: Token
    function: Id
    end_session: bool = False


class FunctionStopped(Message):
    """Answer to `StopFunction`: how many calls and workers the hub ends."""

    request: int
    calls: int
    workers: int


class RemoveFunction(Message):
    """Stop a Function and remove it from its App, as a deployment without it would; see `StopFunction`."""

    request: Token
    function: Id
    end_session: bool = False
