"""A client makes, finds and sizes Functions."""

from __future__ import annotations

from nbfn.protocol.messages.base import Message
from nbfn.protocol.messages.definition import Definition, FunctionInfo, PoolSettings, Variant
from nbfn.protocol.messages.fields import Count, Id, Token


class Register(Message):
    """Make or update a Function of an App. ``app_id`` is the client's own for an ephemeral App,
    empty for a deployed one.
    """

    request: Token
    app: str
    definition: Definition
    app_id: Id = ""
    environment_name: str = ""
    staged: bool = False  # only stored: a `Deploy` that names this version follows


class BindVariant(Message):
    """Make a variant of a Function, or find it: the same digest is the same variant."""

    request: Token
    function: Id
    variant: Variant
    digest: str
    shown: str = ""  # for people, after the Function's name: "(name='x')"


class Lookup(Message):
    """Find a deployed Function by App and name, or the version that a deployment of the App had."""

    request: Token
    app: str
    name: str
    environment_name: str = ""
    deployment: Count = 0


class LookupId(Message):
    """Find any Function by its id; with a version, whether it has that one still."""

    request: Token
    function: Id
    version: Count = 0
    deployment: Count = 0


class Registered(Message):
    """Answer to `Register`, `BindVariant`, `Lookup` and `LookupId`."""

    request: int
    info: FunctionInfo


class GetDefinition(Message):
    """Tell a definition of a Function: a worker runs it itself, by `Function.local`; who looks for an error, too."""

    request: Token
    function: Id
    version: Count = 0  # the newest


class DefinitionTold(Message):
    """Answer to `GetDefinition`."""

    request: int
    definition: Definition


class LookupEndpoint(Message):
    """Find what answers under a label; `EndpointFound`."""

    request: Token
    label: str


class EndpointFound(Message):
    """Answer to `LookupEndpoint`: the Function, or the class and its ``method``."""

    request: int
    info: FunctionInfo
    method: str = ""


class SetAutoscaler(Message):
    """Override a Function's pool settings; what is None stays."""

    request: Token
    function: Id
    settings: PoolSettings


class AutoscalerSet(Message):
    """Answer to `SetAutoscaler`: what is in force now."""

    request: int
    settings: PoolSettings


class GetStats(Message):
    """Ask for a Function's counters."""

    request: Token
    function: Id


class Stats(Message):
    """Answer to `GetStats`."""

    request: int
    backlog: int
    workers: int
    running: int
    headroom: int
