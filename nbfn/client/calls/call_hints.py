"""Hints on how to get at a call again: magics in a notebook, Python elsewhere."""

from __future__ import annotations

#: Whether this process has nbfn's magics; set where they are loaded.
magics = False


def handle_of(call: str) -> str:
    """Return what to write to get the handle of a call.

    Args:
        call: Its id.
    """
    return f"%fn attach {call}" if magics else f"nbfn.FunctionCall.from_id({call!r})"


def replay(which: str) -> str:
    """Return the sentence that says how to debug a failed input with its arguments, or "" if nothing can.

    Args:
        which: The call's id; of an input other than the first, with its index.
    """
    return f"%fn replay {which} runs this input here, under the debugger." if magics else ""
