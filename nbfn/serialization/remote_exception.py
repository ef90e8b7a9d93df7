"""Serializes exceptions with their attributes, causes, tracebacks and cell sources, and rebuilds them.

The functions do not raise: an exception that cannot be serialized or rebuilt is replaced by an error of
nbfn that contains its text. Tracebacks are rebuilt as traceback objects without the variables of their
frames.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import linecache
import os
import pickle
import re
import sys
import traceback
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Any

from nbfn.exception import DeserializationError, ExecutionError, RemoteError, SerializationError
from nbfn.protocol.messages import Payload
from nbfn.runtime import traceback_filter
from nbfn.serialization import traceback_codec
from nbfn.serialization.payload import Serializer
from nbfn.serialization.traceback_codec import FrameEntry

#: The most exceptions of a chain that are sent, including members of groups.
MAX_CHAIN = 50
#: The most characters of the formatted text; half of them are from the beginning and half from the end.
MAX_TEXT = 100_000
#: The most characters of source text that are sent for all cells together.
MAX_SOURCES = 2_000_000

#: Parts of the messages of libraries that do not find CUDA.
_NO_CUDA = (
    "libcuda",
    "No CUDA GPUs",
    "not compiled with CUDA",
    "no NVIDIA driver",
    "driver version",
)

#: Python's error messages for a name that `__main__` does not have.
_NOT_IN_MAIN = re.compile(
    r"(?:Can't get attribute '(\w+).*' on <module '__main__'|module '__main__' has no attribute '(\w+)')"
)

_Node = dict[str, Any]


def dump_exception(
    serializer: Serializer, error: BaseException, *, hide: Collection[str] = ()
) -> Payload:
    """Serialize an exception with its causes, contexts, group members and tracebacks.

    Args:
        serializer: The serializer of this process.
        error: The exception, as it was caught.
        hide: Names of modules whose leading frames are removed from each traceback.

    Returns:
        The payload for `load_exception`.
    """
    text = ""
    try:
        text = format_exception(error, hide=hide)
        return serializer.dump(_Packer(serializer, frozenset(hide)).pack(error, text))
    except Exception as problem:  # noqa: BLE001 - an error here must not hide the original error
        node = {"kind": "remote", "message": f"{_name(error)} (not packed: {_safe(problem)})"}
        return Payload(pickle.dumps({"text": text, "nodes": [node], "sources": {}}, protocol=5))


def load_exception(serializer: Serializer, payload: Payload) -> BaseException:
    """Rebuild an exception from `dump_exception`.

    Args:
        serializer: The serializer of this process.
        payload: The payload of a failed input.

    Returns:
        The exception with its remote traceback, or an `ExecutionError` if it cannot be rebuilt. It is not
        raised.
    """
    try:
        packed = serializer.load(payload)
        _register(packed["sources"])
        return _Unpacker(serializer, packed).unpack()
    except Exception as problem:  # noqa: BLE001 - a peer may send anything
        return ExecutionError(f"The exception of the input could not be read: {_safe(problem)}")


class _Ignored:
    """Stands for each object of a pickle except plain data."""

    def __init__(self, *_args: object, **_kwargs: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...

    def __setitem__(self, _key: object, _value: object) -> None: ...

    def append(self, _item: object) -> None: ...

    def __call__(self, *_args: object, **_kwargs: object) -> _Ignored:
        return self


class _TextReader(pickle.Unpickler):
    """Reads plain data; it imports and calls nothing that a pickle names."""

    def find_class(self, _module: str, _name: str) -> Any:
        return _Ignored

    def persistent_load(self, _pid: object) -> Any:
        return _Ignored()


def read_traceback(data: bytes) -> str:
    """Return the traceback of a pickled exception as text, without loading the exception.

    Args:
        data: The pickle in the payload of `dump_exception`.
    """
    try:
        packed = _TextReader(io.BytesIO(data), buffers=itertools.repeat(b"")).load()
        text = packed["text"]
    except Exception as problem:  # noqa: BLE001 - a peer may send anything
        return f"The traceback cannot be read: {_safe(problem)}"
    return text if isinstance(text, str) else "The traceback cannot be read."


def format_exception(error: BaseException, *, hide: Collection[str] = ()) -> str:
    """Format an exception as Python does. This function never raises.

    Args:
        error: The exception.
        hide: Names of modules whose leading frames are omitted.

    Returns:
        The text, at most about `MAX_TEXT` characters.
    """
    try:
        report = traceback.TracebackException.from_exception(error, compact=True)
        _strip(report, error, frozenset(hide))
        text = "".join(report.format())
    except Exception as problem:  # noqa: BLE001 - a __str__ or __notes__ of user code may raise anything
        text = f"{_name(error)} (not formatted: {_safe(problem)})"
    half = MAX_TEXT // 2
    return text if len(text) <= MAX_TEXT else f"{text[:half]}\n... cut ...\n{text[-half:]}"


def _strip(
    report: traceback.TracebackException, error: BaseException, hide: frozenset[str]
) -> None:
    """Remove the leading hidden frames of all exceptions in the chain from the report."""
    pending: list[tuple[traceback.TracebackException | None, BaseException | None]]
    pending = [(report, error)]
    seen: set[int] = set()
    while pending:
        summary, source = pending.pop()
        if summary is None or source is None or id(summary) in seen:
            continue
        seen.add(id(summary))
        hidden = _leading(source.__traceback__, hide)
        del summary.stack[:hidden]
        pending += [
            (summary.__cause__, source.__cause__),
            (summary.__context__, source.__context__),
        ]
        if isinstance(source, BaseExceptionGroup) and summary.exceptions:
            pending += list(zip(summary.exceptions, source.exceptions, strict=False))


def _leading(tb: TracebackType | None, hide: frozenset[str]) -> int:
    count = 0
    while tb is not None and tb.tb_frame.f_globals.get("__name__") in hide:
        count, tb = count + 1, tb.tb_next
    return count


def _name(error: BaseException) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _safe(value: object) -> str:
    try:
        text = (
            f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else repr(value)
        )
    except Exception:  # noqa: BLE001 - a __repr__ of user code may raise anything
        text = f"<{type(value).__name__}>"
    return text[:2000]


# --- packing -------------------------------------------------------------------------------------


class _Packer:
    """Converts a graph of exceptions to a flat list of nodes that refer to each other by number."""

    def __init__(self, serializer: Serializer, hide: frozenset[str]) -> None:
        self._serializer = serializer
        self._hide = hide
        self._nodes: list[_Node] = []
        self._number: dict[int, int] = {}
        self._pending: list[tuple[int, BaseException]] = []
        self._sources: dict[str, str] = {}

    def pack(self, error: BaseException, text: str) -> dict[str, Any]:
        self._add(error)
        while self._pending:
            number, found = self._pending.pop()
            self._nodes[number] = self._node(found)
        return {"text": text, "nodes": self._nodes, "sources": self._sources}

    def _add(self, error: BaseException | None) -> int | None:
        if error is None:
            return None
        if id(error) not in self._number:
            if len(self._nodes) >= MAX_CHAIN:
                return None
            self._number[id(error)] = len(self._nodes)
            self._pending.append((len(self._nodes), error))
            self._nodes.append({})
        return self._number[id(error)]

    def _node(self, error: BaseException) -> _Node:
        node = self._body(error)
        node["traceback"] = self._frames(error.__traceback__)
        node["cause"] = self._add(error.__cause__)
        node["context"] = self._add(error.__context__)
        node["suppress"] = error.__suppress_context__
        node["text"] = format_exception(error, hide=self._hide) if self._number[id(error)] else ""
        notes = getattr(error, "__notes__", None)
        node["notes"] = [str(note) for note in notes] if isinstance(notes, list) else []
        if self._number[id(error)] == 0:
            node["notes"] += [hint for hint in hints(error) if hint not in node["notes"]]
        return node

    def _group(self, error: BaseExceptionGroup[Any], shown: str) -> _Node:
        members = [self._add(member) for member in error.exceptions]
        body: _Node = {
            "kind": "group",
            "message": error.message,
            "members": members,
            "shown": shown,
        }
        with contextlib.suppress(Exception):
            body["pickle"] = self._serializer.dump((type(error), _state(error)))
        return body

    def _body(self, error: BaseException) -> _Node:
        shown = f"{_name(error)}: {_safe_str(error)}".removesuffix(": ")
        if isinstance(error, BaseExceptionGroup):
            return self._group(error, shown)
        if not isinstance(error, Exception):
            return {"kind": "remote", "message": f"The function raised {shown}"}
        try:
            # The type and args are sent as well, because many an __init__ does not accept `args`.
            reduced = error.__reduce_ex__(4)
            recipe = (type(error), error.args, _full_state(error, reduced), reduced[:2])
            return {"kind": "error", "pickle": self._serializer.dump(recipe), "shown": shown}
        except Exception as problem:  # noqa: BLE001 - user types may raise anything when pickled
            return {
                "kind": "unpicklable",
                "message": f"Failed to serialize exception {_safe(error)}: {_safe_str(problem)}",
            }

    def _frames(self, tb: TracebackType | None) -> list[FrameEntry]:
        for _ in range(_leading(tb, self._hide)):
            assert tb is not None
            tb = tb.tb_next
        entries = traceback_codec.encode_traceback(tb)
        for filename in {entry[0] for entry in entries}:
            self._keep_source(filename)
        return entries

    def _keep_source(self, filename: str) -> None:
        """Store the source of a notebook cell. The source of a file is read where the traceback is shown."""
        if filename in self._sources or os.path.exists(filename):  # noqa: PTH110 - not always a path
            return
        text = "".join(linecache.getlines(filename))
        if text and len(text) + sum(map(len, self._sources.values())) <= MAX_SOURCES:
            self._sources[filename] = text


def hints(error: BaseException) -> list[str]:
    """Return hints for errors that the remote environment causes, such as a missing module or GPU.

    Args:
        error: The error.
    """
    text, hint = _safe_str(error), ""
    if isinstance(error, ModuleNotFoundError):
        hint = (
            f"Hint: module {error.name!r} was not found in the remote environment ({sys.executable}). "
            "Install it there, or do without it."
        )
    elif isinstance(error, ImportError) and "attempted relative import" in text:
        hint = (
            "Hint: code that is sent by value has no package around it. Import by the full name: "
            "'from package.module import name'."
        )
    elif isinstance(error, AttributeError) and (found := _NOT_IN_MAIN.match(text)):
        name = found[1] or found[2]
        hint = (
            f"Hint: a worker's __main__ has what its Function refers to, and {name!r} is not among it. "
            f"Name it in the function (a line that says {name} will do), or import it from a module."
        )
    elif "CUDA" in text and any(sign in text for sign in _NO_CUDA):
        hint = "Hint: this worker sees no GPU that CUDA can use. Ask for one: @app.function(gpu='any')."
    return [hint] if hint else []


def _full_state(error: Exception, reduced: Any) -> dict[str, Any]:
    """Return the state of an error, with attributes that are not in its ``__dict__``."""
    more = reduced[2] if len(reduced) > 2 else None
    if not isinstance(more, dict):
        return _state(error)
    return _state(error) | {k: v for k, v in more.items() if k != "__notes__"}


def _state(error: BaseException) -> dict[str, Any]:
    return {key: value for key, value in vars(error).items() if key != "__notes__"}


def _safe_str(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except Exception:  # noqa: BLE001 - a __str__ of user code may raise anything
        return "<no text>"


# --- unpacking -----------------------------------------------------------------------------------


def _users(entries: Sequence[FrameEntry]) -> Sequence[FrameEntry]:
    """Return the frames of user code, without those of nbfn, unless the user wants to see all frames."""
    if traceback_filter.shown():
        return entries
    return [entry for entry in entries if entry[3].partition(".")[0] not in traceback_filter.OURS]


class _Unpacker:
    """Rebuilds the exceptions of all nodes, group members before their groups, and then links them."""

    def __init__(self, serializer: Serializer, packed: dict[str, Any]) -> None:
        self._serializer = serializer
        self._nodes: list[_Node] = packed["nodes"]
        self._text: str = packed["text"]
        self._built: dict[int, BaseException] = {}

    def unpack(self) -> BaseException:
        for number in reversed(range(len(self._nodes))):
            self._build(number, ())
        for number, node in enumerate(self._nodes):
            error = self._built[number]
            error.__traceback__ = traceback_codec.decode_traceback(
                _users(node.get("traceback", ()))
            )
            error.__cause__ = self._linked(node.get("cause"))
            error.__context__ = self._linked(node.get("context"))
            error.__suppress_context__ = bool(node.get("suppress", False))
            for note in node.get("notes", ()):
                error.add_note(note)
        return self._built[0]

    def _linked(self, number: int | None) -> BaseException | None:
        return None if number is None else self._built[number]

    def _build(self, number: int, within: tuple[int, ...]) -> BaseException:
        if number in self._built:
            return self._built[number]
        node = self._nodes[number]
        error: BaseException
        if node["kind"] == "group":
            members = node["members"]
            parts = [self._build(m, (*within, number)) for m in members if m not in (None, *within)]
            error = self._group(node, parts)
        elif node["kind"] == "error":
            error = self._error(node, node.get("text") or self._text)
        else:
            kind = SerializationError if node["kind"] == "unpicklable" else RemoteError
            error = _with_text(kind(node["message"]), node.get("text") or self._text)
        self._built[number] = error
        return error

    def _error(self, node: _Node, text: str) -> BaseException:
        try:
            kind, args, state, recipe = self._serializer.load(node["pickle"])
            return _rebuild(kind, args, state, recipe)
        except Exception as problem:  # noqa: BLE001 - user types may raise anything when rebuilt
            # The message of a DeserializationError already names what is missing, and where.
            why = problem if isinstance(problem, DeserializationError) else _safe(problem)
            return ExecutionError(
                f"Could not deserialize the remote exception {node['shown']} due to an error here: {why} "
                "(The local environment may lack its class.) The remote traceback:\n\n" + text
            )

    def _group(self, node: _Node, parts: list[BaseException]) -> BaseException:
        if not parts:
            return RemoteError(node["shown"])
        try:
            kind, state = self._serializer.load(node["pickle"])
            group = kind(node["message"], parts)
            group.__dict__.update(state)
            if isinstance(group, BaseExceptionGroup):
                return group
        except Exception:  # noqa: BLE001, S110 - a plain group has the same message and members
            pass
        return BaseExceptionGroup(node["message"], parts)


def _rebuild(
    kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any], recipe: Any
) -> BaseException:
    try:
        error = recipe[0](*recipe[1])
        if type(error) is not kind:
            raise TypeError(kind)
    except Exception:
        error = kind.__new__(kind, *args)
        if not isinstance(error, BaseException):
            raise
        error.args = args
    for name, value in state.items():
        try:
            setattr(error, name, value)
        except AttributeError:  # a property without a setter
            error.__dict__[name] = value
    return error


def _with_text(error: Exception, text: str) -> Exception:
    if text:
        error.add_note(f"\nRemote traceback:\n{text}")
    return error


def _register(sources: dict[str, str]) -> None:
    """Add missing cell sources to `linecache`, without a modification time, so that it never drops them."""
    for filename, text in sources.items():
        if not linecache.getlines(filename):
            linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
