"""`LocalEntrypoint`: a function that ``nbfn run`` runs locally, inside a run of its App."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from nbfn.declarations.registered import Registered
from nbfn.exception import InvalidError
from nbfn.runtime.traceback_filter import trimmed

P = ParamSpec("P")
R = TypeVar("R")


class LocalEntrypoint(Registered, Generic[P, R]):
    """A function that ``nbfn run`` runs. Made by ``@app.local_entrypoint()``; can be called like the function itself.

    Examples:
        >>> @app.local_entrypoint()  # doctest: +SKIP
        ... def main(count: int = 3):
        ...     print(list(square.map(range(count))))
    """

    __module__ = "nbfn"

    def __init__(self, raw: Callable[P, R], name: str) -> None:
        self.name = name
        self.raw_f = raw
        self.__doc__ = raw.__doc__
        self.__name__ = name
        self.__wrapped__ = raw

    @trimmed
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it in this process."""
        return self.raw_f(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<local entrypoint {self.name!r}>"


def check_entrypoint(raw: Any) -> None:
    """Check that an entrypoint can be made of an object.

    Raises:
        InvalidError: If it is a Function or a class, or not callable.
    """
    if isinstance(raw, Registered):
        raise InvalidError(
            f"{raw!r} runs on workers, so it cannot be a local entrypoint: decorate another, plain def."
        )
    if isinstance(raw, type) or not callable(raw):
        raise InvalidError(
            f"@app.local_entrypoint() decorates functions, not {getattr(raw, '__name__', raw)!r}."
        )
