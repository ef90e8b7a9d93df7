"""Variants of Functions and classes: the same code with other options or, of a class, other constructor arguments.

A variant is registered at the hub when it is first used, and again whenever its base was registered again.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import msgspec

from nbfn import _unpickle
from nbfn.api.endpoint_checks import no_variants
from nbfn.client.client import Client
from nbfn.client.registration.function_ref import FunctionRef, HydratedFunction, LocalRef
from nbfn.client.registration.option_encoding import variant_of as encoded_variant
from nbfn.declarations.options import Concurrency, Options
from nbfn.declarations.overrides import apply_overrides
from nbfn.declarations.parameters import check_size, encode_values, only_keywords
from nbfn.declarations.partial_function import read_batching, read_concurrency
from nbfn.declarations.retries import Retries
from nbfn.exception import InvalidError, NotFoundError, SerializationError
from nbfn.protocol.messages import Payload, Variant
from nbfn.runtime.traceback_filter import trimmed

#: Shortens the repr of arguments in names, also of types whose repr raises.
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 40


@dataclass(frozen=True, slots=True)
class ConstructorArguments:
    """The arguments of a class's constructor."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def encoded(self, hydrated: HydratedFunction) -> tuple[Payload | None, str]:
        """Encode the arguments for the worker that makes the object.

        Args:
            live: What is known of the class.

        Returns:
            The payload, None if there are no arguments, and their text for names.

        Raises:
            InvalidError: If they do not match its parameters, or are too large.
            TypeError: If one has another type than its parameter.
            ValueError: If one cannot be pickled.
        """
        info = hydrated.info
        if info.parameters:
            if self.args:
                raise InvalidError(only_keywords(info.name))
            return Payload(encode_values(info.name, info.parameters, self.kwargs)), f"({self})"
        if not info.takes_arguments:
            if self.args or self.kwargs:
                raise InvalidError(f"Class {info.name!r} takes no arguments; got ({self}).")
            return None, ""
        try:
            payload = hydrated.pickle(self.args, self.kwargs)
        except SerializationError as error:
            raise ValueError(
                f"The arguments of {info.name!r} must be picklable: {error}"
            ) from error.__cause__
        hydrated.client.serializer.discard(payload)  # arguments that large are refused below
        check_size(info.name, len(payload.data) + sum(part.size for part in payload.segments))
        return payload, f"({self})"

    def __str__(self) -> str:
        named = (f"{name}={_short.repr(value)}" for name, value in self.kwargs.items())
        return ", ".join([*map(_short.repr, self.args), *named])


class VariantRef(FunctionRef):
    """A variant of a Function or class, which is registered at its first use.

    Args:
        base: What it is a variant of; not itself a variant.
        changes: The other options.
        shown: What its repr has after that of the base.
        arguments: The constructor arguments, for an object of a class.
    """

    def __init__(
        self,
        base: FunctionRef,
        changes: Variant,
        shown: str,
        arguments: ConstructorArguments | None = None,
    ) -> None:
        # The state of the base that this was registered for.
        self._bound_to: HydratedFunction | None = None
        super().__init__(base.name, base.shown + shown)
        self._base = base
        self.changes = changes
        self.suffix = shown
        self._arguments = arguments

    @property
    def base(self) -> FunctionRef:
        """See `FunctionRef.base`."""
        return self._base

    @property
    def state(self) -> HydratedFunction | None:
        """What is known since it was registered; None if its base was registered again since."""
        return (
            self._state
            if self._bound_to is not None and self._bound_to is self.base.state
            else None
        )

    @state.setter
    def state(self, state: HydratedFunction | None) -> None:
        self._state = state

    @property
    def registering(self) -> bool:
        """See `FunctionRef.registering`; that of its base."""
        return self.base.registering

    def current(self) -> HydratedFunction | None:
        """See `FunctionRef.current`."""
        return self.state if self.base.current() is not None else None

    async def resolve(self) -> HydratedFunction:
        """See `FunctionRef.resolve`."""
        __tracebackhide__ = True
        base = await self.base.resolve()
        state = self._state
        if state is None or self._bound_to is not base:
            try:
                state = await self._bind(base)
            except NotFoundError:  # its App was stopped, and perhaps deployed again
                base = await self.base.resolve_again()
                state = await self._bind(base)
            self._state, self._bound_to = state, base
        return state

    async def resolve_again(self) -> HydratedFunction:
        """See `FunctionRef.resolve_again`."""
        __tracebackhide__ = True
        await self.base.resolve_again()
        return await self.resolve()

    def definition(self) -> Any | None:
        """See `FunctionRef.definition`."""
        return self.base.definition()

    async def hydrate(self, client: Client | None) -> None:
        """See `FunctionRef.hydrate`; also sets the connection of its base."""
        __tracebackhide__ = True
        await self.base.hydrate(client)
        await self.resolve()

    async def _bind(self, base: HydratedFunction) -> HydratedFunction:
        __tracebackhide__ = True
        changes, shown = self.changes, self.suffix
        if self._arguments is not None:
            arguments, text = self._arguments.encoded(base)
            changes = msgspec.structs.replace(changes, arguments=arguments)
            shown += text
        if changes == Variant():
            return base
        if base.info.endpoint is not None:
            raise no_variants(base.info.name)
        variant = await self.base.bind(base, changes, shown)
        info = msgspec.structs.replace(base.info, id=variant, name=base.info.name + shown)
        return dataclasses.replace(base, info=info, views={})

    def __reduce__(self) -> tuple[Any, ...]:
        if (self.changes.env or self.changes.secrets) and self.state is not None:
            # By its id, since values of variables must not be pickled.
            return _unpickle.reference_by_id, (self.state.info.id, self.name, 0)
        arguments = self._arguments
        given = None if arguments is None else (arguments.args, arguments.kwargs)
        changes = msgspec.msgpack.encode(self.changes)
        return _unpickle.variant, (self.base, changes, self.suffix, given)


def unpickled(
    base: FunctionRef,
    changes: bytes,
    shown: str,
    given: tuple[tuple[Any, ...], dict[str, Any]] | None,
) -> VariantRef:
    """Rebuild a `VariantRef` from its pickle."""
    arguments = None if given is None else ConstructorArguments(*given)
    return VariantRef(base, msgspec.msgpack.decode(changes, type=Variant), shown, arguments)


def local_ref(ref: FunctionRef) -> LocalRef:
    """Return the reference to a definition of this process, of which this may be a variant."""
    found = ref.base
    assert isinstance(found, LocalRef)
    return found


def has_options(ref: FunctionRef) -> bool:
    """Return whether a reference is a variant with other options, not only another object of a class."""
    return isinstance(ref, VariantRef) and ref.changes != Variant()


def variant_ref(ref: FunctionRef, changes: Variant, shown: str) -> VariantRef:
    """Return a variant; of a variant, one of its base with the options of both."""
    if isinstance(ref, VariantRef):
        return VariantRef(ref.base, apply_overrides(changes, ref.changes), ref.suffix + shown)
    return VariantRef(ref, changes, shown)


def object_ref(ref: FunctionRef, arguments: ConstructorArguments) -> VariantRef:
    """Return the reference to an object with these constructor arguments, of a class or a variant of it."""
    if isinstance(ref, VariantRef):
        return VariantRef(ref.base, ref.changes, ref.suffix, arguments)
    return VariantRef(ref, Variant(), "", arguments)


# --- methods of Function and Cls ---------------------------------------------------------------------

#: Options that a variant can have.
_VARIED = frozenset({
    "timeout", "retries", "max_containers", "buffer_containers", "scaledown_window", "resources",
    "env", "secrets", "concurrency",
})  # fmt: skip
#: Options whose values are secret.
_HIDDEN = frozenset({"env", "secrets"})


class HasVariants(Protocol):
    """What has variants: a Function or a `Cls`."""

    def _variant(self, changes: Variant, shown: str) -> Self:
        """Return a variant.

        Args:
            changes: Its own options.
            shown: What its repr has after that of the base.
        """


V = TypeVar("V", bound=HasVariants)


@trimmed
def with_options(
    self: V,
    *,
    cpu: float | tuple[float, float] | None = None,
    memory: int | tuple[int, int] | None = None,
    gpu: str | Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Sequence[Any] | None = None,
    volumes: Mapping[str, Any] | None = None,
    retries: int | Retries | None = None,
    max_containers: int | None = None,
    buffer_containers: int | None = None,
    scaledown_window: float | None = None,
    timeout: float | None = None,
    region: Any = None,
    cloud: str | None = None,
    routing_region: str | None = None,
    **older: Any,
) -> V:
    """Return the same code with other options, run by workers of its own; this one is unchanged.

    Options that are not given stay as they are. Variants with the same options share their workers.

    Args:
        cpu, memory, gpu, env, secrets, retries, max_containers: As of ``@app.function()``.
        buffer_containers, scaledown_window, timeout: As of ``@app.function()``.
        volumes, region, cloud, routing_region: Accepted for Modal programs; have no effect.
        **older: Options under older names.

    Returns:
        The variant.

    Raises:
        InvalidError: If an option is not valid, or a variant cannot have it.
    """
    given = {
        "cpu": cpu,
        "memory": memory,
        "gpu": gpu,
        "env": env or None,
        "secrets": secrets or None,
        "volumes": volumes,
        "retries": retries,
        "max_containers": max_containers,
        "buffer_containers": buffer_containers,
        "scaledown_window": scaledown_window,
        "region": region,
        "cloud": cloud,
        "routing_region": routing_region,
        **({} if timeout is None else {"timeout": timeout}),
        **older,
    }
    changes = Options.changes(given)
    if refused := sorted(changes.keys() - _VARIED):
        raise InvalidError(_refused(refused[0]))
    shown = ", ".join(
        f"{name}={'…' if name in _HIDDEN else repr(value)}"
        for name, value in given.items()
        if value is not None
    )
    return self._variant(encoded_variant(changes), f".with_options({shown})")


@trimmed
def with_concurrency(self: V, *, max_inputs: int, target_inputs: int | None = None) -> V:
    """Return the same code, each worker of which runs several inputs at once; this one is unchanged.

    Args:
        max_inputs: Most inputs that a worker runs at once.
        target_inputs: Inputs for each worker by which the pool is scaled; ``max_inputs`` when not given.

    Returns:
        The variant.

    Raises:
        InvalidError: If a number is not valid.
    """
    read = read_concurrency(max_inputs, target_inputs)
    # Both are given, so that neither keeps an earlier value.
    both = Concurrency(read.max_inputs, read.target_inputs or read.max_inputs)
    shown = f"max_inputs={max_inputs}" + (f", target_inputs={target_inputs}" * bool(target_inputs))
    return self._variant(encoded_variant({"concurrency": both}), f".with_concurrency({shown})")


@trimmed
def with_batching(self: V, *, max_batch_size: int, wait_ms: float) -> V:
    """Return the same code with its inputs run in batches, as by ``@batched``; this one is unchanged.

    Args:
        max_batch_size: Inputs in one batch, 1 to 1000.
        wait_ms: Milliseconds to wait for a full batch, 0 to 600000.

    Returns:
        The variant.

    Raises:
        InvalidError: If a number is not valid, or the code cannot run batches.
    """
    batching = read_batching(max_batch_size, wait_ms)
    shown = f".with_batching(max_batch_size={max_batch_size}, wait_ms={wait_ms})"
    return self._variant(encoded_variant({"batching": batching}), shown)


def _refused(name: str) -> str:
    if name == "min_containers":
        return (
            "with_options(...) has no min_containers: a variant has those of its Function. "
            "Call keep_warm(...) on the variant to change that."
        )
    return f"with_options(...) has no {name!r}; it belongs on the decorator."
