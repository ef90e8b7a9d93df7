"""What a function takes along: the globals, closures and defaults it refers to, through helper functions too.

Answers three questions: what is it (`report`), was a name rebound since (`Snapshot.current`, a few
microseconds, before each call), and how does it become bytes (`dump`). Modules that are installed
travel by name; code that lives under the working directory travels by value, so that a worker needs
no file and an edited helper makes a new version.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import io
import os
import pickle
import sys
import sysconfig
import threading
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from nbfn.exception import InvalidError, SerializationError

#: Bytes of a function with all it captures above which there is a warning, and above which it is
#: refused. The larger one leaves room for the rest of the message in a frame of 16 MiB.
WARN_ABOVE = 256 * 1024
REFUSE_ABOVE = 16 * 1024 * 1024 - 256 * 1024

_MISSING = object()
_GLOBAL_OPS = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"})
_OURS = ("nbfn", "nbfn_kernel")
_Cached = functools._lru_cache_wrapper
_WITH_CODE = (types.FunctionType, types.MethodType, type, _Cached)


@dataclass(frozen=True, slots=True)
class Captured:
    """One thing that a function takes along.

    Attributes:
        name: As the function calls it.
        kind: global, closure, default, function, class, module or Function.
        size: Bytes it takes in the pickle; 0 for what travels by name or id.
        type: Its type's name, such as ``numpy.ndarray``.
    """

    name: str
    kind: str
    size: int
    type: str


class Snapshot:
    """What a function referred to at one moment, by identity."""

    __slots__ = ("_cells", "_functions", "_names", "found")

    def __init__(self, function: Any) -> None:
        self._names: list[tuple[dict[str, Any], str, Any]] = []
        self._cells: list[tuple[types.CellType, Any]] = []
        self._functions: list[tuple[types.FunctionType, Any, Any, Any]] = []
        #: (name, kind, value) of everything referred to, each once.
        self.found: list[tuple[str, str, Any]] = []
        self._walk(function, set())

    def current(self) -> bool:
        """Return whether every name still means the same object."""
        for names, name, value in self._names:
            if names.get(name, _MISSING) is not value:
                return False
        for cell, value in self._cells:
            if _content(cell) is not value:
                return False
        for function, code, defaults, keyword_defaults in self._functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not keyword_defaults
            ):
                return False
        return True

    def _walk(self, thing: Any, seen: set[int]) -> None:
        if id(thing) in seen:
            return
        seen.add(id(thing))
        thing = _plain(thing)
        if isinstance(thing, type):
            for part in list(vars(thing).values()):
                part = _plain(part)
                if (
                    isinstance(part, types.FunctionType)
                    and by_value(part)
                    and not _is_generated(part)
                ):
                    self._walk(part, seen)
        elif isinstance(thing, types.FunctionType):
            self._walk_function(thing, seen)

    def _walk_function(self, function: types.FunctionType, seen: set[int]) -> None:
        code = function.__code__
        self._functions.append((function, code, function.__defaults__, function.__kwdefaults__))
        defaults = function.__defaults__ or ()
        with_default = code.co_varnames[: code.co_argcount][
            len(code.co_varnames[: code.co_argcount]) - len(defaults) :
        ]
        for name, value in (
            *zip(with_default, defaults, strict=True),
            *(function.__kwdefaults__ or {}).items(),
        ):
            self._note(name, "default", value, seen)
        for name in global_names(code):
            value = function.__globals__.get(name, _MISSING)
            self._names.append((function.__globals__, name, value))
            if value is not _MISSING:
                self._note(name, "global", value, seen)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            value = _content(cell)
            self._cells.append((cell, value))
            if value is not _MISSING:
                self._note(name, "closure", value, seen)

    def _note(self, name: str, kind: str, value: Any, seen: set[int]) -> None:
        if (value is not None and id(value) in seen) or any(
            n == name and v is value for n, _, v in self.found
        ):
            return
        self.found.append((name, _kind(value, kind), value))
        if isinstance(value, _WITH_CODE) and by_value(value):
            self._walk(value, seen)


def _plain(thing: Any) -> Any:
    if isinstance(thing, staticmethod | classmethod | types.MethodType):
        return thing.__func__
    if isinstance(thing, property):
        return thing.fget
    if isinstance(thing, _Cached):
        return thing.__wrapped__
    return getattr(thing, "__wrapped__", thing) if isinstance(thing, functools.partial) else thing


def _is_generated(method: types.FunctionType) -> bool:
    """Whether a dataclass or a named tuple made it: what it refers to is theirs."""
    home = str(method.__globals__.get("__name__", ""))
    return home in ("dataclasses", "reprlib") or home.startswith("namedtuple_")


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


@functools.lru_cache(maxsize=4096)
def global_names(code: types.CodeType) -> tuple[str, ...]:
    """Return the global names that a body uses, those of functions and classes inside it too."""
    names = dict.fromkeys(
        str(step.argval) for step in dis.get_instructions(code) if step.opname in _GLOBAL_OPS
    )
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= dict.fromkeys(global_names(constant))
    return tuple(names)


def _kind(value: Any, otherwise: str) -> str:
    if isinstance(value, types.ModuleType):
        return "module"
    if isinstance(value, type):
        return "class"
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | _Cached):
        return "function"
    if (type(value).__module__, type(value).__name__) == ("nbfn", "Function"):
        return "Function"
    return otherwise


def type_name(value: Any) -> str:
    """Return a value's type as people write it: ``numpy.ndarray``, ``int``."""
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


# --- by value or by name ---------------------------------------------------------------------------


def by_value(thing: Any) -> bool:
    """Return whether a function, class or module of the user's travels by value."""
    name = (
        thing.__name__
        if isinstance(thing, types.ModuleType)
        else getattr(thing, "__module__", None)
    )
    if not isinstance(name, str) or name == "__main__":
        return True
    module = sys.modules.get(name)
    return module is None or is_local(module)


def is_local(module: types.ModuleType) -> bool:
    """Return whether a module is the user's own: under the working directory and not installed."""
    return _is_under(module, _working_directory())


def local_modules() -> list[types.ModuleType]:
    """Return the imported modules that travel by value."""
    folder = _working_directory()
    return [module for module in list(sys.modules.values()) if _is_under(module, folder)]


def _working_directory() -> str:
    try:
        return os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118 - before each registration
    except OSError:
        return "\0"  # it is gone: nothing lies there


def _is_under(module: Any, folder: str) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.startswith(folder):
        return False
    name = module.__name__
    return name != "__main__" and name.partition(".")[0] not in _OURS and not _is_installed(file)


@functools.lru_cache(maxsize=4096)
def _is_installed(file: str) -> bool:
    places = (sysconfig.get_path(which) for which in ("stdlib", "platstdlib", "purelib", "platlib"))
    path = Path(file)
    return "site-packages" in path.parts or any(path.is_relative_to(place) for place in places)


_registering = threading.Lock()
_registered: dict[str, int] = {}


@contextlib.contextmanager
def carrying(modules: Iterable[types.ModuleType]) -> Iterator[None]:
    """Have cloudpickle take these modules' functions and classes by value, as long as the block lasts.

    Arguments of a call are pickled in the same way as its Function was, so that a class is the same
    class on both ways.
    """
    held = [module for module in modules if sys.modules.get(module.__name__) is module]
    already = cloudpickle.list_registry_pickle_by_value()
    with _registering:
        for module in held:
            if not _registered.get(module.__name__) and module.__name__ in already:
                continue  # the user registered it; leave that alone
            _registered[module.__name__] = _registered.get(module.__name__, 0) + 1
            cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        with _registering:
            for module in held:
                count = _registered.get(module.__name__, 0) - 1
                if count == 0:
                    cloudpickle.unregister_pickle_by_value(module)
                if count >= 0:
                    _registered[module.__name__] = count


# --- bytes -----------------------------------------------------------------------------------------


def dump(
    name: str, function: Callable[..., Any], snapshot: Snapshot
) -> tuple[bytes, list[types.ModuleType]]:
    """Pickle a function with what it captures.

    Args:
        name: The Function's name, for messages.
        function: The function itself.
        snapshot: Of that function, taken just now.

    Returns:
        The pickle, and the modules that went into it by value.

    Raises:
        InvalidError: If it captures too much; the message names what is large.
        SerializationError: If something it captures cannot be pickled; the message names that.
    """
    _refuse_large(name, snapshot)
    modules = local_modules()
    try:
        data = _dumps(function, modules)
    except InvalidError:
        raise
    except Exception as error:  # noqa: BLE001 - user types raise anything when pickled
        try:  # a local module may hold what cannot be pickled (a lock, say); the worker imports it then
            data = _dumps(function, [])
            modules = []
        except Exception:  # noqa: BLE001 - the first error tells more
            raise SerializationError(_culprit(name, snapshot, error)) from error
    if len(data) > REFUSE_ABOVE:
        raise InvalidError(_too_large(name, len(data), snapshot))
    if len(data) > WARN_ABOVE:
        large = ", ".join(
            f"{c.name!r} ({_megabytes(c.size)}, {c.type})" for c in _largest(snapshot)
        )
        warnings.warn(
            f"Function {name!r} takes {_megabytes(len(data))} along to each worker: {large or 'its own code'}. "
            "Pass what is large as an argument instead.",
            UserWarning,
            stacklevel=_users_level(),
        )
    return data, modules


def _users_level() -> int:
    """Return the stacklevel that makes a warning of our caller one of the user's own line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _root(frame) in (*_OURS, "IPython"):
        frame, level = frame.f_back, level + 1
    return level


def _root(frame: types.FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Takes along what `functools.cache` was put on, which cloudpickle takes for importable."""

    def reducer_override(self, thing: Any) -> Any:
        """See `pickle.Pickler.reducer_override`."""
        if isinstance(thing, _Cached) and by_value(thing):
            return _cached, (thing.__wrapped__, *thing.cache_parameters().values())
        return super().reducer_override(thing)


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Callable[..., Any]:
    """Put an empty cache on a function, in the worker."""
    return functools.lru_cache(maxsize, typed)(function)


def _dumps(value: Any, modules: Iterable[types.ModuleType]) -> bytes:
    stream = io.BytesIO()
    with carrying(modules):
        _Pickler(stream, protocol=5).dump(value)
    return stream.getvalue()


def report(function: Any) -> list[Captured]:
    """Return what a function takes along, with sizes, in the order of its code."""
    modules = local_modules()
    return [
        Captured(name, kind, _size(kind, value, modules), type_name(value))
        for name, kind, value in Snapshot(function).found
    ]


def _size(kind: str, value: Any, modules: Iterable[types.ModuleType]) -> int:
    if kind in ("module", "Function") or (kind in ("function", "class") and not by_value(value)):
        return 0
    quick = _quick_size(value)
    if quick > WARN_ABOVE:
        return quick
    try:
        return len(_dumps(value, modules))
    except Exception:  # noqa: BLE001 - it has no size if it cannot be pickled
        return 0


def _quick_size(value: Any) -> int:
    """Return the bytes of what is obviously large, without pickling; 0 where that is not known."""
    if isinstance(value, bytes | bytearray | str):
        return len(value)
    size = getattr(value, "nbytes", 0)
    return size if isinstance(size, int) else 0


def _refuse_large(name: str, snapshot: Snapshot) -> None:
    total = sum(_quick_size(value) for _, _, value in snapshot.found)
    if total > REFUSE_ABOVE:
        raise InvalidError(_too_large(name, total, snapshot))


def _largest(snapshot: Snapshot) -> list[Captured]:
    modules = local_modules()
    sized = [
        Captured(name, kind, _size(kind, value, modules), type_name(value))
        for name, kind, value in snapshot.found
    ]
    large = sorted((c for c in sized if c.size > WARN_ABOVE // 16), key=lambda c: -c.size)
    return large[:5]


def _too_large(name: str, size: int, snapshot: Snapshot) -> str:
    large = _largest(snapshot)
    what = " and ".join(f"{c.name!r} ({_megabytes(c.size)}, {c.type})" for c in large)
    what = what or f"{_megabytes(size)} of values"
    them = "them as arguments" if len(large) > 1 else "it as an argument"
    return (
        f"Function {name!r} captures {what}; pass {them} instead. "
        "A function may take 16 MiB along; arguments of any size go through shared memory."
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def _culprit(name: str, snapshot: Snapshot, error: Exception) -> str:
    for captured, kind, value in snapshot.found:
        if kind in ("module", "Function"):
            continue
        try:
            cloudpickle.dumps(value)
        except (
            pickle.PicklingError,
            TypeError,
            AttributeError,
            ValueError,
            RuntimeError,
            NotImplementedError,
        ):
            return (
                f"Function {name!r} uses {captured!r} ({type_name(value)}), which cannot be pickled. "
                "Make it inside the function, or pass what is needed to make it."
            )
    return f"Function {name!r} cannot be pickled: {error}"
