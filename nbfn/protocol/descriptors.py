"""Checks that enough file descriptors are free, and describes the error if there are not."""

from __future__ import annotations

import errno
import os
import resource

from nbfn.exception import ResourceExhaustedError

#: Descriptors that must be free to open a connection and start a hub. libzmq aborts the process if it gets none.
CONNECTION = 24


def check_free(count: int) -> None:
    """Check that this process can open a number of files now.

    Args:
        count: The number of files.

    Raises:
        ResourceExhaustedError: If it cannot open that many.
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
    """Return an error message if no file descriptor was free; None for any other error.

    Args:
        error: The error of an operation that opens a file.
    """
    if error.errno == errno.ENFILE:
        return "This machine has as many files open as it may. Close some."
    if error.errno != errno.EMFILE:
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"This process has as many files open as it may ({most}, see `ulimit -n`). "
        "Close some, or raise the limit."
    )
