"""Gives the worker's `__main__`, and that of processes which user code starts, the names that the Function uses.

A forked child inherits them. For a child started by ``spawn`` or ``forkserver``, multiprocessing pickles the name of
its parent's `__main__`; unpickling that name in the child calls `set_parent` with the definition to load.
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
from nbfn.serialization.payload import Serializer
from nbfn_kernel.worker import function_loader

#: Attributes that Python sets in every module.
_MODULE_ATTRIBUTES = frozenset({"__name__", "__builtins__", "__spec__"})
#: In a child: the definition that its parent runs, and the pickled names that arguments added to its `__main__`.
_parent: tuple[Definition, bytes] | None = None


def load(serializer: Serializer, definition: Definition) -> Callable[..., Any]:
    """Load a definition into this process's `__main__` and return its callable.

    Raises:
        DeserializationError: If the code cannot be unpickled.
    """
    main = sys.modules["__main__"]
    loaded = function_loader.load(serializer, definition, vars(main))
    main.__spec__ = ModuleSpec(_Name(definition), None)
    return loaded


class _Name(str):  # noqa: SLOT000 - it has an attribute
    """The name of a worker's `__main__`; unpickled in a child, it passes the definition to `set_parent`.

    Args:
        definition: The definition that the worker runs.
    """

    definition: Definition

    def __new__(cls, definition: Definition) -> _Name:
        """Create the name."""
        name = super().__new__(cls, "__main__")
        name.definition = definition
        return name

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.worker_main, (
            msgspec.msgpack.encode(self.definition),
            Serializer.brought(),
        )


def set_parent(definition: bytes, argument_names: bytes) -> str:
    """Store, in a child process, the definition that its parent runs.

    Args:
        definition: The packed definition.
        argument_names: The pickled names that arguments added to the parent's `__main__`.

    Returns:
        The name of the module that multiprocessing runs as `__main__`.
    """
    global _parent
    _parent = msgspec.msgpack.decode(definition, type=Definition), argument_names
    return "nbfn_kernel.worker.child_main"


def inherited_names() -> dict[str, Any]:
    """Return, in a child, the names that its parent has in `__main__`."""
    assert _parent is not None
    definition, argument_names = _parent
    names: dict[str, Any] = {}
    serializer = Serializer(Places.of(), f"child-{os.getpid()}")
    function_loader.load(serializer, definition, names)
    own = {"__file__": None, "__spec__": ModuleSpec(_Name(definition), None)}
    inherited = {name: value for name, value in names.items() if name not in _MODULE_ATTRIBUTES}
    return own | inherited | serializer.load_brought(argument_names)
