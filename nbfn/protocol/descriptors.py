"""File descriptors: whether there are enough, and the sentence for when there are not."""

from __future__ import annotations

import errno
import os
import resource

from nbfn.exception import ResourceExhaustedError

#: Descriptors that must be free to open a connection and start a hub. libzmq ends the process when it gets none.
CONNECTION = 24


def check_free(count: int) -> None:
    """Check that a number of files can be opened now.

    Raises:
        ResourceExhaustedError: If not.
    """
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise ResourceExhaustedError(describe_error(error) or str(error)) from None
    finally:
        for descriptor in opened:
            os.close(descriptor)


def describe_error(error: OSError) -> str | None:
    """Return the sentence about an error for want of descriptors; None for any other error."""
    if error.errno == errno.ENFILE:
        return "This machine has as many files open as it may. Close some."
    if error.errno != errno.EMFILE:
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"This process has as many files open as it may ({most}, see `ulimit -n`). "
        "Close some, or raise the limit."
    )
