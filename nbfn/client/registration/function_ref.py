"""`FunctionRef`: what a `Function` or `Cls` refers to, and how it is registered or looked up.

`LocalRef` is a function or class of this process, `remote_ref.RemoteRef` one that was deployed or came in a pickle, and
`nbfn.api.variants.VariantRef` a variant of either. `HydratedFunction` is what is known of it then. The methods of an
object share one reference. References are pickled as an id or a name, never by value.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import msgspec

from nbfn import _unpickle, exception
from nbfn.client.client import Client, attached
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.option_encoding import variant_digest
from nbfn.declarations.lifecycle import remote_methods
from nbfn.exception import InvalidError, NotFoundError, SerializationError
from nbfn.protocol import messages
from nbfn.protocol.messages import Definition, FunctionInfo, Payload, Variant
from nbfn.serialization import (
    function_pickling,
    module_reload,
    pickle_diagnosis,
    pickler,
    random_generators,
)
from nbfn.serialization.argument_modules import ArgumentModules
from nbfn.serialization.cell_source import helper_texts
from nbfn.serialization.dependencies import (
    HANDLES,
    DependencySnapshot,
    FileWatch,
    handles_in,
    type_name,
)
from nbfn.serialization.function_pickling import CodeVersion, ReloadedDefinition
from nbfn.serialization.module_reload import ReloadedModules, Unloadable
from nbfn.serialization.user_modules import local_modules, pickled_by_value

#: Most variants whose ids a reference keeps.
BOUND_KEPT = 32
#: Warns of a random generator that a Function captures.
_COPIED = (
    "Function {!r} takes the random generator {{!r}} along: every worker begins with a copy of it and draws the "
    "same numbers."
)


#: Types whose values contain no code that would have to be pickled by value.
_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})


@dataclass(slots=True)
class HydratedFunction:
    """What is known of a Function or class since it was registered or looked up.

    Attributes:
        version: The version that calls ask for: that of a local definition, 0 (the newest) of one found by name.
        callable: Whether `remote` can call it: it is no class, no web endpoint and no generator.
    """

    client: Client
    epoch: int
    info: FunctionInfo
    version: int
    snapshot: DependencySnapshot | None = None
    modules: list[ModuleType] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)  # references to Functions that it calls
    raw: Callable[..., Any] | None = None
    watch: FileWatch | None = None  # of the files with its code
    edition: ReloadedModules = module_reload.UNCHANGED  # the newer modules in its pickle
    brought: ArgumentModules | None = None  # modules of the classes of arguments
    views: dict[str, HydratedFunction] = field(default_factory=dict)  # of a class, by method

    callable: bool = field(init=False)

    def __post_init__(self) -> None:
        info = self.info
        self.callable = info.kind != "cls" and info.endpoint is None and not info.is_generator

    def current(self) -> bool:
        """Return whether it is still true: the same hub, no captured name rebound, no file of its code changed.

        Every call asks this, so it is written out in one function.
        """
        client, snapshot, watch = self.client, self.snapshot, self.watch
        return (
            client.epoch == self.epoch
            and not client.closed
            and (snapshot is None or snapshot.current())
            and (watch is None or not watch.changed())
        )

    def at_hub(self) -> bool:
        """Return whether the hub is still the same."""
        return self.client.epoch == self.epoch and not self.client.closed

    def same_names(self) -> bool:
        """Return whether the hub is the same and no captured name was rebound."""
        return self.at_hub() and self.snapshot is not None and self.snapshot.current()

    def same_code(self) -> bool:
        """Return whether its code is in this process and has not changed."""
        if self.snapshot is None:
            return False
        return self.snapshot.current() and not (self.watch is not None and self.watch.changed())

    def unloadable(self) -> str:
        """Return a sentence that names the captured value which workers cannot unpickle; "" if not known."""
        where = (
            ""
            if self.snapshot is None
            else function_pickling.unloadable(self.snapshot, self.modules)
        )
        if not where:
            return ""
        return f"{self.info.name!r} captures {where}, which cannot be unpickled: make it inside the function."

    def of(self, method: str) -> HydratedFunction:
        """Return what is known of a method of a class; with an empty name, of a function.

        Raises:
            NotFoundError: If it is not a class or not a function, or has no such method.
        """
        info = self.info
        if not method and info.kind != "cls":
            return self
        view = self.views.get(method)
        if view is None:
            view = self.views[method] = self._view_of(method)
        return view

    def _view_of(self, method: str) -> HydratedFunction:
        info = self.info
        found = next((one for one in info.methods if one.name == method), None)
        if found is None:
            raise NotFoundError(_no_method(info, method))
        seen = msgspec.structs.replace(
            info,
            name=f"{info.name}.{method}",
            method=method,
            is_generator=found.is_generator,
            is_async=found.is_async,
            signature=found.signature,
            doc=found.doc,
            endpoint=found.endpoint,
            web_url=found.web_url,
            batching=found.batching,
        )
        raw = remote_methods(self.raw)[method].raw if isinstance(self.raw, type) else None
        bound = raw.__get__(raw) if raw is not None else None  # its signature has no self
        return dataclasses.replace(self, info=seen, raw=bound, views={})

    def pickle(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, durable: bool = False
    ) -> Payload:
        """Pickle the arguments of one input.

        Args:
            args: The arguments.
            kwargs: The keyword arguments.
            durable: Whether large parts are written to disk, since they must outlive this process.

        Raises:
            SerializationError: If one cannot be pickled; the message names it.
        """
        __tracebackhide__ = True
        serializer = self.client.serializer
        if durable:
            serializer = serializer.durable
        try:
            if self.watch is None or (not kwargs and _PLAIN.issuperset(map(type, args))):
                return serializer.dump_arguments(args, kwargs)  # type: ignore[arg-type]
            holds = self.snapshot.contains if self.snapshot is not None else pickler.never
            instead = pickler.replacing(self.edition.instead, holds)
            with pickled_by_value(self.modules), instead as met:
                payload = serializer.dump_arguments(args, kwargs)  # type: ignore[arg-type]
            if self.brought is not None:
                self.brought.add(met, self.watch)
            return payload
        except SerializationError as error:
            if isinstance(error.__cause__, InvalidError):
                raise error.__cause__ from None
            raise self._explained(args, kwargs, error) from error.__cause__

    def _explained(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], error: SerializationError
    ) -> SerializationError:
        for name, value in _named(self.raw, args, kwargs):
            try:
                self.client.serializer.discard(self.client.serializer.dump(value))
            except SerializationError:
                what, remedy = type_name(value), pickle_diagnosis.OPEN_IT
                if found := pickle_diagnosis.find(value):
                    what = found.within(name if found.path else "").removeprefix(" → ")
                    remedy = found.remedy
                return SerializationError(
                    f"Cannot pickle argument {name!r} of {self.info.name!r} ({what}). {remedy}"
                )
        return error


def _parameter_names(raw: Callable[..., Any] | None) -> list[str]:
    """Return the names of parameters that take positional arguments; none if they are not known."""
    if raw is None:
        return []
    try:
        parameters = inspect.signature(raw).parameters.values()
    except (ValueError, TypeError):
        return []
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]


def _named(
    raw: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterable[tuple[str, Any]]:
    names = _parameter_names(raw)
    for number, value in enumerate(args):
        yield (names[number] if number < len(names) else f"number {number + 1}"), value
    yield from kwargs.items()


def not_a_class(info: FunctionInfo) -> str:
    """Return the error text for a function that was looked up as a class."""
    return f"Lookup failed for Cls {info.name!r}: it is a function. Use Function.from_name(...)."


def _no_method(info: FunctionInfo, method: str) -> str:
    if info.kind != "cls":
        return not_a_class(info)
    names = ", ".join(one.name for one in info.methods) or "none"
    if not method:
        return f"{info.name!r} is a class, not a function: use Cls.from_name(...) and a method ({names})."
    return (
        f"Class {info.name!r} has no method {method!r} (there are: {names}). Only methods with a mark such as "
        "@nbfn.method() can be called from elsewhere; attributes of a remote class cannot be read."
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
            await self._resolve_others(state)
        return state

    async def _resolve_others(self, state: HydratedFunction) -> None:
        """Resolve the Functions that it calls."""
        __tracebackhide__ = True
        self._checking = True
        try:
            for other in state.others:
                if not other.registering and other.current() is None:
                    await other.resolve()
        finally:
            self._checking = False

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
            code = function_pickling.current_code(self, self._brought)
        except Unloadable as why:
            state = self.state
            module_reload.warn_unloadable(self.name, 0 if state is None else state.version, why)
            if state is not None and state.watch is not None and state.same_names():
                state.watch.settle()
                return state
            settled = module_reload.UNCHANGED if state is None else state.edition
            code = function_pickling.current_code(self, self._brought, settled)
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
