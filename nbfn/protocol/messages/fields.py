"""Defines the types of message fields, and the range of values that each of them allows.

`msgspec` checks the values while it decodes a message, so code that handles messages never receives
a number, a name or a path that is not allowed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from nbfn.declarations import callback_url

#: The largest integer that SQLite stores.
LARGEST = 2**63 - 1
#: The largest integer that JSON and a float represent exactly.
LARGEST_COUNT = 2**53

#: A number that has a meaning only for its sender, such as that of a request.
Token = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
#: An index that may be negative; the receiver checks it and answers with an error of its own.
Index = Annotated[int, Meta(ge=-LARGEST_COUNT, le=LARGEST_COUNT)]
#: An index, a version, or a number of bytes or objects.
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
#: A number of workers, or of inputs that run at the same time.
Workers = Annotated[int, Meta(ge=0, le=1_000_000)]
#: The number that identifies a grant of an input to a worker.
Lease = Annotated[int, Meta(ge=0, le=LARGEST)]
#: A duration in seconds, or a time since 1970; neither NaN nor infinite.
Seconds = Annotated[float, Meta(ge=0.0, le=1e12)]
#: A factor or an amount.
Amount = Annotated[float, Meta(ge=0.0, le=1e9)]
#: The number of an `nbfn.types.InputStatus` with which an input can end.
Ended = Annotated[int, Meta(ge=1, le=6)]

#: The id of an App, a Function, a call; possibly empty.
Id = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z_.:-]{0,80}\Z")]
ClientId = Annotated[str, Meta(pattern=r"\Acl-[0-9A-Za-z_-]{1,60}\Z")]
WorkerId = Annotated[str, Meta(pattern=r"\Awk-[0-9A-Za-z_-]{1,60}\Z")]
#: The levels of a caller's loggers, see `nbfn.protocol.log_records`.
LogLevels = Annotated[bytes, Meta(max_length=4096)]
#: A path of the file system.
PathName = Annotated[str, Meta(pattern=r"\A[^\0]*\Z", max_length=4096)]
#: The name of a file in a directory that the receiver chooses.
FileName = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z_-][0-9A-Za-z_.-]{0,199}\Z")]
#: The location of a segment: shared memory, a file that replaces it, or the directory of the store.
Place = Literal["shm", "spill", "blob"]
#: The URL that is posted to when a call ends, or ""; without user, password and spaces.
CallbackUrl = Annotated[
    str, Meta(pattern=rf"\A({callback_url.PATTERN})?\Z", max_length=callback_url.LONGEST)
]
#: The name of an environment variable, and its value.
Variable = Annotated[str, Meta(pattern=r"\A[^\0=]+\Z")]
Value = Annotated[str, Meta(pattern=r"\A[^\0]*\Z")]
