"""Provides `BoundMethod`, a callable that behaves like a bound method and can have attributes such as ``.aio``."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

#: Attributes that describe the parameters of a callable. They are read from the wrapped function.
_DESCRIPTIVE = frozenset({"__annotations__", "__globals__", "__type_params__"})


class BoundMethod:
    """Base of callables that are copied, pickled, compared and inspected like bound methods.

    Other attributes of the function are not visible here: the function may be a coroutine function,
    and inspection must not take this callable for one.

    Args:
        function: The function to call, with ``instance`` as the first argument if there is one.
        instance: The object that the method was looked up on; None for a lookup on the class.
        owner: The class that the method was looked up on, if it was not looked up on an instance.

    Attributes:
        raw: The function, bound to the instance if there is one. Other operations await it directly.
    """

    def __init__(
        self, function: Callable[..., Any], instance: object = None, owner: type | None = None
    ) -> None:
        self.__func__ = function
        self.__self__ = instance
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.raw: Any = function if instance is None else types.MethodType(function, instance)
        self._owner = owner

    def __set_name__(self, owner: type, name: str) -> None:
        """Use the name of the class attribute that holds this callable."""
        self._owner = owner
        self.__name__ = name
        self.__qualname__ = f"{owner.__qualname__}.{name}"
        self.__module__ = owner.__module__

    def __getattr__(self, name: str) -> Any:
        if name == "__signature__":
            return self._signature()
        if name in _DESCRIPTIVE:
            return getattr(self._described() or self.__func__, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _described(self) -> Callable[..., Any] | None:
        """Return the function that receives the parameters unchanged; None if there is no such function."""
        if self.__func__.__annotations__.get("args") == "P.args":
            return getattr(self.__self__, "__wrapped__", None)
        return None

    def _signature(self) -> inspect.Signature:
        own = inspect.signature(self.__func__)
        described = self._described()
        if described is None:
            skipped = 0 if self.__self__ is None else 1
            return own.replace(parameters=list(own.parameters.values())[skipped:])
        theirs = inspect.signature(described)
        if own.return_annotation == "R":  # the return type of the wrapped function
            return theirs
        return theirs.replace(return_annotation=own.return_annotation)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundMethod):
            return NotImplemented
        return self.__func__ is other.__func__ and self.__self__ is other.__self__

    def __hash__(self) -> int:
        return hash((self.__func__, id(self.__self__)))

    def __reduce__(self) -> str | tuple[Any, ...]:
        holder = self._owner if self.__self__ is None else self.__self__
        return self.__qualname__ if holder is None else (getattr, (holder, self.__name__))

    def __repr__(self) -> str:
        if self.__self__ is None:
            return f"<function {self.__qualname__}>"
        return f"<method {type(self.__self__).__name__}.{self.__name__} of {self.__self__!r}>"
