"""Adjusts completions of a session: shifts positions, and adds the magics of the notebook's kernel."""

from __future__ import annotations

from typing import Any

from nbfn_kernel.session import cell_routing


def shift(found: dict[str, Any], cut: int) -> None:
    """Add ``cut`` to the positions of a completion."""
    for place in (found, *found.get("metadata", {}).get("_jupyter_types_experimental", [])):
        for name in ("cursor_start", "cursor_end", "start", "end"):
            if name in place:
                place[name] += cut


def add_magics(content: dict[str, Any], code: str, cursor: int) -> None:
    """Add the magics of the notebook's kernel to the completions of the session."""
    start = code.rfind("\n", 0, cursor) + 1
    typed = code[start:cursor]
    if not typed.startswith("%") or " " in typed:
        return
    known = [f"%%{name}" for name in cell_routing.CELL_MAGICS] if start == 0 else []
    known += [f"%{name}" for name in cell_routing.LINE_MAGICS]
    found = [name for name in known if name.startswith(typed)]
    if not found:
        return
    # The session's completer also completes `%%loc` to `locals`.
    magics = [name for name in content["matches"] if name.startswith("%") and name not in found]
    content["matches"], content["cursor_start"], content["cursor_end"] = (
        magics + found,
        start,
        cursor,
    )
    place = {"start": start, "end": cursor, "type": "magic", "signature": ""}
    types = [place | {"text": name} for name in content["matches"]]
    content["metadata"] = {"_jupyter_types_experimental": types}
