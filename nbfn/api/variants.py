"""Variants of what a handle stands for: the same code with other options, or as another object of a class.

A variant is bound at the hub when it is first used, and again whenever what it is one of became another.
"""

from __future__ import annotations

import dataclasses
import reprlib
from dataclasses import dataclass
from typing import Any

import msgspec

from nbfn import _unpickle
from nbfn.api.endpoint_checks import no_variants
from nbfn.client.client import Client
from nbfn.client.registration.definition import HydratedFunction
from nbfn.client.registration.function_ref import FunctionRef, LocalRef, RemoteRef
from nbfn.declarations.overrides import applied
from nbfn.declarations.parameters import check_size, encoded, only_keywords
from nbfn.exception import InvalidError, NotFoundError, SerializationError
from nbfn.protocol.messages import Payload, Variant

#: Values of any size, and of types whose repr fails, as they are shown in names.
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 40


@dataclass(frozen=True, slots=True)
class ConstructorArguments:
    """The arguments of a class's constructor."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def encoded(self, live: HydratedFunction) -> tuple[Payload | None, str]:
        """Return what identifies an object made with these, for the worker to make it of, and how it prints.

        Args:
            live: What is known of the class.

        Raises:
            InvalidError: If they do not fit its parameters, or are too large.
            TypeError: If one has another type than its parameter.
            ValueError: If one cannot be pickled.
        """
        info = live.info
        if info.parameters:
            if self.args:
                raise InvalidError(only_keywords(info.name))
            return Payload(encoded(info.name, info.parameters, self.kwargs)), f"({self})"
        if not info.takes_arguments:
            if self.args or self.kwargs:
                raise InvalidError(f"Class {info.name!r} takes no arguments; got ({self}).")
            return None, ""
        try:
            payload = live.pickle(self.args, self.kwargs)
        except SerializationError as error:
            raise ValueError(
                f"The arguments of {info.name!r} must be picklable: {error}"
            ) from error.__cause__
        live.client.carrier.discard(payload)  # nothing as large as that is let through
        check_size(info.name, len(payload.data) + sum(part.size for part in payload.segments))
        return payload, f"({self})"

    def __str__(self) -> str:
        named = (f"{name}={_short.repr(value)}" for name, value in self.kwargs.items())
        return ", ".join([*map(_short.repr, self.args), *named])


class VariantRef(FunctionRef):
    """A variant of a Function: other options, other arguments of a class; bound when it is first used.

    Args:
        base: What it is one of; not itself a variant.
        changes: The other options.
        shown: What follows the base's name.
        supplied: Arguments of a class's constructor, if it is one.
    """

    def __init__(
        self,
        base: FunctionRef,
        changes: Variant,
        shown: str,
        supplied: ConstructorArguments | None = None,
    ) -> None:
        self._over: HydratedFunction | None = None  # the base's state that ours was made of
        super().__init__(base.name, base.shown + shown)
        self.base = base
        self.changes = changes
        self.suffix = shown
        self._supplied = supplied

    @property
    def state(self) -> HydratedFunction | None:
        """What is known; nothing where its base is no longer what it was."""
        return self._state if self._over is not None and self._over is self.base.state else None

    @state.setter
    def state(self, state: HydratedFunction | None) -> None:
        self._state = state

    @property
    def registering(self) -> bool:
        """See `FunctionRef.registering`: a variant is as far as its base."""
        return self.base.registering

    async def live(self) -> HydratedFunction:
        """See `FunctionRef.live`."""
        __tracebackhide__ = True
        base = await self.base.live()
        state = self._state
        if state is None or self._over is not base:
            try:
                state = await self._bind(base)
            except NotFoundError:  # its App was stopped, and perhaps deployed anew
                base = await self.base.again()
                state = await self._bind(base)
            self._state, self._over = state, base
        return state

    async def again(self) -> HydratedFunction:
        """See `FunctionRef.again`."""
        __tracebackhide__ = True
        await self.base.again()
        return await self.live()

    async def hydrate(self, client: Client | None) -> None:
        """See `FunctionRef.hydrate`: a variant is where its base is."""
        __tracebackhide__ = True
        await self.base.hydrate(client)
        await self.live()

    async def _bind(self, base: HydratedFunction) -> HydratedFunction:
        __tracebackhide__ = True
        changes, shown = self.changes, self.suffix
        if self._supplied is not None:
            arguments, said = self._supplied.encoded(base)
            changes = msgspec.structs.replace(changes, arguments=arguments)
            shown += said
        if changes == Variant():
            return base
        if base.info.endpoint is not None:
            raise no_variants(base.info.name)
        variant = await self.base.bind(base, changes, shown)
        info = msgspec.structs.replace(base.info, id=variant, name=base.info.name + shown)
        return dataclasses.replace(base, info=info, views={})

    def __reduce__(self) -> tuple[Any, ...]:
        if (self.changes.env or self.changes.secrets) and self.state is not None:
            # As its id: values of variables stay out of pickles.
            return _unpickle.reference_by_id, (self.state.info.id, self.name, 0)
        supplied = self._supplied
        given = None if supplied is None else (supplied.args, supplied.kwargs)
        changes = msgspec.msgpack.encode(self.changes)
        return _unpickle.variant, (self.base, changes, self.suffix, given)


def unpickled(
    base: FunctionRef,
    changes: bytes,
    shown: str,
    given: tuple[tuple[Any, ...], dict[str, Any]] | None,
) -> VariantRef:
    """Return a variant of ``base``; the arguments are those of `VariantRef`, as a pickle has them."""
    supplied = None if given is None else ConstructorArguments(*given)
    return VariantRef(base, msgspec.msgpack.decode(changes, type=Variant), shown, supplied)


def root(origin: FunctionRef) -> FunctionRef:
    """Return what an origin is a variant of, or itself."""
    return origin.base if isinstance(origin, VariantRef) else origin


def written(origin: FunctionRef) -> LocalRef:
    """Return the origin of what was written in this process."""
    found = root(origin)
    assert isinstance(found, LocalRef)
    return found


def has_options(origin: FunctionRef) -> bool:
    """Return whether an origin is a variant with other options, not only another object of a class."""
    return isinstance(origin, VariantRef) and origin.changes != Variant()


def travelled(origin: FunctionRef) -> bool:
    """Return whether an origin came here in a pickle."""
    found = root(origin)
    return isinstance(found, RemoteRef) and found.travelled


def varied(origin: FunctionRef, changes: Variant, shown: str) -> VariantRef:
    """Return a variant of an origin, or of what it is a variant of."""
    if isinstance(origin, VariantRef):
        return VariantRef(origin.base, applied(changes, origin.changes), origin.suffix + shown)
    return VariantRef(origin, changes, shown)


def supplied(origin: FunctionRef, arguments: ConstructorArguments) -> VariantRef:
    """Return what makes the objects of a class, or of a variant of it, with these arguments."""
    if isinstance(origin, VariantRef):
        return VariantRef(origin.base, origin.changes, origin.suffix, arguments)
    return VariantRef(origin, Variant(), "", arguments)
