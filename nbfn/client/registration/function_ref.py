"""Where a handle's Function comes from, and how it becomes live: written here, or found at the hub
(`nbfn.api.variants`: a variant of either).

Handles (`Function`, `Cls`, instances) share refs: all methods of an object have one. An ref
travels in pickles, as an id or a name, never by value.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import msgspec

from nbfn import _unpickle, context, exception
from nbfn.client.client import Client, attached
from nbfn.client.process_info import this_environment
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.definition import HydratedFunction
from nbfn.client.registration.option_encoding import variant_digest
from nbfn.config import default_environment
from nbfn.exception import InvalidError
from nbfn.protocol import messages
from nbfn.protocol.messages import Definition, FunctionInfo, Message, Variant
from nbfn.runtime.sync import run
from nbfn.runtime.traceback_filter import users_level
from nbfn.serialization import code_version, module_reload, random_generators
from nbfn.serialization.argument_modules import Brought
from nbfn.serialization.cell_source import helpers
from nbfn.serialization.code_version import Code, Twin
from nbfn.serialization.dependencies import HANDLES, handles_in
from nbfn.serialization.module_reload import Unloadable
from nbfn.serialization.user_modules import local_modules

#: Variants that an ref remembers to have bound.
BOUND_KEPT = 32
#: What is said of a random generator that a Function takes along.
_COPIED = (
    "Function {!r} takes the random generator {{!r}} along: every worker begins with a copy of it and draws the "
    "same numbers."
)


class FunctionRef:
    """What several handles of one Function share.

    Args:
        name: The Function's name.
        shown: How handles of it print.

    Attributes:
        state: What is known, once the hub was asked.
        client: The connection to use; None for this process's.
        known_id: Its id, where it came here as that.
        dumping: Whether its code is being pickled right now: what it refers to is part of it.
    """

    known_id = ""
    dumping = False
    _warned = False  # of a random generator

    def __init__(self, name: str, shown: str) -> None:
        self.name = name
        self.shown = shown
        self.state: HydratedFunction | None = None
        self.client: Client | None = None
        self._registering = False
        self._bound: OrderedDict[str, str] = OrderedDict()  # digests of variants to their ids ...
        self._bound_of = ("", 0)  # ... at this id, in this epoch of the hub

    @property
    def id(self) -> str | None:
        """Its id, where that is known."""
        return self.state.info.id if self.state is not None else self.known_id or None

    @property
    def registering(self) -> bool:
        """Whether the hub is about to know it: who refers to it meanwhile has to do so by its name."""
        return self._registering

    def look_for_generators(self, found: Iterable[tuple[str, Any]], sentence: str) -> None:
        """Warn, once, of a random generator that travels to workers; arguments as of `randomness.warn`."""
        if not self._warned:
            self._warned = random_generators.warn(found, sentence)

    def current(self) -> HydratedFunction | None:
        """Return what is known if it is still true, without asking the hub; None if it must be resolved."""
        state = self.state
        return state if state is not None and state.current() else None

    async def resolve(self) -> HydratedFunction:
        """Return what is known of it, after registering it or looking it up if needed."""
        raise NotImplementedError

    async def resolve_again(self) -> HydratedFunction:
        """Return what the hub knows now: what was found by name may have become something else."""
        return await self.resolve()

    def definition(self) -> Any | None:
        """Return the function or class itself; None if it is not in this process."""
        return None

    async def hydrate(self, client: Client | None) -> None:
        """Resolve it, from now on through another connection if one is given."""
        __tracebackhide__ = True
        if client is not None and client is not self.client:
            self.client, self.state = await attached(client), None
        await self.resolve()

    async def bind(self, live: HydratedFunction, variant: Variant, shown: str) -> str:
        """Return the id of a variant of it, from memory or from the hub."""
        now = (live.info.id, live.epoch)
        if self._bound_of != now:
            self._bound.clear()
            self._bound_of = now
        digest = variant_digest(variant)
        known = self._bound.get(digest)
        if known is None:
            bind = functools.partial(
                messages.BindVariant,
                function=live.info.id,
                variant=variant,
                digest=digest,
                shown=shown,
            )
            answer: messages.Registered = await live.client.request(bind)
            known = self._bound[digest] = answer.info.id
            live.client.remember(known, bind(0))
            if len(self._bound) > BOUND_KEPT:
                self._bound.popitem(last=False)
        self._bound.move_to_end(digest)
        return known


class LocalRef(FunctionRef):
    """A function or class of this process, registered where its App is.

    Args:
        raw: The function or class itself.
        name: What it is called in its App.
        shown: How handles of it print.
        scope: Its App's.
        describe: Makes the definition of ``payload``, its pickle, with a ``carrier`` for that.

    Attributes:
        twin: What its file has now, if it changed since this process imported it.
    """

    twin: Twin | None = None

    def __init__(
        self,
        raw: Callable[..., Any],
        name: str,
        shown: str,
        scope: AppScope,
        describe: Callable[..., Definition],
    ) -> None:
        super().__init__(name, shown)
        self.raw = raw
        self.scope = scope
        self.describe = describe
        self._looking = False
        self._brought = Brought()

    def current(self) -> HydratedFunction | None:
        """See `FunctionRef.current`; None also where a Function that it calls must be resolved."""
        state = self.state
        if state is None or not state.current():
            return None
        if state.others and not self._looking:  # else this is part of a cycle
            self._looking = True
            try:
                if not all(other.registering or other.current() for other in state.others):
                    return None
            finally:
                self._looking = False
        return state

    async def resolve(self) -> HydratedFunction:
        """See `FunctionRef.resolve`: registers a new version when a captured name was rebound or a file changed."""
        __tracebackhide__ = True
        state = self.state
        if state is None or not state.current():
            client = await attached(self.client)
            if state is None or (state := await self._found_again(client, state)) is None:
                self.state = await self._renew(client)
                return self.state
            self.state = state
        if not self._looking:  # else this is part of a cycle
            self._looking = True
            try:
                for other in state.others:
                    if not other.registering and other.current() is None:
                        await other.resolve()
            finally:
                self._looking = False
        return state

    def definition(self) -> Any | None:
        """See `FunctionRef.definition`."""
        return self.raw

    def move(self, scope: AppScope) -> None:
        """Belong to another App from now on."""
        self.scope, self.state = scope, None

    async def _found_again(
        self, client: Client, state: HydratedFunction
    ) -> HydratedFunction | None:
        """Return what is known, for a hub that came back and has the very version still.

        To call a deployed Function must not deploy it again: another notebook may have redefined it.
        """
        __tracebackhide__ = True
        info = state.info
        if not info.deployed or not state.same_code():
            return None
        try:
            await client.request(lambda number: messages.LookupId(number, info.id, state.version))
        except exception.NotFoundError:
            return None
        return dataclasses.replace(state, client=client, epoch=client.epoch, views={})

    async def _renew(self, client: Client) -> HydratedFunction:
        """Register what it is now; leave it as it was where a file of it cannot be imported."""
        __tracebackhide__ = True
        try:
            code = code_version.code_of(self, self._brought)
        except Unloadable as why:
            state = self.state
            module_reload.warn(self.name, 0 if state is None else state.version, why)
            if state is not None and state.watch is not None and state.same_names():
                state.watch.settle()
                return state
            settled = module_reload.NONE if state is None else state.edition
            code = code_version.code_of(self, self._brought, settled)
        return await self._register(client, code)

    async def _register(self, client: Client, code: Code) -> HydratedFunction:
        __tracebackhide__ = True
        found = [value._ref for _, kind, value in code.snapshot.found if kind in HANDLES]
        others = [ref for ref in found if ref is not self]
        await self._register_others(others)
        by_the_way = _beside(code.edition.modules.values())
        for ref in (self, *by_the_way):
            ref._registering = True
        taken = [(self.name, code.raw), *((name, value) for name, _, value in code.snapshot.found)]
        self.look_for_generators(taken, _COPIED.format(self.name))
        self.dumping = True
        try:
            payload, modules, stand_ins, read = code.dump(self.name)
        finally:
            self.dumping = False
            for ref in (self, *by_the_way):
                ref._registering = False
        definition = code.describe(payload=payload, carrier=client.carrier.durable, files=read)
        # After its digest was taken: a comment in a helper's cell makes no other version.
        texts = helpers(code.snapshot, definition.filename)
        definition = msgspec.structs.replace(definition, name=self.name, helpers=texts)
        info = await self.scope.register(client, definition)
        return HydratedFunction(
            client,
            client.epoch,
            info,
            info.version,
            code.snapshot,
            modules,
            others,
            code.raw,
            code.watch,
            stand_ins,
            self._brought,
        )

    async def _register_others(self, others: list[FunctionRef]) -> None:
        """Register what this one calls: they travel as ids, those of a cycle by name."""
        self._registering = True
        try:
            for other in others:
                if not other.registering:
                    await other.resolve()
        finally:
            self._registering = False

    def __reduce__(self) -> tuple[Any, ...]:
        if self.registering:  # it refers to itself: it is found by name when it runs
            return _unpickle.reference_in_app, (self.scope.place, self.name, self.scope.environment)
        if self.state is not None:
            return _unpickle.reference_by_id, (self.state.info.id, self.name, 0)
        raise InvalidError(
            f"{self.shown} cannot be sent before the hub knows it. "
            "Call its hydrate() first, or call it once."
        )


def _beside(more: Iterable[ModuleType]) -> list[LocalRef]:
    """Return what the user's modules have and the hub does not know: it goes along with them as a name.

    What a function calls is registered before it; the rest of a module need not be.

    Args:
        more: Modules that stand for some that are imported.
    """
    handles = [handle for module in (*local_modules(), *more) for handle in handles_in(module)]
    bases = (getattr(handle._ref, "base", handle._ref) for handle in handles)  # of variants
    refs = {id(found): found for found in bases}
    return [
        found
        for found in refs.values()
        if isinstance(found, LocalRef) and found.state is None and not found.registering
    ]


class RemoteRef(FunctionRef):
    """What the hub has: it was deployed, or travelled here.

    Args:
        name: Its name.
        shown: How handles of it print.
        find: Makes the message that asks for it.
        pinned: Whether calls stay with the version that was found.
        travels: How to make it again from plain data.

    Attributes:
        what: Function or Cls, for messages.
        travelled: Whether it came here in a pickle.
    """

    what = "Function"
    travelled = False

    def __init__(
        self,
        name: str,
        shown: str,
        find: Callable[[int], Message],
        travels: tuple[Any, ...],
        *,
        pinned: bool,
    ) -> None:
        super().__init__(name, shown)
        self._find = find
        self._pinned = pinned
        self._travels = travels
        self._fetched: Any | None = None

    async def resolve(self) -> HydratedFunction:
        """See `FunctionRef.resolve`."""
        __tracebackhide__ = True
        if self.current() is None:
            self.state = await self._look_up(await attached(self.client))
        assert self.state is not None
        return self.state

    async def resolve_again(self) -> HydratedFunction:
        """See `FunctionRef.resolve_again`."""
        __tracebackhide__ = True
        self.state = None
        return await self.resolve()

    def definition(self) -> Any | None:
        """See `FunctionRef.definition`. A worker fetches that of a reference which it got in a pickle."""
        __tracebackhide__ = True
        if self._fetched is None and self.travelled and not context.is_local():
            self._fetched = run(self._fetch())
        return self._fetched

    async def _fetch(self) -> Any:
        __tracebackhide__ = True
        live = await self.resolve()
        answer: messages.DefinitionTold = await live.client.request(
            lambda number: messages.GetDefinition(number, live.info.id)
        )
        return live.client.carrier.load(answer.definition.payload)

    async def _look_up(self, client: Client) -> HydratedFunction:
        __tracebackhide__ = True
        try:
            answer: messages.Registered = await client.request(self._find)
        except exception.NotFoundError as error:
            if self.what != "Cls":
                raise
            raise exception.NotFoundError(f"Lookup failed for Cls {self.name!r}: {error}") from None
        info = answer.info
        _check_versions(info)
        # A call that finds its App stopped and deployed anew looks for its Function once more.
        client.remember(info.id, self._find(0))
        return HydratedFunction(client, client.epoch, info, info.version if self._pinned else 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._travels


def _check_versions(info: FunctionInfo) -> None:
    """See that what is pickled here can be read there.

    Raises:
        VersionError: If it runs under another Python.
    """
    theirs, ours = info.environment, this_environment()
    if theirs.python != ours.python:
        raise exception.VersionError(
            f"Function {info.name!r} runs under Python {theirs.python}, "
            f"this is Python {ours.python}. Call it from a notebook with Python "
            f"{theirs.python}, or deploy it again from this one."
        )
    if theirs.cloudpickle.partition(".")[0] != ours.cloudpickle.partition(".")[0]:
        warnings.warn(
            f"Function {info.name!r} runs with cloudpickle {theirs.cloudpickle}, this is {ours.cloudpickle}: "
            "functions and classes that are defined here may not be understood there. "
            "Install the same one, or deploy it again from here.",
            UserWarning,
            stacklevel=users_level(),
        )


def by_name(app: str, name: str, environment: str, deployment: int, what: str) -> RemoteRef:
    """Return what was deployed under a name.

    Args:
        app: The App's name.
        name: Its own.
        environment: The environment; the default one when empty.
        deployment: Of its App, to stay with; 0 for the newest.
        what: Function or Cls.
    """
    named = f", environment_name={environment!r}" if environment else ""
    named += f", version={deployment}" if deployment else ""
    made = RemoteRef(
        name,
        f"{what}.from_name({app!r}, {name!r}{named})",
        lambda number: messages.Lookup(
            number, app, name, environment or default_environment(), deployment
        ),
        (_unpickle.reference_by_name, (app, name, environment, deployment, what)),
        pinned=bool(deployment),
    )
    made.what = what
    return made


def by_id(function_id: str, name: str, deployment: int, version: int = 0) -> RemoteRef:
    """Return what came here as its id.

    Args:
        function_id: The id.
        name: Its name.
        deployment: Of its App, to stay with; 0 for the newest ...
        version: ... or the version of itself.
    """
    made = RemoteRef(
        name,
        f"<Function {name!r} {function_id}>",
        lambda number: messages.LookupId(number, function_id, version, deployment),
        (_unpickle.reference_by_id, (function_id, name, deployment, version)),
        pinned=bool(deployment or version),
    )
    made.known_id = function_id
    made.travelled = True
    return made


def by_app(app: str, name: str, environment_name: str) -> RemoteRef:
    """Return the reference to a Function that was pickled as a name in its App, as part of a cycle."""
    made = by_name(app, name, environment_name, 0, "Function")
    made.travelled = True
    return made
