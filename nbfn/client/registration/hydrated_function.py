"""`HydratedFunction`: what is known of a Function or class since it was registered or looked up."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import msgspec

from nbfn.client.client import Client
from nbfn.declarations.lifecycle import remote_methods
from nbfn.exception import InvalidError, NotFoundError, SerializationError
from nbfn.protocol.messages import (
    FunctionInfo,
    Payload,
)
from nbfn.serialization import function_pickling, module_reload, pickle_diagnosis, pickler
from nbfn.serialization.argument_modules import ArgumentModules
from nbfn.serialization.dependencies import DependencySnapshot, FileWatch, type_name
from nbfn.serialization.module_reload import ReloadedModules
from nbfn.serialization.user_modules import pickled_by_value

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
            view = dataclasses.replace(self, info=seen, raw=bound, views={})
            self.views[method] = view
        return view

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


def _named(
    raw: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterable[tuple[str, Any]]:
    names: list[str] = []
    if raw is not None:
        try:
            names = [
                p.name
                for p in inspect.signature(raw).parameters.values()
                if p.kind not in (p.VAR_KEYWORD,)
            ]
        except (ValueError, TypeError):
            names = []
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
