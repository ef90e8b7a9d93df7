"""Makes the definition of a function or class, which registers it."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Callable
from typing import Any

import msgspec

from nbfn.client.process_info import this_environment, this_notebook
from nbfn.client.registration.option_encoding import encoded_options, like, schedule_of
from nbfn.declarations.lifecycle import decorated_methods, has_exit_hooks, remote_methods
from nbfn.declarations.options import Options
from nbfn.declarations.parameters import ConstructorShape, constructor_shape
from nbfn.declarations.partial_function import PartialFunction
from nbfn.protocol.messages import (
    Batching,
    Definition,
    Endpoint,
    Method,
    Parameter,
    Payload,
)
from nbfn.serialization.cell_source import cell_text
from nbfn.serialization.payload import Serializer

#: Most characters of a docstring that are registered.
MOST_DOC = 16 * 1024


def define(
    name: str,
    raw: Callable[..., Any],
    payload: bytes,
    options: Options,
    serializer: Serializer,
    files: str = "",
) -> Definition:
    """Return the definition of a function. The same pickle and options give the same digest.

    Args:
        name: Its name in its App.
        raw: The undecorated function.
        payload: Its pickle.
        options: The options of its decorator.
        serializer: Stores the pickle, outside of the message if it is large.
        files: A hash of the user's files that workers import.
    """
    definition = Definition(
        name=name,
        payload=Payload(payload),
        digest="",
        kind="session" if options.session else "function",
        environment=this_environment(),
        is_generator=generates(raw, options),
        is_async=inspect.iscoroutinefunction(raw) or inspect.isasyncgenfunction(raw),
        **encoded_options(options),
        schedule=schedule_of(options),
        files=files,
        module=str(getattr(raw, "__module__", "")),
        signature=signature_of(raw),
        doc=_doc(raw),
        source=cell_text(raw),
        filename=getattr(getattr(raw, "__code__", None), "co_filename", ""),
    )
    return _signed(definition, serializer.wrap(payload))


def define_class(
    name: str, raw: type, payload: bytes, options: Options, serializer: Serializer, files: str = ""
) -> Definition:
    """Return the definition of a class; arguments as of `define`."""
    parts, shape = remote_methods(raw), constructor_shape(raw)
    source = next(iter([p.raw for p in decorated_methods(raw).values()]), raw)
    definition = Definition(
        name=name,
        payload=Payload(payload),
        digest="",
        environment=this_environment(),
        **encoded_options(options),
        kind="cls",
        files=files,
        methods=tuple(_method(name, part) for name, part in parts.items()),
        parameters=tuple(Parameter(one.name, one.type, one.default) for one in shape.parameters),
        takes_arguments=shape.takes_arguments,
        exit_hooks=has_exit_hooks(raw),
        module=str(raw.__module__),
        signature=class_signature(raw, shape),
        doc=_doc(raw),
        source=cell_text(source),
        filename=getattr(getattr(source, "__code__", None), "co_filename", ""),
    )
    return _signed(definition, serializer.wrap(payload))


def _signed(definition: Definition, payload: Payload) -> Definition:
    """Return it with its digest, and with the fields that do not count for that: payload, owner and time."""
    return msgspec.structs.replace(
        definition,
        digest=hashlib.sha256(msgspec.msgpack.encode(definition)).hexdigest(),
        payload=payload,
        owner=this_notebook(),
        made=time.time(),
    )


def _method(name: str, part: PartialFunction) -> Method:
    raw, marks = part.raw, part.marks
    return Method(
        name=name,
        is_generator=generates(raw, marks.applied(Options())),
        is_async=inspect.iscoroutinefunction(raw) or inspect.isasyncgenfunction(raw),
        batching=like(Batching, marks.batching),
        endpoint=None if marks.endpoint is None else like(Endpoint, marks.endpoint),
        signature=signature_of(raw.__get__(raw)),
        doc=_doc(raw),
    )


def _doc(raw: Callable[..., Any]) -> str:
    """Return the docstring, shortened if it is very long, since every lookup returns it."""
    doc = inspect.getdoc(raw) or ""
    return doc if len(doc) <= MOST_DOC else f"{doc[:MOST_DOC]}…"


def generates(raw: Callable[..., Any] | None, options: Options) -> bool:
    """Return whether a function is a generator: by the option of its decorator, else by its ``def``."""
    if options.is_generator is not None:
        return options.is_generator
    return inspect.isgeneratorfunction(raw) or inspect.isasyncgenfunction(raw)


# --- signatures ----------------------------------------------------------------------------------

#: The most characters of the text of a default value in a signature.
LONGEST_DEFAULT = 60


class _Large:
    """Replaces a default value that is too long for a signature."""

    def __repr__(self) -> str:
        return "…"


def signature_of(raw: Callable[..., Any]) -> str:
    """Return the signature of a function as text; long default values are shown as ``…``."""
    try:
        found = inspect.signature(raw)
        shown = [
            p.replace(default=_Large()) if _is_long(p.default) else p
            for p in found.parameters.values()
        ]
        return str(found.replace(parameters=shown))
    except (ValueError, TypeError):
        return "(...)"


def class_signature(raw: type, shape: ConstructorShape) -> str:
    """Return the signature of a class as text: that of its `nbfn.parameter`s, or else of its constructor.

    Args:
        raw: The class.
        shape: The arguments that create objects of the class.
    """
    if not shape.has_parameters:
        return signature_of(raw)
    shown = [
        f"{one.name}: {one.type}" + ("" if one.default is None else f" = {_default(one.default)}")
        for one in shape.parameters
    ]
    return f"(*, {', '.join(shown)})" if shown else "()"


def _default(encoded: bytes) -> str:
    value = msgspec.msgpack.decode(encoded)
    return "…" if _is_long(value) else repr(value)


def _is_long(default: Any) -> bool:
    if default is inspect.Parameter.empty:
        return False
    try:
        text = repr(default)
    except Exception:  # noqa: BLE001 - a __repr__ of user code may raise anything
        return True
    return len(text) > LONGEST_DEFAULT or "\n" in text
