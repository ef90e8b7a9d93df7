"""`FunctionRef`: what a `Function` or `Cls` refers to, and how it is registered or looked up.

`LocalRef` is a function or class of this process, `RemoteRef` one that was deployed or came in a pickle, and
`nbfn.api.variants.VariantRef` a variant of either. The methods of an object share one reference. References are pickled
as an id or a name, never by value.
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
from nbfn.client.registration.hydrated_function import HydratedFunction
from nbfn.client.registration.option_encoding import variant_digest
from nbfn.config import default_environment
from nbfn.exception import InvalidError
from nbfn.protocol import messages
from nbfn.protocol.messages import Definition, FunctionInfo, Message, Variant
from nbfn.runtime.sync import run
from nbfn.runtime.traceback_filter import users_level
from nbfn.serialization import code_version, module_reload, random_generators
from nbfn.serialization.argument_modules import ArgumentModules
from nbfn.serialization.cell_source import helper_texts
from nbfn.serialization.code_version import CodeVersion, ReloadedDefinition
from nbfn.serialization.dependencies import HANDLES, handles_in
from nbfn.serialization.module_reload import Unloadable
from nbfn.serialization.user_modules import local_modules

#: Most variants whose ids a reference keeps.
BOUND_KEPT = 32
#: Warns of a random generator that a Function captures.
_COPIED = (
    "Function {!r} takes the random generator {{!r}} along: every worker begins with a copy of it and draws the "
    "same numbers."
)


class FunctionRef:
    """What a Function or class refers to.

    Args:
        name: The Function's name.
        shown: The repr of the Function or class.

    Attributes:
        state: What is known since it was registered or looked up; None before.
        client: The connection to use; None for that of this process.
        known_id: Its id, if that was in a pickle.
        pickling: Whether its code is being pickled now, so that a reference to itself is part of it.
    """

    known_id = ""
    pickling = False
    _warned = False  # about a random generator

    def __init__(self, name: str, shown: str) -> None:
        self.name = name
        self.shown = shown
        self.state: HydratedFunction | None = None
        self.client: Client | None = None
        self._registering = False
        self._bound: OrderedDict[str, str] = OrderedDict()  # ids of variants by their digests ...
        self._bound_of = ("", 0)  # ... of this id, in this epoch of the hub

    @property
    def base(self) -> FunctionRef:
        """What this is a variant of; itself if it is none."""
        return self

    @property
    def id(self) -> str | None:
        """Its id, if known."""
        return self.state.info.id if self.state is not None else self.known_id or None

    @property
    def registering(self) -> bool:
        """Whether it is being registered now, so that others must refer to it by its name."""
        return self._registering

    def look_for_generators(self, found: Iterable[tuple[str, Any]], sentence: str) -> None:
        """Warn, once, of a random generator that is sent to workers; see `random_generators.warn`."""
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
        """Look it up again: the name may belong to something else by now."""
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

    async def bind(self, hydrated: HydratedFunction, variant: Variant, shown: str) -> str:
        """Return the id of a variant of it, which is registered if needed."""
        now = (hydrated.info.id, hydrated.epoch)
        if self._bound_of != now:
            self._bound.clear()
            self._bound_of = now
        digest = variant_digest(variant)
        known = self._bound.get(digest)
        if known is None:
            bind = functools.partial(
                messages.BindVariant,
                function=hydrated.info.id,
                variant=variant,
                digest=digest,
                shown=shown,
            )
            answer: messages.Registered = await hydrated.client.request(bind)
            known = self._bound[digest] = answer.info.id
            hydrated.client.remember(known, bind(0))
            if len(self._bound) > BOUND_KEPT:
                self._bound.popitem(last=False)
        self._bound.move_to_end(digest)
        return known


class LocalRef(FunctionRef):
    """A function or class of this process, which is registered in the scope of its App.

    Args:
        raw: The undecorated function or class.
        name: Its name in its App.
        shown: The repr of the Function or class.
        scope: The scope of its App.
        describe: Makes the definition from ``payload``, its pickle, and a ``serializer``.

    Attributes:
        twin: What its file defines now, if the file has changed since this process imported it.
    """

    twin: ReloadedDefinition | None = None

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
        self._checking = False
        self._brought = ArgumentModules()

    def current(self) -> HydratedFunction | None:
        """See `FunctionRef.current`; None also where a Function that it calls must be resolved."""
        state = self.state
        if state is None or not state.current():
            return None
        if state.others and not self._checking:  # else this is part of a cycle
            self._checking = True
            try:
                if not all(other.registering or other.current() for other in state.others):
                    return None
            finally:
                self._checking = False
        return state

    async def resolve(self) -> HydratedFunction:
        """See `FunctionRef.resolve`: registers a new version when a captured name was rebound or a file changed."""
        __tracebackhide__ = True
        state = self.state
        if state is None or not state.current():
            client = await attached(self.client)
            if state is None or (state := await self._still_registered(client, state)) is None:
                self.state = await self._renew(client)
                return self.state
            self.state = state
        if not self._checking:  # else this is part of a cycle
            self._checking = True
            try:
                for other in state.others:
                    if not other.registering and other.current() is None:
                        await other.resolve()
            finally:
                self._checking = False
        return state

    def definition(self) -> Any | None:
        """See `FunctionRef.definition`."""
        return self.raw

    def move(self, scope: AppScope) -> None:
        """Move it to another App."""
        self.scope, self.state = scope, None

    async def _still_registered(
        self, client: Client, state: HydratedFunction
    ) -> HydratedFunction | None:
        """Return what is known, if a hub that was restarted still has this version; otherwise None.

        A call of a deployed Function must not deploy it again: another notebook may have redefined it.
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
        """Register the current version; keep the previous one if a file of it cannot be imported now."""
        __tracebackhide__ = True
        try:
            code = code_version.current_code(self, self._brought)
        except Unloadable as why:
            state = self.state
            module_reload.warn_unloadable(self.name, 0 if state is None else state.version, why)
            if state is not None and state.watch is not None and state.same_names():
                state.watch.settle()
                return state
            settled = module_reload.UNCHANGED if state is None else state.edition
            code = code_version.current_code(self, self._brought, settled)
        return await self._register(client, code)

    async def _register(self, client: Client, code: CodeVersion) -> HydratedFunction:
        __tracebackhide__ = True
        found = [value._ref for _, kind, value in code.snapshot.found if kind in HANDLES]
        others = [ref for ref in found if ref is not self]
        await self._register_others(others)
        by_the_way = _unregistered_handles(code.edition.modules.values())
        for ref in (self, *by_the_way):
            ref._registering = True
        taken = [(self.name, code.raw), *((name, value) for name, _, value in code.snapshot.found)]
        self.look_for_generators(taken, _COPIED.format(self.name))
        self.pickling = True
        try:
            payload, modules, stand_ins, read = code.dump(self.name)
        finally:
            self.pickling = False
            for ref in (self, *by_the_way):
                ref._registering = False
        definition = code.describe(
            payload=payload, serializer=client.serializer.durable, files=read
        )
        # After the digest: a comment in a helper's cell makes no new version.
        texts = helper_texts(code.snapshot, definition.filename)
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
        """Register the Functions that this one calls. They are pickled as ids, those of a cycle as names."""
        self._registering = True
        try:
            for other in others:
                if not other.registering:
                    await other.resolve()
        finally:
            self._registering = False

    def __reduce__(self) -> tuple[Any, ...]:
        if self.registering:  # part of a cycle: looked up by name when it runs
            return _unpickle.reference_in_app, (self.scope.place, self.name, self.scope.environment)
        if self.state is not None:
            return _unpickle.reference_by_id, (self.state.info.id, self.name, 0)
        raise InvalidError(
            f"{self.shown} cannot be sent before it is registered. "
            "Call its hydrate() first, or call it once."
        )


def _unregistered_handles(more: Iterable[ModuleType]) -> list[LocalRef]:
    """Return the references in the user's modules that are not registered, which are pickled as names.

    The Functions that a function calls are registered before it; others in its module need not be.

    Args:
        more: Newer editions of imported modules.
    """
    handles = [handle for module in (*local_modules(), *more) for handle in handles_in(module)]
    refs = {id(handle._ref.base): handle._ref.base for handle in handles}
    return [
        found
        for found in refs.values()
        if isinstance(found, LocalRef) and found.state is None and not found.registering
    ]


class RemoteRef(FunctionRef):
    """A function or class that was deployed, or came in a pickle.

    Args:
        name: Its name.
        shown: The repr of the Function or class.
        find: Makes the request that looks it up.
        reduced: The value of its ``__reduce__``.
        pinned: Whether calls stay with the version that was found.

    Attributes:
        what: "Function" or "Cls", for messages.
        from_pickle: Whether it came in a pickle.
    """

    what = "Function"
    from_pickle = False

    def __init__(
        self,
        name: str,
        shown: str,
        find: Callable[[int], Message],
        reduced: tuple[Any, ...],
        *,
        pinned: bool,
    ) -> None:
        super().__init__(name, shown)
        self._find = find
        self._pinned = pinned
        self._reduced = reduced
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
        if self._fetched is None and self.from_pickle and not context.is_local():
            self._fetched = run(self._fetch())
        return self._fetched

    async def _fetch(self) -> Any:
        __tracebackhide__ = True
        hydrated = await self.resolve()
        answer: messages.DefinitionTold = await hydrated.client.request(
            lambda number: messages.GetDefinition(number, hydrated.info.id)
        )
        return hydrated.client.serializer.load(answer.definition.payload)

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
        # If its App was stopped and deployed again, a call looks its Function up once more.
        client.remember(info.id, self._find(0))
        return HydratedFunction(client, client.epoch, info, info.version if self._pinned else 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduced


def _check_versions(info: FunctionInfo) -> None:
    """Check that workers of a Function can unpickle arguments from this process.

    Raises:
        VersionError: If they run under another version of Python.
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
            "functions and classes that are defined here may not be unpickled there. "
            "Install the same one, or deploy it again from here.",
            UserWarning,
            stacklevel=users_level(),
        )


def by_name(app: str, name: str, environment: str, deployment: int, what: str) -> RemoteRef:
    """Return a reference to a deployed Function or class.

    Args:
        app: The App's name.
        name: Its name.
        environment: The environment; the default one when empty.
        deployment: The version of its App to stay with; 0 for the newest.
        what: "Function" or "Cls".
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
    """Return a reference to a Function or class whose id was in a pickle.

    Args:
        function_id: The id.
        name: Its name.
        deployment: The version of its App to stay with; 0 for the newest ...
        version: ... or the version of the Function.
    """
    made = RemoteRef(
        name,
        f"<Function {name!r} {function_id}>",
        lambda number: messages.LookupId(number, function_id, version, deployment),
        (_unpickle.reference_by_id, (function_id, name, deployment, version)),
        pinned=bool(deployment or version),
    )
    made.known_id = function_id
    made.from_pickle = True
    return made


def by_app(app: str, name: str, environment_name: str) -> RemoteRef:
    """Return the reference to a Function that was pickled as a name in its App, as part of a cycle."""
    made = by_name(app, name, environment_name, 0, "Function")
    made.from_pickle = True
    return made
