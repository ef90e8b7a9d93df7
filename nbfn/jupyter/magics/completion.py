"""Tab completion for nbfn's magics: options (IPython 9 does not complete them), subcommands, names and ids."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

from nbfn.api.call import FunctionCall
from nbfn.api.cls import Cls
from nbfn.api.function import Function
from nbfn.client import client
from nbfn.exception import Error
from nbfn.jupyter.magics.fn_magic import fn
from nbfn.jupyter.magics.line_magics import remote
from nbfn.jupyter.magics.subcommands import Subcommands

#: Types of values that the argument ``f`` of a subcommand may name.
_FUNCTIONS = (Function, Cls)
_CELLS = ("%%remote", "%%nbfn")
_LINES: dict[str, Subcommands] = {"%fn": fn, "%remote": remote}


def install(shell: Any) -> None:
    """Add the matcher to a shell's completer."""

    @context_matcher()
    def nbfn_options(context: Any) -> dict[str, Any]:
        found = list(matches(shell, context.full_text, context.cursor_line, context.token))
        return {
            "completions": [SimpleCompletion(name, type="magic") for name in found],
            "suppress": bool(found),
            "matched_fragment": context.token,
        }

    shell.Completer.custom_matchers.append(nbfn_options)


def uninstall(shell: Any) -> None:
    """Remove the matcher."""
    matchers = shell.Completer.custom_matchers
    matchers[:] = [m for m in matchers if getattr(m, "__name__", "") != "nbfn_options"]


def matches(shell: Any, text: str, line: int, token: str) -> Iterable[str]:
    """Return the completions of a token in a line with one of nbfn's magics.

    Args:
        shell: The IPython shell.
        text: The text of the cell.
        line: The cursor's line.
        token: The text to complete.

    Returns:
        The completions; none for other lines.
    """
    lines = text.split("\n")
    here = lines[line] if line < len(lines) else ""
    words = here.split()
    if not words:
        return []
    if line == 0 and words[0] in _CELLS:
        found = _options_of_cells(shell, words[0]) if token.startswith("-") else []
    elif words[0] in _LINES:
        found = _words_of(shell, _LINES[words[0]], [w for w in words[1:] if w != token], token)
    else:
        found = []
    return [name for name in found if name.startswith(token)]


def _options_of_cells(shell: Any, magic: str) -> list[str]:
    parser = getattr(shell.find_cell_magic(magic[2:]), "parser", None)
    names = [s for a in parser._actions for s in a.option_strings] if parser else []
    return [name for name in names if name.startswith("--")]


def _words_of(shell: Any, subcommands: Subcommands, before: list[str], token: str) -> list[str]:
    """Return what may follow the words of a line: a subcommand, an option, a Function or a call."""
    if not before:
        return list(subcommands.commands)
    if before[0] not in subcommands.commands:
        return []
    actions = subcommands.commands[before[0]][0]._actions
    if token.startswith("-"):
        return [name for action in actions for name in action.option_strings]
    wanted = [action.dest for action in actions if not action.option_strings]
    position = len([word for word in before[1:] if not word.startswith("-")])
    return _values_of(shell, wanted[position]) if position < len(wanted) else []


def _values_of(shell: Any, argument: str) -> list[str]:
    """Return the names that an argument of a subcommand may have."""
    kinds = {"f": _FUNCTIONS, "id": (FunctionCall,), "what": (*_FUNCTIONS, FunctionCall)}
    kind = kinds.get(argument)
    if kind is None:
        return []
    here = sorted(name for name, value in shell.user_ns.items() if isinstance(value, kind))
    return here + (_deployed() if kind != (FunctionCall,) else [])


def _deployed() -> list[str]:
    """Return deployed Functions as ``app/name``; none without a connection, since completion starts no hub."""
    connection = client.current()
    if connection is None:
        return []
    with contextlib.suppress(Error):
        rows = connection.overview().functions
        return sorted(f"{row.app}/{row.name}" for row in rows if row.deployed)
    return []
