"""Hints on how to access a call again: magics in a notebook, Python elsewhere."""

from __future__ import annotations

#: Whether nbfn's magics are loaded in this process; set by the extension.
magics = False


def handle_of(call: str) -> str:
    """Return the code that gets the `FunctionCall` of a call.

    Args:
        call: Its id.
    """
    return f"%fn attach {call}" if magics else f"nbfn.FunctionCall.from_id({call!r})"


def replay(which: str) -> str:
    """Return a sentence that says how to debug a failed input with its arguments; "" outside a notebook.

    Args:
        which: The call's id; of an input other than the first, with its index.
    """
    return f"%fn replay {which} runs this input here, under the debugger." if magics else ""
