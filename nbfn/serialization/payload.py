"""Pickles values to `Payload`s and unpickles them. The hub never does either.

Large parts are not in the message: a buffer, or the pickle stream itself, of `SEGMENT_MIN` bytes or
more is written to a file in shared memory (a directory of mode 0700). The receiver maps the file
copy-on-write, so it may change its copy. If shared memory has no space, for example in a container
with 64 MB of it, the file is in the home directory of the hub. The name of a segment begins with the
id of the process that created it, so that the hub can delete it when that process has ended. The
process may also reuse the segment (`nbfn.serialization.shared_memory`).
"""

from __future__ import annotations

import copy
import errno
import functools
import mmap
import os
import pickle
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbfn.config import Places, Settings, private_directory
from nbfn.exception import (
    DataLossError,
    DeserializationError,
    ResourceExhaustedError,
    SerializationError,
)
from nbfn.protocol import blob_checksum, descriptors
from nbfn.protocol.messages import Payload, Segment
from nbfn.protocol.messages.fields import Place
from nbfn.runtime import traceback_filter
from nbfn.serialization import namespace, nesting_depth, pickler, shared_memory

#: The least bytes of a buffer that is sent as a file instead of in the message. For a smaller buffer, four more copies
#: in the cache take less time than creating, mapping and unlinking a file (about 60 microseconds).
SEGMENT_MIN = 256 * 1024

#: Types whose instances plain pickle always pickles correctly.
_PLAIN = frozenset({int, float, str, bytes, bool, type(None), complex})


class Serializer:
    """Pickles and unpickles values, and creates and removes the segments of this process.

    Args:
        places: The directories of the hub that this process is connected to.
        owner: The peer id of this process, which is the prefix of the names of its segments.
    """

    def __init__(self, places: Places, owner: str) -> None:
        self._directories = {"shm": places.shm, "spill": places.spill, "blob": places.blobs}
        self._segments = shared_memory.Segments(places.shm, owner)
        self._place: Place = "shm"
        self._owner = owner

    @functools.cached_property
    def durable(self) -> Serializer:
        """The serializer for values that must outlive processes: definitions, and inputs and results of durable calls.

        It writes large parts to the disk of the hub and syncs them. The hub deletes them, not this process.
        """
        other = copy.copy(self)
        other._place = "blob"
        return other

    def dump(self, value: Any) -> Payload:
        """Pickle a value.

        Args:
            value: The value.

        Raises:
            SerializationError: If it cannot be pickled; the message names the type that cannot be pickled.
            ResourceExhaustedError: If there is no space for its large parts.
        """
        buffers: list[pickle.PickleBuffer] = []

        def in_band(buffer: pickle.PickleBuffer) -> bool:
            with buffer.raw() as raw:
                if raw.nbytes < SEGMENT_MIN:
                    return True
            buffers.append(buffer)
            return False

        try:
            data = pickler.dumps(value, in_band)
        except Exception as error:
            raise SerializationError(_why(value, error)) from error
        return self.wrap(data, [buffer.raw() for buffer in buffers])

    def wrap(self, data: bytes, buffers: Sequence[memoryview] = ()) -> Payload:
        """Return the payload of an existing pickle stream.

        Args:
            data: The pickle stream.
            buffers: Its out-of-band buffers.
        """
        if len(data) < SEGMENT_MIN:
            return Payload(data, self._write_all(buffers))
        return Payload(b"", self._write_all([memoryview(data), *buffers]), spilled=True)

    def dump_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Payload:
        """Pickle the arguments of one input; small values of builtin types are pickled without cloudpickle.

        Args:
            args: The positional arguments.
            kwargs: The keyword arguments.

        Raises:
            SerializationError: If they cannot be pickled, see `dump`.
            ResourceExhaustedError: If there is no space for large parts.
        """
        if not kwargs and _PLAIN.issuperset(map(type, args)):
            data = pickle.dumps((args, kwargs), protocol=5)
            if len(data) < SEGMENT_MIN:
                return Payload(data)
        return self.dump((args, kwargs))

    @staticmethod
    def nothing() -> bytes:
        """Return the pickle of empty arguments."""
        return pickle.dumps(((), {}), protocol=5)

    def dump_result(self, value: Any) -> Payload:
        """Pickle the result of a function; a payload is returned unchanged.

        Small values of builtin types are pickled without cloudpickle.

        Args:
            value: The result.

        Raises:
            SerializationError: If it cannot be pickled, see `dump`.
            ResourceExhaustedError: If there is no space for large parts.
        """
        if type(value) in _PLAIN:
            data = pickle.dumps(value, protocol=5)
            if len(data) < SEGMENT_MIN:
                return Payload(data)
        return value if type(value) is Payload else self.dump(value)

    def load(self, payload: Payload) -> Any:
        """Unpickle a value.

        Args:
            payload: The payload.

        Raises:
            DeserializationError: If it cannot be unpickled in this process; the message says what is missing.
            DataLossError: If a stored part of it is missing or was changed on the disk.
        """
        try:
            if not payload.segments:
                return pickle.loads(payload.data)
            buffers: list[Any] = [self._read_segment(segment) for segment in payload.segments]
            stream = buffers.pop(0) if payload.spilled else payload.data
            return pickle.loads(stream, buffers=buffers)
        except DataLossError:
            raise
        except Exception as error:
            raise DeserializationError(_why_not_loaded(error)) from error

    def _read_segment(self, segment: Segment) -> mmap.mmap | bytearray:
        """Return the bytes of a segment; those of the store are compared with the checksum in their name."""
        path, shared = self._path(segment), segment.place == "shm"
        if segment.place != "blob":
            return shared_memory.load_private(path, segment.size, shared=shared)
        try:
            data = shared_memory.load_private(path, segment.size, shared=shared)
        except FileNotFoundError:
            raise DataLossError(
                f"The file {path} with a part of a stored value is missing."
            ) from None
        except OSError as error:
            if (
                error.errno != errno.EIO
            ):  # this process may not open it, which says nothing of the file
                raise
            raise DataLossError(
                f"The file {path} with a part of a stored value is damaged: {error}."
            ) from None
        if not blob_checksum.matches(path.name, data):
            raise DataLossError(
                f"The file {path} with a part of a stored value is damaged: its checksum does not match."
            )
        return data

    def load_code(self, payload: Payload, names: dict[str, Any]) -> Any:
        """Unpickle the function or class that this process runs.

        Args:
            payload: The payload of its definition.
            names: The dict that becomes the globals of its functions of `__main__`.

        Raises:
            DeserializationError: If it cannot be unpickled, see `load`.
        """
        with namespace.loading_into(names):
            code = self.load(payload)
            name = str(getattr(code, "__qualname__", ""))
            if getattr(code, "__module__", "") == "__main__" and name.isidentifier():
                namespace.add_main_name(name, code)
        return code

    @staticmethod
    def brought() -> bytes:
        """Return a pickle of the names that arguments added to `__main__`, for a child process."""
        try:
            return pickler.dumps(namespace.argument_names())
        except Exception:  # noqa: BLE001 - a captured object was changed; the child does not get the names
            return pickle.dumps({}, protocol=5)

    @staticmethod
    def load_brought(data: bytes) -> dict[str, Any]:
        """Unpickle the names from `brought`."""
        found: dict[str, Any] = pickle.loads(data)
        return found

    def discard(self, payload: Payload | None) -> None:
        """Unlink the segments of a payload, except those in the store of the hub; mapped ones stay readable."""
        for segment in payload.segments if payload is not None else ():
            path = self._path(segment)
            if segment.place == "shm":
                self._segments.discard(path.name)
            elif segment.place == "spill" and self._segments.mine:
                path.unlink(missing_ok=True)

    def reclaim(self, payload: Payload) -> None:
        """Discard a payload that this process created, but keep large segments for reuse for some seconds.

        The caller must call `tidy` regularly from then on, to free them.
        """
        kept = [s for s in payload.segments if s.place == "shm" and self._segments.keep(s.name)]
        self.discard(Payload(b"", tuple(s for s in payload.segments if s not in kept)))

    def tidy(self, now: float) -> float | None:
        """Free the segments that were kept for reuse and not reused in time.

        Args:
            now: The current `time.monotonic`.

        Returns:
            The seconds until the next segment must be freed; None if no segment is kept.
        """
        return self._segments.tidy(now)

    def close(self) -> None:
        """Free all segments that are kept for reuse."""
        self._segments.clear()

    def sweep(self, owner: str) -> None:
        """Unlink all segments that a process created, except those in the store of the hub.

        Args:
            owner: The peer id of the process.
        """
        for place in ("shm", "spill"):
            for path in self._directories[place].glob(f"{owner}.*"):
                path.unlink(missing_ok=True)

    def _write_all(self, parts: Sequence[memoryview]) -> tuple[Segment, ...]:
        written: list[Segment] = []
        try:
            written.extend(map(self._write, parts))
        except BaseException:
            for segment in written:
                self._path(segment).unlink(missing_ok=True)
            raise
        return tuple(written)

    def _write(self, raw: memoryview) -> Segment:
        if self._place == "shm" and (kept := self._segments.refill(raw)) is not None:
            return Segment("shm", kept, raw.nbytes)
        name = self._segments.fresh_name()
        if self._place == "blob":
            name = blob_checksum.checked_name(name, raw)
        try:
            return Segment(self._create(name, raw), name, raw.nbytes)
        except OSError as error:
            if (sentence := descriptors.describe_error(error)) is not None:
                raise ResourceExhaustedError(sentence) from error
            raise SerializationError(
                f"Cannot write a value of {raw.nbytes} bytes: {error}."
            ) from error

    def _create(self, name: str, raw: memoryview) -> Place:
        """Write a buffer to a file in the first place that has space for it, and return the place."""
        if self._place == "blob":
            return self._keep(name, raw)
        while True:
            try:
                shared_memory.create(self._directories["shm"] / name, raw)
            except shared_memory.NoRoom:
                if not self._segments.clear():
                    return self._spill(name, raw)
            except FileNotFoundError:  # the hub has ended and removed the directory
                private_directory(self._directories["shm"])
            else:
                return "shm"

    def _keep(self, name: str, raw: memoryview) -> Place:
        """Write a buffer to the directory of the store; results may use the reserved disk space."""
        directory = self._directories["blob"]
        result = self._owner.startswith("wk-")
        reserve = 0 if result else Settings.load().disk_reserve * 2**20
        try:
            shared_memory.create(directory / name, raw, reserve=reserve, sync=True)
        except shared_memory.NoRoom:
            raise shared_memory.no_room(raw.nbytes, [directory], reserve) from None
        _sync_directory(directory)
        return "blob"

    def _spill(self, name: str, raw: memoryview) -> Place:
        reserve = Settings.load().disk_reserve * 2**20
        directories = [self._directories["shm"], self._directories["spill"]]
        try:
            shared_memory.create(directories[1] / name, raw, reserve=reserve)
        except shared_memory.NoRoom:
            raise shared_memory.no_room(raw.nbytes, directories, reserve) from None
        return "spill"

    def _path(self, segment: Segment) -> Path:
        if (
            "/" in segment.name
            or segment.name.startswith(".")
            or segment.place not in self._directories
        ):
            raise DeserializationError(f"{segment.name!r} is not the name of a segment.")
        return self._directories[segment.place] / segment.name


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why(value: Any, error: Exception) -> str:
    from nbfn.serialization import pickle_diagnosis  # imported here, because only errors need it
    from nbfn.serialization.dependencies import type_name

    found = pickle_diagnosis.find(value)
    if found is None:
        return f"Cannot pickle an object of type {type_name(value)}: {error}"
    if not found.path and found.remedy is nesting_depth.FLATTEN:
        return f"Cannot pickle an object of type {found.type}{found.reason}: {found.remedy}"
    where = f" (at {found.path})" if found.path else ""
    return f"Cannot pickle an object of type {found.type}{where}: {error}"


def _why_not_loaded(error: Exception) -> str:
    place = "remote" if "MODAL_IS_REMOTE" in os.environ else "local"
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    here = f"the {place} environment ({sys.executable})"
    if isinstance(error, ModuleNotFoundError):
        return f"A value needs the module {error.name!r}, which is not installed in {here}."
    if found := re.match(r"Can't get attribute '(.+)' on <module '__main__'", str(error)):
        return (
            f"A value is pickled as the name {found[1]!r} of __main__, which is not in {here}. Put what it names "
            "into a module, or give its class a __reduce__ that makes it again."
        )
    if isinstance(error, AttributeError):
        return (
            f"A value needs a name that is not in {here}: {error}. "
            "The two ends may have different library versions."
        )
    if isinstance(error, FileNotFoundError):
        return "A value's shared memory is gone: its call has ended."
    if isinstance(error, OSError) and (sentence := descriptors.describe_error(error)):
        return sentence
    return (
        f"A value could not be rebuilt in {here}, {python} with cloudpickle {pickler.VERSION}: "
        f"{type(error).__name__}: {error}{_where(error)}"
    )


def _where(error: Exception) -> str:
    """Return the name of the user's function that raised an error, such as ``Model.__setstate__``."""
    trace = traceback_filter.after(error.__traceback__)
    return f" (in {trace.tb_frame.f_code.co_qualname})" if trace is not None else ""
