"""The worker's `__main__`: it has the names of the Function, and processes that user code starts get them.

A child by ``fork`` inherits them. For a child by ``spawn`` or ``forkserver``, multiprocessing pickles the name of
its parent's `__main__`; unpickling that name tells this module, in the child, which definition to load.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

import msgspec

from nbfn import _unpickle
from nbfn.config import Places
from nbfn.protocol.messages import Definition
from nbfn.serialization.payload import Carrier
from nbfn_kernel.worker import function_loader

#: What Python puts into every module.
_PYTHONS = frozenset({"__name__", "__builtins__", "__spec__"})
#: In a child: the definition that its parent runs, and the pickle of what arguments brought there.
_told: tuple[Definition, bytes] | None = None


def load(carrier: Carrier, definition: Definition) -> Callable[..., Any]:
    """Load a definition into this process's `__main__`, and return its callable.

    Raises:
        DeserializationError: If it cannot be rebuilt.
    """
    main = sys.modules["__main__"]
    loaded = function_loader.load(carrier, definition, vars(main))
    main.__spec__ = ModuleSpec(_Name(definition), None)
    return loaded


class _Name(str):  # noqa: SLOT000 - it has an attribute
    """The name of a worker's `__main__`; pickled for a child, it tells that what to run.

    Args:
        definition: What the worker runs.
    """

    definition: Definition

    def __new__(cls, definition: Definition) -> _Name:
        """Make the name."""
        made = super().__new__(cls, "__main__")
        made.definition = definition
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.worker_main, (msgspec.msgpack.encode(self.definition), Carrier.brought())


def tell(definition: bytes, brought: bytes) -> str:
    """Note in a child process what its parent runs; return the module that loads it as `__main__`."""
    global _told
    _told = msgspec.msgpack.decode(definition, type=Definition), brought
    return "nbfn_kernel.worker.child_main"


def inherited() -> dict[str, Any]:
    """Return, in a child, what its parent has in `__main__`."""
    assert _told is not None
    definition, brought = _told
    names: dict[str, Any] = {}
    carrier = Carrier(Places.of(), f"child-{os.getpid()}")
    function_loader.load(carrier, definition, names)
    own = {"__file__": None, "__spec__": ModuleSpec(_Name(definition), None)}
    kept = {name: value for name, value in names.items() if name not in _PYTHONS}
    return own | kept | carrier.load_brought(brought)
