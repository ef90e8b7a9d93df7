"""Tab completion of a magic's options, which IPython 9 does not do by itself."""

from __future__ import annotations

from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

_NAMES = ("%%remote", "%%nbfn")


def install(shell: Any) -> None:
    """Add the matcher to a shell's completer."""

    @context_matcher()
    def nbfn_options(context: Any) -> dict[str, Any]:
        found = options(shell, context.full_text, context.cursor_line, context.token)
        return {
            "completions": [SimpleCompletion(name, type="magic") for name in found],
            "suppress": bool(found),
            "matched_fragment": context.token,
        }

    shell.Completer.custom_matchers.append(nbfn_options)


def uninstall(shell: Any) -> None:
    """Take it out again."""
    matchers = shell.Completer.custom_matchers
    matchers[:] = [m for m in matchers if getattr(m, "__name__", "") != "nbfn_options"]


def options(shell: Any, text: str, line: int, token: str) -> list[str]:
    """Return the options that complete ``token`` on the first line of a remote cell."""
    first = text.split("\n", 1)[0]
    if line != 0 or not first.startswith(_NAMES) or not token.startswith("-"):
        return []
    magic = shell.find_cell_magic(first[2:].split(" ", 1)[0])
    parser = getattr(magic, "parser", None)
    names = [s for a in parser._actions for s in a.option_strings] if parser else []
    return [name for name in names if name.startswith("--") and name.startswith(token)]
